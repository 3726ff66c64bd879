"""The systemd units that run treason, and their installation.

`conf/systemd/` holds the same texts as they are rendered for /usr/bin/treason.
"""

import grp
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from reconciler import files
from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.host.written import Written
from reconciler.interfaces import BackendPlugin, SourcePlugin

DIRECTORY: Final = Path("/etc/systemd/system")
COMMAND: Final = "/usr/bin/treason"
STATE: Final = Path("/var/lib/treason")
RUNTIME: Final = Path("/run/treason")
_EARLY: Final = "treason-early.service"
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp")  # noqa: S108 - by ProtectHome, PrivateTmp

# What both services may do: speak netlink with CAP_NET_ADMIN, write their own state, what the
# backends and the sources need besides, and nothing else (systemd.exec(5)).
_SANDBOX: Final = """\
User=treason
DynamicUser=yes
{groups}StateDirectory=treason
StateDirectoryMode=0700
RuntimeDirectory=treason
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
UMask=0077
AmbientCapabilities=CAP_NET_ADMIN{capabilities}
CapabilityBoundingSet=CAP_NET_ADMIN{capabilities}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
DevicePolicy=closed
{devices}ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_NETLINK{families}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
IPAddressDeny=any
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""

_SERVICE: Final = (
    """\
[Unit]
Description=Reconcile the firewall with treason's bans
Documentation=https://pypi.org/project/treason/
After=nftables.service treason-restore.service
RequiresMountsFor={mounts}
ConditionPathExists={condition}

[Service]
Type=oneshot
ExecStart={command} --config {config} reconcile --no-create
TimeoutStartSec=15min
"""
    + _SANDBOX
)

_TIMER: Final = """\
[Unit]
Description=Reconcile the firewall with treason's bans each minute

[Timer]
OnCalendar=minutely
RandomizedDelaySec=10
FixedRandomDelay=yes
AccuracySec=1
Persistent=yes

[Install]
WantedBy=timers.target
"""

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
_RESTORE: Final = (
    """\
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
ExecStart={command} --config {config} reconcile --no-create --no-scan
TimeoutStartSec=5min
"""
    + _SANDBOX
    + """
