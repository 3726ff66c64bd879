"""The systemd units that run treason, and their installation.

`conf/systemd/` holds the same texts as they are rendered for /usr/bin/treason.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from attrs import Factory, frozen

from reconciler import files
from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.host import sandbox
from reconciler.host.sandbox import Asked, Sandbox, word
from reconciler.host.written import Written, content
from reconciler.interfaces import SourcePlugin

DIRECTORY: Final = Path("/etc/systemd/system")
COMMAND: Final = "/usr/bin/treason"
_EARLY: Final = "treason-early.service"

_SERVICE: Final = """\
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
{sandbox}"""

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
ExecStart={command} --config {config} reconcile --no-create --no-scan
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
    """What the services get: those that only enforce, and the one that reads the sources as well.

    ``early`` says that saved rules need what a backend makes.
    """

    enforcing: Sandbox = Factory(Sandbox)
    reading: Sandbox = Factory(partial(Sandbox, frozenset({"CAP_SYSLOG"})))
    early: bool = False

    @classmethod
    def of(cls, asked: Sequence[Asked]) -> "Services":
        """Return what these need. Raise `TreasonError` for what units cannot give them.

        All run as root if one of them must: they share the database, and systemd gives it to the
        user of each.
        """
        root = sandbox.needs_root(asked)
        enforcing = [each for each in asked if not isinstance(each.plugin, SourcePlugin)]
        early = any(getattr(each.plugin, "early", False) for each in enforcing)
        return cls(Sandbox.of(enforcing, root=root), Sandbox.of(asked, root=root), early)


def texts(
    command: str,
    configuration: Path,
    services: Services = Services(),
    mounts: Sequence[Path] = (sandbox.STATE,),
) -> dict[str, str]:
    """Return the units' texts by their paths below the directory of units.

    What holds the configuration and ``mounts`` is mounted before they run, and they begin no
    database.
    """
    early = {_EARLY: _BEFORE_SAVED_RULES} if services.early else {}
    words = {
        "command": command,
        "config": word(str(configuration)).replace("$", "$$"),  # or systemd puts a variable there
        "condition": str(configuration).replace("%", "%%"),
        "mounts": " ".join(word(str(each)) for each in dict.fromkeys([configuration, *mounts])),
    }
    enforcing = services.enforcing.text()
    return {
        "treason.service": _SERVICE.format(**words, sandbox=services.reading.text()),
        "treason.timer": _TIMER,
        **{
            name: _RESTORE.format(**words, when=when, sandbox=enforcing)
            for name, when in {"treason-restore.service": _BEFORE_THE_NETWORK, **early}.items()
        },
        "nftables.service.d/treason.conf": _AFTER_NFTABLES,
    }


def check() -> None:
    """Refuse to go on where no units can be installed. Raise `TreasonError`."""
    if not DIRECTORY.is_dir():
        raise TreasonError(
            f"{DIRECTORY} does not exist: this machine has no systemd",
            f"run a pass each minute by cron: * * * * * root {_command()} reconcile",
        )
    if os.geteuid() != 0:
        raise TreasonError("only root can install units", "run it with sudo")


def install(
    configuration: Path, services: Services, database: Path, written: Written
) -> Iterator[str]:
    """Write and enable the units; tell each step. Raise `TreasonError`: what is not ours stays."""
    rendered = _rendered(configuration, services, database)
    written.check({DIRECTORY / _EARLY: None, **rendered}, "treason init --systemd")
    for path, text in rendered.items():
        written.announce(path, text)
        _write(path, text)
        yield f"{path}: written"
    if not services.early and (DIRECTORY / _EARLY).is_file():
        _systemctl("disable", _EARLY)
        (DIRECTORY / _EARLY).unlink()
        yield f"{DIRECTORY / _EARLY}: removed, no backend needs it"
    _systemctl("daemon-reload")
    at_boot = ["treason-restore.service", *([_EARLY] if services.early else [])]
    _systemctl("enable", *at_boot)
    _systemctl("enable", "--now", "treason.timer")
    yield from services.reading.told()
    yield f"treason.timer: enabled and started; {', '.join(at_boot)}: enabled"


def due(configuration: Path, services: Services, database: Path) -> list[str]:
    """Return the units that `install` would write otherwise than they are, or remove."""
    rendered: dict[Path, str | None] = {DIRECTORY / _EARLY: None}
    rendered |= _rendered(configuration, services, database)
    return [path.name for path, text in rendered.items() if content(path) != text]


def _rendered(configuration: Path, services: Services, database: Path) -> dict[Path, str]:
    mounts = [database.parent, configuration.resolve(), database.resolve()]  # links followed
    named = texts(_command(), configuration.absolute(), services, mounts)
    return {DIRECTORY / name: text for name, text in named.items()}


def uninstall(written: Written) -> Iterator[str]:
    """Disable and remove the units; the bans stay enforced. What is not ours stays, too."""
    named = texts(COMMAND, Path(), Services(early=True))
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


def _command() -> str:
    """Return the words that start this very program, for a unit."""
    program = sandbox.program()
    return word(str(program)) if program else f"{word(sys.executable)} -P -m reconciler"


def _write(path: Path, text: str) -> None:
    """Write a unit; one that is a link, as of a masked unit, is replaced, not what it leads to."""
    new = path.with_name(f".{path.name}.new") if path.is_symlink() else path
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        files.replace(new, text, mode=0o644)
        new.replace(path)
    except OSError as error:
        raise TreasonError(f"{path}: cannot write the unit: {error.strerror}") from None


def _systemctl(*arguments: str) -> None:
    try:
        run(["systemctl", *arguments])
    except CommandFailed as error:
        raise TreasonError(error.what, "run it again when systemd is up") from None
