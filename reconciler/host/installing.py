"""The installation of the systemd units: written, enabled, replaced by others, and removed.

Nothing here changes what is enforced. Where units take the place of others, the timer goes on until
the daemon runs, and begins before the daemon is stopped.
"""

import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from attrs import evolve

from reconciler import files
from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.host import feed_units, sandbox, units
from reconciler.host.feed_units import FeedUnit
from reconciler.host.sandbox import word
from reconciler.host.units import DAEMON, EARLY, RESTORE, TIMER, Services
from reconciler.host.written import Written, content

DIRECTORY: Final = Path("/etc/systemd/system")
USERS: Final = Path("/etc/sysusers.d/treason-feeds.conf")
_ANY: Final = FeedUnit("*")
_NAMES: Final = tuple(units.texts(units.COMMAND, Path(), Services(early=True, feeds=(_ANY,))))
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
    gone = [feed for feed in _started_feeds() if feed not in {each.name for each in services.feeds}]
    written.check({**dict.fromkeys(surplus), **rendered}, command(resident=services.resident))
    for path, text in rendered.items():
        written.announce(path, text)
        _write(path, text)
        yield f"{path}: written"
    if services.feeds:
        _create_users()
    _systemctl("daemon-reload")
    at_boot = [RESTORE, *([EARLY] if services.early else [])]
    if services.resident:  # at once: a pass may be under way, which had this name until now
        _systemctl("restart", "--no-block", DAEMON)
        _systemctl("enable", DAEMON)
    _systemctl("enable", TIMER, *at_boot)
    _systemctl("restart", TIMER)  # it may have been running by other times
    yield from services.reading.told()
    yield f"{TIMER}: enabled and started; {', '.join(at_boot)}: enabled"
    yield from _start_feeds(services.feeds)
    if services.resident:
        _wait_for_the_daemon()
        yield f"{DAEMON}: enabled and started"
    yield from _stop_feeds(gone)
    yield from _remove(surplus, "removed, nothing needs it any more")


def due(configuration: Path, services: Services, database: Path) -> list[str]:
    """Return the units that `install` would write otherwise than they are, or remove.

    Whether there is to be a daemon is what the installed units say.
    """
    services = evolve(services, resident=not timer_only())
    rendered: dict[Path, str | None] = dict.fromkeys(_present())
    rendered |= _rendered(configuration, services, database)
    wrong = [path for path, text in rendered.items() if content(path) != text]
    return [str(path).removeprefix(f"{DIRECTORY}/") for path in wrong]


def uninstall(written: Written) -> Iterator[str]:
    """Stop, disable and remove the units; the bans stay enforced. What is not ours stays, too."""
    present = _present()
    written.check(dict.fromkeys(present), "treason init --systemd --undo")
    yield from _stop_feeds(_started_feeds())
    yield from _remove(present, "removed")
    yield "what is enforced stays enforced; `treason teardown` removes it"


def _rendered(configuration: Path, services: Services, database: Path) -> dict[Path, str]:
    feeds = services.feeds
    mounts = [database.parent, configuration.resolve(), database.resolve()]  # links followed
    mounts += [feed_units.STORES] if feeds else []
    named = units.texts(_command(), configuration.absolute(), services, mounts)
    users = {USERS: feed_units.users(feeds)} if feeds else {}
    return {DIRECTORY / name: text for name, text in named.items()} | users


def _present() -> list[Path]:
    """Return which of the files are there that are ours by their names."""
    named = [DIRECTORY / name for name in _NAMES]
    of_feeds = [path for name in _ANY.beside for path in sorted(DIRECTORY.glob(name))]
    return [path for path in (*named, *of_feeds, USERS) if path.is_file()]


def _started_feeds() -> list[str]:
    """Return the feeds that are read now and after each boot, by what systemd enabled."""
    links = sorted(DIRECTORY.glob(f"*.wants/{_ANY.timer}"))
    return [path.stem.partition("@")[2] for path in links]


def _create_users() -> None:
    try:
        run(["systemd-sysusers", str(USERS)])
    except CommandFailed as error:
        hint = f"each feed needs the user of its own that {USERS} names"
        raise TreasonError(error.what, hint) from None


def _start_feeds(feeds: Collection[FeedUnit]) -> Iterator[str]:
    """Read each now, and again and again; one that is being read goes by the old configuration."""
    timers = [feed.timer for feed in feeds]
    if timers:
        _systemctl("enable", *timers)
        _systemctl("try-restart", "--no-block", *(feed.service for feed in feeds))
        _systemctl("restart", *timers)
        yield f"{', '.join(timers)}: enabled and started"


def _stop_feeds(names: Collection[str]) -> Iterator[str]:
    for feed in map(FeedUnit, names):
        _systemctl("disable", "--now", feed.timer)
        _systemctl("stop", feed.service)
        yield f"{feed.timer}: disabled and stopped; {feed.directory} and its user stay"


def _remove(paths: list[Path], what: str) -> Iterator[str]:
    for name in _ENABLED:
        if DIRECTORY / name in paths:
            _systemctl("disable", *(["--now"] if name in _STARTED else []), name)
    for path in paths:
        path.unlink()
        if path.parent.parent == DIRECTORY and not any(path.parent.iterdir()):
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
