"""The installation of the systemd units: written, enabled, replaced by others, and removed.

Nothing here changes what is enforced. Where units take the place of others, the timer goes on until
the daemon runs, and begins before the daemon is stopped.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import evolve

from reconciler import files
from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.host import sandbox, units
from reconciler.host.sandbox import word
from reconciler.host.units import DAEMON, EARLY, RESTORE, TIMER, Services
from reconciler.host.written import Written, content

DIRECTORY: Final = Path("/etc/systemd/system")
_NAMES: Final = tuple(units.texts(units.COMMAND, Path(), Services(early=True)))
_STARTED: Final = (TIMER, DAEMON)
_ENABLED: Final = (*_STARTED, RESTORE, EARLY)
_START: Final = 6 * 60.0
"""Seconds until systemctl is given up; systemd itself gives the daemon five minutes to start."""


def check() -> None:
    """Refuse to go on where no units can be installed. Raise `TreasonError`."""
    if not DIRECTORY.is_dir():
        raise TreasonError(
            f"{DIRECTORY} does not exist: this machine has no systemd",
            f"run a pass each minute by cron: * * * * * root {_command()} reconcile",
        )
    if os.geteuid() != 0:
        raise TreasonError("only root can install units", "run it with sudo")


def timer_only() -> bool:
    """Whether the installed units are those without the daemon."""
    return (DIRECTORY / units.ONCE).is_file() and not (DIRECTORY / DAEMON).is_file()


def command(*, resident: bool) -> str:
    """Return the command that installs the units with or without the daemon."""
    return f"treason init --systemd{'' if resident else ' --timer-only'}"


def install(
    configuration: Path, services: Services, database: Path, written: Written
) -> Iterator[str]:
    """Write, enable and start the units; tell each step. Raise `TreasonError`.

    Those of before that are not needed any more are removed. What is not ours stays.
    """
    rendered = _rendered(configuration, services, database)
    surplus = [path for path in _present() if path not in rendered]
    written.check({**dict.fromkeys(surplus), **rendered}, command(resident=services.resident))
    for path, text in rendered.items():
        written.announce(path, text)
        _write(path, text)
        yield f"{path}: written"
    _systemctl("daemon-reload")
    at_boot = [RESTORE, *([EARLY] if services.early else [])]
    if services.resident:  # at once: a pass may be under way, which had this name until now
        _systemctl("restart", "--no-block", DAEMON)
        _systemctl("enable", DAEMON)
    _systemctl("enable", TIMER, *at_boot)
    _systemctl("restart", TIMER)  # it may have been running by other times
    yield from services.reading.told()
    yield f"{TIMER}: enabled and started; {', '.join(at_boot)}: enabled"
    if services.resident:
        _wait_for_the_daemon()
        yield f"{DAEMON}: enabled and started"
    yield from _remove(surplus, "removed, nothing needs it any more")


def due(configuration: Path, services: Services, database: Path) -> list[str]:
    """Return the units that `install` would write otherwise than they are, or remove.

    Whether there is to be a daemon is what the installed units say.
    """
    services = evolve(services, resident=not timer_only())
    rendered: dict[Path, str | None] = dict.fromkeys(_present())
    rendered |= _rendered(configuration, services, database)
    return [path.name for path, text in rendered.items() if content(path) != text]


def uninstall(written: Written) -> Iterator[str]:
    """Stop, disable and remove the units; the bans stay enforced. What is not ours stays, too."""
    present = _present()
    written.check(dict.fromkeys(present), "treason init --systemd --undo")
    yield from _remove(present, "removed")
    yield "what is enforced stays enforced; `treason teardown` removes it"


def _rendered(configuration: Path, services: Services, database: Path) -> dict[Path, str]:
    mounts = [database.parent, configuration.resolve(), database.resolve()]  # links followed
    named = units.texts(_command(), configuration.absolute(), services, mounts)
    return {DIRECTORY / name: text for name, text in named.items()}


def _present() -> list[Path]:
    """Return which of the files are there that are ours by their names."""
    return [DIRECTORY / name for name in _NAMES if (DIRECTORY / name).is_file()]


def _remove(paths: list[Path], what: str) -> Iterator[str]:
    for name in _ENABLED:
        if DIRECTORY / name in paths:
            _systemctl("disable", *(["--now"] if name in _STARTED else []), name)
    for path in paths:
        path.unlink()
        if path.parent != DIRECTORY and not any(path.parent.iterdir()):
            path.parent.rmdir()
        yield f"{path}: {what}"
    if paths:
        _systemctl("daemon-reload")


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


def _wait_for_the_daemon() -> None:
    """Wait until it is ready, which it was told to become. Raise `TreasonError`."""
    try:
        run(["systemctl", "start", DAEMON], timeout=_START)
    except CommandFailed as error:
        raise TreasonError(
            error.what,
            f"systemd goes on trying, the timer enforces meanwhile: journalctl -u {DAEMON}",
        ) from None


def _systemctl(*arguments: str) -> None:
    try:
        run(["systemctl", *arguments])
    except CommandFailed as error:
        raise TreasonError(error.what, "run it again when systemd is up") from None
