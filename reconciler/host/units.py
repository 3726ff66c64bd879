"""The texts of the systemd units that run treason.

`conf/systemd/` holds the same texts as they are rendered for /usr/bin/treason.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from attrs import Factory, frozen

from reconciler.host import feed_units, sandbox
from reconciler.host.feed_units import FeedUnit
from reconciler.host.sandbox import Asked, Sandbox, word
from reconciler.interfaces import SourcePlugin

COMMAND: Final = "/usr/bin/treason"
DAEMON: Final = "treason.service"
TIMER: Final = "treason.timer"
ONCE: Final = "treason-pass.service"
RESTORE: Final = "treason-restore.service"
EARLY: Final = "treason-early.service"
_NFTABLES: Final = "nftables.service.d/treason.conf"

# A daemon that hangs gets SIGABRT, and is killed five seconds later; what it holds in memory is
# nothing for a core file. When it is stopped it ends its children itself; what is left is killed.
# A pass of its own that takes too much memory ends alone.
# It is started again however often it fails: a machine without it is enforced by the timer alone.
_DAEMON: Final = """\
[Unit]
Description=Keep the firewall in line with treason's bans
Documentation=https://pypi.org/project/treason/
After=nftables.service treason-restore.service
StartLimitIntervalSec=0
RequiresMountsFor={mounts}
ConditionPathExists={condition}

[Service]
Type=notify
ExecStart={command} --config {config} run --no-create
ExecReload=/bin/sh -c "kill -HUP $MAINPID"
TimeoutStartSec=5min
Restart=always
RestartSec=5
WatchdogSec=30
TimeoutAbortSec=5
LimitCORE=0
KillMode=mixed
OOMPolicy=continue
{sandbox}
[Install]
WantedBy=multi-user.target
"""

_ONCE: Final = """\
[Unit]
Description=Reconcile the firewall with treason's bans once
Documentation=https://pypi.org/project/treason/
After=nftables.service treason-restore.service
RequiresMountsFor={mounts}
ConditionPathExists={condition}

[Service]
Type=oneshot
ExecStart={command} --config {config} reconcile --scheduled --no-create
TimeoutStartSec=15min
{sandbox}"""

_TIMER: Final = """\
[Unit]
Description=Reconcile the firewall with treason's bans {each}

[Timer]
Unit=treason-pass.service
OnCalendar={calendar}
RandomizedDelaySec={spread}
FixedRandomDelay=yes
AccuracySec=1
Persistent=yes

[Install]
WantedBy=timers.target
"""

_BESIDE_THE_DAEMON: Final = {"each": "each ten minutes", "calendar": "*:0/10", "spread": "60"}
_ALONE: Final = {"each": "each minute", "calendar": "minutely", "spread": "10"}

_BEFORE_THE_NETWORK: Final = """\
Description=Enforce treason's stored bans before the network is up
Documentation=https://pypi.org/project/treason/
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service nftables.service netfilter-persistent.service
After=iptables.service ip6tables.service ipset.service ufw.service treason-early.service
Before=network-pre.target shutdown.target
"""

# What iptables-save saved names the sets of the backend ipset: `iptables-restore` refuses all of it
# while they are missing. Where the sets are saved too, these are loaded first, and would be refused
# if there were others of their names.
_BEFORE_SAVED_RULES: Final = """\
Description=Enforce treason's stored bans before saved firewall rules are loaded
Documentation=https://pypi.org/project/treason/
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service systemd-modules-load.service
Before=netfilter-persistent.service iptables.service ip6tables.service
Before=network-pre.target shutdown.target
ConditionPathExists=!/etc/iptables/ipsets
ConditionPathExists=!/etc/sysconfig/ipset
"""

# DefaultDependencies=no: this must be done before the network is up.
_RESTORE: Final = """\
[Unit]
{when}\
Wants=network-pre.target
Conflicts=shutdown.target
StartLimitIntervalSec=0
RequiresMountsFor={mounts}
ConditionPathExists={condition}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command} --config {config} reconcile --scheduled --no-create --no-scan
TimeoutStartSec=5min
{sandbox}
[Install]
WantedBy=network-pre.target sysinit.target
"""

# nftables.service flushes everything when it starts and when it reloads. The job is queued, not
# propagated: a reload of a unit that is still being activated would be dropped.
_AFTER_NFTABLES: Final = """\
[Service]
ExecStartPost=-/usr/bin/systemctl --no-block restart treason-restore.service
ExecReload=-/usr/bin/systemctl --no-block restart treason-restore.service
"""


@frozen
class Services:
    """What the services get: those that only enforce, and those that read the sources as well.

    ``early`` says that saved rules need what a backend makes. ``resident`` is whether the daemon
    runs; where it does not, the timer starts a pass each minute. Each of the ``feeds`` has a
    service of its own, and all of treason's read what these write.
    """

    enforcing: Sandbox = Factory(Sandbox)
    reading: Sandbox = Factory(partial(Sandbox, frozenset({"CAP_SYSLOG"})))
    early: bool = False
    resident: bool = True
    feeds: tuple[FeedUnit, ...] = ()

    @classmethod
    def of(cls, asked: Sequence[Asked], feeds: Sequence[FeedUnit] = ()) -> "Services":
        """Return what these need. Raise `TreasonError` for what units cannot give them.

        All run as root if one of them must: they share the database, and systemd gives it to the
        user of each.
        """
        root = sandbox.needs_root(asked)
        enforcing = [each for each in asked if not isinstance(each.plugin, SourcePlugin)]
        early = any(getattr(each.plugin, "early", False) for each in enforcing)
        groups = [feed_units.GROUP] if feeds else []
        alone = Sandbox.of(enforcing, groups, root=root)
        return cls(alone, Sandbox.of(asked, groups, root=root), early, feeds=tuple(feeds))


def texts(
    command: str,
    configuration: Path,
    services: Services = Services(),
    mounts: Sequence[Path] = (),
) -> dict[str, str]:
    """Return the units' texts by their paths below the directory of units.

    What holds the configuration, the database and ``mounts`` is mounted before they run, and they
    begin no database.
    """
    stores = [feed_units.STORES] if services.feeds else []
    words = {
        "command": command,
        "config": word(str(configuration)).replace("$", "$$"),  # or systemd puts a variable there
        "condition": str(configuration).replace("%", "%%"),
        "mounts": _mounts(configuration, *mounts, *sandbox.kept(sandbox.STATE), *stores),
    }
    of_feeds = words | {"mounts": _mounts(configuration, *mounts, *stores)}
    enforcing = services.enforcing.text()
    reading, daemon = services.reading.text(), services.reading.text(daemon=True)
    early = {EARLY: _BEFORE_SAVED_RULES} if services.early else {}
    return {
        **({DAEMON: _DAEMON.format(**words, sandbox=daemon)} if services.resident else {}),
        ONCE: _ONCE.format(**words, sandbox=reading),
        TIMER: _TIMER.format(**(_BESIDE_THE_DAEMON if services.resident else _ALONE)),
        **{
            name: _RESTORE.format(**words, when=when, sandbox=enforcing)
            for name, when in {RESTORE: _BEFORE_THE_NETWORK, **early}.items()
        },
        _NFTABLES: _AFTER_NFTABLES,
        **feed_units.texts(of_feeds, services.feeds),
    }


def _mounts(*paths: Path) -> str:
    return " ".join(word(str(each)) for each in dict.fromkeys(paths))