[Install]
WantedBy=network-pre.target sysinit.target
"""
)

# nftables.service flushes everything when it starts and when it reloads. The job is queued, not
# propagated: a reload of a unit that is still being activated would be dropped.
_AFTER_NFTABLES: Final = """\
[Service]
ExecStartPost=-/usr/bin/systemctl --no-block restart treason-restore.service
ExecReload=-/usr/bin/systemctl --no-block restart treason-restore.service
"""

_NO_DEVICES: Final = "PrivateDevices=yes\nProtectKernelLogs=yes\n"
_DEVICES: Final = {"CAP_SYSLOG": "DeviceAllow=/dev/kmsg r\n"}
"""What a capability is good for only with a device."""


@frozen
class Needs:
    """What the services need besides CAP_NET_ADMIN.

    ``backends`` and ``sources`` are capabilities(7), ``groups`` are those that may read what the
    sources read. What only enforces has neither the sources' capabilities nor their groups.
    ``early`` says that saved rules need what a backend makes.
    """

    backends: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset({"CAP_SYSLOG"})
    groups: frozenset[str] = frozenset()
    early: bool = False

    @classmethod
    def of(cls, backends: Sequence[BackendPlugin], sources: Sequence[SourcePlugin]) -> "Needs":
        """Return what these plugins say that they need."""
        return cls(
            frozenset(each for plugin in backends for each in plugin.capabilities),
            frozenset(each for plugin in sources for each in plugin.capabilities),
            frozenset(each for plugin in sources for each in plugin.groups),
            early=any(plugin.early for plugin in backends),
        )


def texts(
    command: str,
    configuration: Path,
    needs: Needs = Needs(),
    mounts: Sequence[Path] = (STATE,),
) -> dict[str, str]:
    """Return the units' texts by their paths below the directory of units.

    What holds the configuration and ``mounts`` is mounted before they run, and they begin no
    database.
    """
    enforcing = sorted(needs.backends)
    both = [*dict.fromkeys([*sorted(needs.sources), *enforcing])]
    groups = sorted(needs.groups)
    early = {_EARLY: _BEFORE_SAVED_RULES} if needs.early else {}
    words = {
        "families": " AF_INET AF_INET6" if "CAP_NET_RAW" in enforcing else "",
        "command": command,
        "config": _word(str(configuration)),
        "condition": str(configuration).replace("%", "%%"),
        "mounts": " ".join(_word(str(each)) for each in dict.fromkeys([configuration, *mounts])),
    }
    return {
        "treason.service": _SERVICE.format(
            **words,
            capabilities="".join(f" {name}" for name in both),
            groups=f"SupplementaryGroups={' '.join(groups)}\n" if groups else "",
            devices="".join(_DEVICES[name] for name in both if name in _DEVICES) or _NO_DEVICES,
        ),
        "treason.timer": _TIMER,
        **{
            name: _RESTORE.format(
                **words,
                when=when,
                capabilities="".join(f" {name}" for name in enforcing),
                groups="",
                devices=_NO_DEVICES,
            )
            for name, when in {"treason-restore.service": _BEFORE_THE_NETWORK, **early}.items()
        },
        "nftables.service.d/treason.conf": _AFTER_NFTABLES,
    }


def check(database: Path, lock: Path, configuration: Path) -> None:
    """Refuse what the units could not work with, before anything is made. Raise `TreasonError`."""
    if not DIRECTORY.is_dir():
        raise TreasonError(
            f"{DIRECTORY} does not exist: this machine has no systemd",
            f"run a pass each minute by cron: * * * * * root {_command()} reconcile",
        )
    if os.geteuid() != 0:
        raise TreasonError("only root can install units", "run it with sudo")
    for path, place in ((database, STATE), (lock, RUNTIME)):
        if path.parent != place:
            raise TreasonError(
                f"{path}: the sandboxed service may only write to {place}",
                f"move it to {place / path.name}, and set that path in [treason]",
            )
    for path in (_program() or Path(sys.executable), Path(sys.executable), configuration):
        for seen in (path.absolute(), path.resolve()):
            if any(seen.is_relative_to(hidden) for hidden in _HIDDEN):
                raise TreasonError(
                    f"{seen}: the sandboxed service cannot see this directory",
                    "install treason for the whole system, in /opt/treason for instance",
                )


def install(configuration: Path, needs: Needs, database: Path, written: Written) -> Iterator[str]:
    """Write and enable the units; tell each step. Raise `TreasonError`: what is not ours stays."""
    known = frozenset(filter(_is_group, needs.groups))  # or systemd would not start the service
    known_needs = evolve(needs, groups=known)
    mounts = [database.parent, configuration.resolve(), database.resolve()]  # links followed
    named = texts(_command(), configuration.absolute(), known_needs, mounts)
    rendered: dict[Path, str] = {DIRECTORY / name: text for name, text in named.items()}
    written.check({DIRECTORY / _EARLY: None, **rendered}, "treason init --systemd")
    for path, text in rendered.items():
        written.announce(path, text)
        _write(path, text)
        yield f"{path}: written"
    if not needs.early and (DIRECTORY / _EARLY).is_file():
        _systemctl("disable", _EARLY)
        (DIRECTORY / _EARLY).unlink()
        yield f"{DIRECTORY / _EARLY}: removed, no backend needs it"
    _systemctl("daemon-reload")
    at_boot = ["treason-restore.service", *([_EARLY] if needs.early else [])]
    _systemctl("enable", *at_boot)
    _systemctl("enable", "--now", "treason.timer")
    yield f"treason.timer: enabled and started; {', '.join(at_boot)}: enabled"


def uninstall(written: Written) -> Iterator[str]:
    """Disable and remove the units; the bans stay enforced. What is not ours stays, too."""
    named = texts(COMMAND, Path(), Needs(early=True))
    present = [name for name in named if (DIRECTORY / name).is_file()]
    command = "treason init --systemd --undo"
    written.check({DIRECTORY / name: None for name in present}, command)
    for name in present:
        stop = ["--now"] if name.endswith(".timer") else []
        if name in {"treason.timer", "treason-restore.service", _EARLY}:
            _systemctl("disable", *stop, name)
    for name in present:
        path = DIRECTORY / name
        path.unlink()
        if path.parent != DIRECTORY and not any(path.parent.iterdir()):
            path.parent.rmdir()
        yield f"{path}: removed"
    if present:
        _systemctl("daemon-reload")
    yield "what is enforced stays enforced; `treason teardown` removes it"


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _program() -> Path | None:
    """Return the program that runs, if it can be started by its path."""
    program = Path(sys.argv[0]).absolute()
    return program if program.is_file() and os.access(program, os.X_OK) else None


def _command() -> str:
    """Return the words that start this very program, for a unit."""
    program = _program()
    return _word(str(program)) if program else f"{_word(sys.executable)} -P -m reconciler"


def _word(text: str) -> str:
    """Quote a word of a command line as systemd.service(5) reads it."""
    text = text.replace("%", "%%")
    if re.fullmatch(r"[\w/.+:@%-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        files.replace(path, text, mode=0o644)
    except OSError as error:
        raise TreasonError(f"{path}: cannot write the unit: {error.strerror}") from None


def _systemctl(*arguments: str) -> None:
    try:
        run(["systemctl", *arguments])
    except CommandFailed as error:
        raise TreasonError(error.what, "run it again when systemd is up") from None
