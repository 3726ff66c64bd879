"""The configuration as text: the commented file with every default."""

from typing import Any, Final

import tomli_w

from reconciler.config.tables import Config, Main
from reconciler.toml import schema

_TEXT: Final = """\
# The configuration of treason. Each value below is the default; remove the "#" to change one.
# Durations: 90s, 10m, 1h, 30d, 2w or permanent.

[treason]
# A relative path starts at the directory of this file.
# {treason.database}
# {treason.lock}

# Where attacks are seen: kmsg (/dev/kmsg), journal (systemd's), dmesg (the command), file (a saved
# log), and sockets (this machine's own TCP sockets, whether the kernel prints anything or not).
# {treason.sources}

# What drops the banned networks: nftables, ipset, iptables, file (a list for other programs).
# {treason.backends}

# The safety limit on removals: a pass refuses to remove more than this share of the enforced bans.
# Removals by unban, expiry or whitelist do not count. With fewer than 10 enforced networks there is
# no limit. --force ignores it.
# {treason.max_removals}

# Once the drop is verified, close the connections through which a banned peer holds memory: those
# with data that it has not acknowledged, where its sockets show the attack.
# {treason.close_connections}

# A backend that reports no change is not read again until this time has passed.
# {treason.resync_interval}

# A source that takes longer than this in a pass is ended, and fails; all else goes on.
# {treason.pass_timeout}

# The widest networks that `treason ban` accepts without --force.
# {treason.min_prefix}

[run]
# Where commands ask the daemon (treason run) to enforce at once what they have stored. Each daemon
# of a machine needs a socket of its own.
# {run.socket}
# The kernel tells the daemon of each change of the nftables ruleset. While others load sets of
# 100,000 elements, that makes them slower. With events = false nothing is told: each second the
# daemon asks whether the ruleset has changed at all, and looks if it has.
# {run.events}

[trust]
# Believe what any process writes to /dev/kmsg. For tests only.
# {trust.userspace}
# Local users can make the kernel print messages about anybody. What kmsg, journal and dmesg bring
# bans only what is confirmed, as each rule says (confirm, below): "auto" asks wherever messages can
# be forged, "always" everywhere, "never" nowhere.
# {trust.confirm}

[policy]
# With mode = "observe" rules ban nobody: whom they would ban is counted and listed (treason list
# --observed-only), and not banned afterwards either. Stored bans and bans by hand stay in force.
# {policy.mode}

# This many connections of one peer, within the window, make a ban of this length.
# {policy.threshold}
# {policy.window}
# {policy.ban_for}

# Each time a network is banned again after a ban has ended, multiply the length of the ban by
# escalate, up to max_ban.
# {policy.escalate}
# {policy.max_ban}

# Count and ban IPv6 peers by the network of this prefix length that contains them.
# {policy.ipv6_prefix}

# The safety limit on new bans: refuse a source that exceeds this number in one pass, unless --force
# is given. 0 means no limit.
# {policy.max_new_bans}

# Count only connections to a port on which something listens, not those that this machine made.
# {policy.listeners_only}

# How long to keep offences, and the history of networks that are not banned any more.
# {policy.keep_offences}
# {policy.keep_history}

[whitelist]
# Never dropped, and accepted ahead of the drop: a network, or a network with a comment, an end
# (until = 2026-11-29T18:00:00Z), or both. More entries may be in whitelist.toml beside this file;
# `treason whitelist add` writes that file.
# networks = ["172.16.0.0/12", {{ network = "198.51.100.7", comment = "office" }}]
# {whitelist.networks}

[protect]
# Never dropped either, and found anew at each pass; `treason status --protection` lists them.
# {protect.loopback}
# {protect.link_local}
# {protect.own_addresses}
# {protect.gateways}
# {protect.resolvers}
# Whoever ran a command through ssh, for 12 hours.
# {protect.ssh_client}
# Prefixes of NAT64 (RFC 6052) besides 64:ff9b::/96 and 64:ff9b:1::/48, as "2001:db8:64::/96": what
# is protected of IPv4 is so behind them, and ipv6_prefix does not widen a ban there.
# {protect.nat64}

# The log to read. With trusted = true, every line that looks like the kernel's is believed: then
# whoever can write to the log (for example with `logger -t kernel`), and whoever can make the
# kernel print a message, can get addresses banned. What a saved log tells is not confirmed.
# With rotated = true, rotated files are read, too (kern.log.1, kern.log.2.gz, kern.log-20261120,
# kern.1.log), also in olddir, if logrotate moves them: olddir = "old" is in the log's directory.
# [source.file]
# path = "/var/log/kern.log"
# trusted = false
# rotated = true
# olddir = ""

# Other kernel messages that name a hostile peer. A ready rule is switched on by its name:
# ufw-block, netfilter-log, tcp-md5, tcp-ao, martian-source. The built-in rules can be switched off
# in the same way: treason-uncloaked, unexpectedly-shrunk, probing-zero-window, shrinks-window, and
# those of the source sockets: zero-window, zero-window-in-company, sockstress. These three have a
# policy of their own (1h, four times as long each time again, at most 30d), which [policy] does not
# change.
# netfilter-log bans nobody without the prefix of the firewall's rule that is meant, as in
# prefix = "DROP: ".
# confirm tells what confirms the messages of a rule that a live source brings. "socket": a socket
# of this machine shows the attack that the message tells (the built-in rules). "firewall": the
# kernel prints lines of the firewall for this network namespace only (ufw-block, netfilter-log).
# "none": nothing does, so the rule only reports (tcp-md5, tcp-ao, rules of your own). "never": they
# are believed as they are.
# To try rules:
# treason test-rule.
# [[rule]]
# name = "ufw-block"
# threshold = 5
# ban_for = "1h"

# A rule of your own needs a pattern that matches the whole message and names the address. The keys
# of [policy] from threshold to max_ban apply to this rule alone. report_only = true bans nobody.
# [[rule]]
# name = "trap"
# pattern = 'trap: .* SRC=(?P<address>\\S+) .* SPT=(?P<peer_port>\\d+) DPT=(?P<local_port>\\d+) .*'
# sources = ["kmsg"]
# confirm = "none"
# enabled = true
# report_only = false

# What looks like the attack at every look for so long is an offence. With ports, only connections
# to these local ports are looked at. sockstress judges also windows that stay closed for thirty
# times as long with nothing in flight: slow readers do that, too, so it takes twenty of one peer.
# way is how the daemon finds suspects. "auto": the kernel tells of them (BPF), else it lists all
# sockets each ten seconds; `treason status` says why. With "bpf" that is a fault. "dump": it lists.
# [source.sockets]
# way = "auto"
# lasting = "10s"
# ports = [80, 443]
# sockstress = false

# A directory of journal files; by default the machine's own journal is read.
# [source.journal]
# directory = "/var/log/journal"

# What others say about whom to drop: a table for each feed, under a name of yours (a-z, 0-9, - and
# _). `treason feed run drop` reads it, and each pass takes what was read. The type "list" reads a
# file (path) or an https address (url), in any usual form, also packed by gzip. The list may hold
# max_mib, and take the time timeout in all. A server at an address that is not public is asked only
# if allow_addresses names it; with ca_file only the authorities in that file are trusted.
# [feed.drop]
# type = "list"
# url = "https://www.spamhaus.org/drop/drop_v4.json"
# timeout = "1m"
# max_mib = 128
# allow_addresses = ["10.1.2.3"]
# ca_file = "/etc/ssl/certs/own.pem"
# Keys of every feed. With mode = "observe" it is only listed; refresh is how often the installed
# timer reads it; store is where it is kept until a pass takes it.
# mode = "enforce"
# refresh = "1h"
# store = "/var/lib/treason-feed/drop/feed.db"
# A feed that names more than max_entries networks, or more than this share of all public addresses,
# or lacks more than the share max_removals of what was taken of it, is not believed, and all stays.
# The last two a person may accept: `treason feed accept drop`.
# max_entries = 1000000
# max_share = 0.05
# max_removals = 0.5
# Left out of what is taken: networks that are wider than min_prefix, and, unless private = true,
# private and reserved ones. max_new is how many networks a member of the feed may bring in an hour;
# 0 is no limit.
# min_prefix = {{ ipv4 = 8, ipv6 = 19 }}
# private = false
# max_new = 0
# The rules whose bans it is told, where it is a feed that tells others.
# publish = []
# The type "postgresql" is a fleet: machines that share their bans by a database that `treason fleet
# init` has prepared. The dsn has no password: that is in password_file. The server's certificate is
# verified, by the authorities of ca_file if that is given. max_new is 2000 where nothing is said.
# [feed.fleet]
# type = "postgresql"
# dsn = "host=db.example dbname=fleet user=web1"
# password_file = "/etc/treason/fleet.password"
# ca_file = "/etc/treason/fleet.crt"
# publish = ["treason-uncloaked", "zero-window"]

# Which iptables to use: "auto" (what the command `iptables` is), "nft" or "legacy"; and the chains
# that jump to ours. With Docker add "DOCKER-USER"; "raw/PREROUTING" alone sees all that comes in.
# [backend.ipset]
# variant = "auto"
# hooks = ["INPUT", "FORWARD"]

# The same for iptables without ipset, and whether to save the rules for the next boot (in the files
# of iptables-persistent).
# [backend.iptables]
# variant = "auto"
# hooks = ["INPUT", "FORWARD"]
# persist = false

# The list, one network per line, and the command to run after a change. A list that treason did not
# write is left alone: treason reconcile --adopt takes it over.
# [backend.file]
# path = "/etc/nginx/treason.list"
# command = ["systemctl", "reload", "nginx"]
"""


class _Table:
    """Each setting as the line that sets it."""

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


def new_text(*, observe: bool = False) -> str:
    """Return the file that `treason init` writes: the defaults, but sockets are looked at as well.

    With ``observe`` rules ban nobody. What was configured before that source keeps its own.
    """
    sources = _Table(schema.plain(Main())).sources
    text = default_text().replace(f"# {sources}", 'sources = ["kmsg", "sockets"]', 1)
    return text.replace('# mode = "enforce"', 'mode = "observe"', 1) if observe else text


def default_text() -> str:
    """Return every key with its default, as a comment."""
    tables = {name: _Table(values) for name, values in schema.plain(Config()).items()}
    return _TEXT.format(**tables)
