"""The configuration as text: the commented file with every default."""

from typing import Any, Final

import tomli_w

from reconciler.config.tables import Config
from reconciler.toml import schema

_TEXT: Final = """\
# The configuration of treason. Every value below is the default; take the "#" away to change one.
# Durations are written 90s, 10m, 1h, 30d or permanent.

[treason]
# A relative path starts at the directory of this file.
# {treason.database}
# {treason.lock}

# Where kernel messages are read: kmsg (/dev/kmsg), journal (systemd's), dmesg (the command), file
# (a saved log).
# {treason.sources}

# What is to drop the banned: nftables, file (a blocklist for other programs).
# {treason.backends}

# A pass that would lift more than this share of what is enforced, and finds no unban, expiry or
# exemption that explains it, is refused without --force. It guards from 10 networks up.
# {treason.max_removals}

# A backend that can tell that it did not change is not read again, but at least so often.
# {treason.resync_interval}

# The shortest prefixes that `treason ban` takes without --force.
# {treason.min_prefix}

[trust]
# Believe records that any process wrote to /dev/kmsg. For tests only.
# {trust.userspace}

[policy]
# So many connections of one peer, within the window, make a ban of this length.
# {policy.threshold}
# {policy.window}
# {policy.ban_for}

# Who was banned before, until the ban ended, is banned so many times as long, up to max_ban.
# {policy.escalate}
# {policy.max_ban}

# IPv6 peers are counted and banned by the network of so many bits that they are in.
# {policy.ipv6_prefix}

# A source that brings a pass over so many new bans is refused without --force; 0 is no limit.
# {policy.max_new_bans}

# Count only connections to a port on which something listens, not those that this machine made.
# {policy.listeners_only}

# How long offences, and the history of networks that are no longer banned, are kept.
# {policy.keep_offences}
# {policy.keep_history}

[whitelist]
# Never dropped, and passed ahead of the drop: a network, or a network with a comment. More stand
# in whitelist.toml beside this file: `treason whitelist add` writes them.
# networks = ["172.16.0.0/12", {{ network = "198.51.100.7", comment = "office" }}]
# {whitelist.networks}

[protect]
# Never dropped either, read anew at each pass; `treason status --protection` lists them.
# {protect.loopback}
# {protect.link_local}
# {protect.own_addresses}
# {protect.gateways}
# {protect.resolvers}
# Who ran a command through ssh, for 12 hours.
# {protect.ssh_client}

# The log, whether its lines count as the kernel's although they do not tell their facility, and
# whether its rotated generations (kern.log.1, kern.log.2.gz, kern.log-20261120, ...) are read, too.
# With trusted, whoever gets a line into it is believed, also by `logger -t kernel`.
# [source.file]
# path = "/var/log/kern.log"
# trusted = false
# rotated = true

# Which other messages of the kernel name a hostile peer. A ready rule is switched on by its name:
# ufw-block, netfilter-log, tcp-md5, tcp-ao, martian-source; so can one be switched off:
# treason-uncloaked, unexpectedly-shrunk, probing-zero-window. `treason test-rule` tries rules.
# [[rule]]
# name = "ufw-block"
# threshold = 5
# ban_for = "1h"

# One of your own has a pattern, which must match the whole message and name the address. The keys
# of [policy] from threshold to max_ban are for it alone; report_only bans nobody.
# [[rule]]
# name = "trap"
# pattern = 'trap: .* SRC=(?P<address>\\S+) .* SPT=(?P<peer_port>\\d+) DPT=(?P<local_port>\\d+) .*'
# sources = ["kmsg"]
# enabled = true
# report_only = false

# A directory of journal files; by default the machine's own journal is read.
# [source.journal]
# directory = "/var/log/journal"

# Which iptables: "auto" is what `iptables` itself is, else "nft" or "legacy"; and the chains that
# begin with ours. Behind Docker add "DOCKER-USER"; "raw/PREROUTING" alone sees all that comes in.
# [backend.ipset]
# variant = "auto"
# hooks = ["INPUT", "FORWARD"]

# The same, and whether the rules are saved for the next boot (iptables-persistent).
# [backend.iptables]
# variant = "auto"
# hooks = ["INPUT", "FORWARD"]
# persist = false

# The blocklist, one network in a line, and what to run after a change.
# [backend.file]
# path = "/etc/nginx/treason.list"
# command = ["systemctl", "reload", "nginx"]
"""


class _Table:
    """Gives each setting as the line that sets it."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> str:
        value = self._values[name]
        if isinstance(value, dict):
            inside = ", ".join(tomli_w.dumps({key: v}).strip() for key, v in value.items())
            return f"{name} = {{ {inside} }}"
        if isinstance(value, list | tuple):
            return f"{name} = [{', '.join(_one(v) for v in value)}]"
        return f"{name} = {_one(value)}"


def _one(value: object) -> str:
    return tomli_w.dumps({"x": value}).strip().removeprefix("x = ")


def default_text() -> str:
    """Return the file that `treason init` writes: every key with its default, as a comment."""
    tables = {name: _Table(values) for name, values in schema.plain(Config()).items()}
    return _TEXT.format(**tables)
