"""The installation of the systemd units: written, enabled, replaced by others, and removed.

Nothing here changes what is enforced. Where units take the place of others, the timer goes on until
the daemon runs, and begins before the daemon is stopped.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import evolve

from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.host import unit_files
from reconciler.host.feed_units import FeedUnit
from reconciler.host.unit_files import Layout, links, started_feeds, timer_only
from reconciler.host.units import DAEMON, EARLY, RESTORE, TIMER, Services
from reconciler.host.written import Written

RUNNING: Final = Path("/run/systemd/system")
"""What is there while systemd runs (sd_booted(3))."""

_STARTED: Final = (TIMER, DAEMON)
_ENABLED: Final = (*_STARTED, RESTORE, EARLY)
_START: Final = 6 * 60.0
"""Seconds until systemctl is given up; systemd itself gives the daemon five minutes to start."""

_ACTIVE: Final = frozenset({"active", "activating", "reloading"})
"""What systemd says of a unit that it is to keep going (systemctl(1))."""


def check() -> None:
    """Refuse to go on where no units can be installed. Raise `TreasonError`."""
    if not unit_files.DIRECTORY.is_dir():
        raise TreasonError(
            f"{unit_files.DIRECTORY} does not exist: this machine has no systemd",
            f"run a pass each minute by cron: * * * * * root {unit_files.program()} reconcile",
        )
    if os.geteuid() != 0:
        raise TreasonError("only root can install units", "run it with sudo")


def command(*, resident: bool) -> str:
    """Return the command that installs the units with or without the daemon."""
    return f"treason init --systemd{'' if resident else ' --timer-only'}"


def install(configuration: Path, services: Services, written: Written) -> Iterator[str]:
    """Write, enable and start the units; tell each step. Raise `TreasonError`.

    Those of before that are not needed any more are removed. What is not ours stays.
    """
    layout = Layout.of(unit_files.rendered(configuration, services))
    gone = _gone(services)
    written.check(layout.files, command(resident=services.resident))
    yield from layout.write(written)
    if services.feeds:
        _create_users()
    _systemctl("daemon-reload")
    at_boot = [RESTORE, *([EARLY] if services.early else [])]
    if services.resident:  # at once: a pass may be under way, which had this name until now
        _systemctl("restart", "--no-block", DAEMON)
        _enable(DAEMON)
    _enable(TIMER, *at_boot)
    _systemctl("restart", TIMER)  # it may have been running by other times
    yield from services.reading.told()
    yield f"{TIMER}: enabled and started; {', '.join(at_boot)}: enabled"
    yield from _start_feeds(services.feeds)
    if services.resident:
        _wait_for_the_daemon("start")
        yield f"{DAEMON}: enabled and started"
    yield from _stop_feeds(gone)
    yield from _clear(layout, "removed, nothing needs it any more")


def not_renewable() -> str:
    """Return why `renew` has nothing to do here, in one line; "" if it has. Raise `TreasonError`.

    It has where units of this very program are enabled, and systemd is there to be told.
    """
    if not any(map(links, _ENABLED)) and not started_feeds():
        return "no unit of treason's is enabled, so none is renewed"
    if not RUNNING.is_dir():
        return "systemd does not run here, so no unit is renewed"
    if (path := unit_files.of_another()) is not None:
        own = command(resident=not timer_only()).removeprefix("treason")  # PATH has the other one
        let = f"{unit_files.program()}{own}"
        return f"{path} runs another treason, so no unit is renewed; to change over: {let}"
    return ""


def renew(configuration: Path, services: Services, written: Written) -> Iterator[str]:
    """Write the units as this version would, and restart those that run; tell each step.

    Whether there is to be a daemon is what the installed units say. None is enabled, and none
    started that does not run: what somebody stopped, disabled or masked stays so. Raise
    `TreasonError`.
    """
    services = evolve(services, resident=not timer_only())
    layout = Layout.of(unit_files.rendered(configuration, services), unit_files.is_masked)
    gone = _gone(services)
    written.check(layout.files, command(resident=services.resident))
    yield from layout.write(written, alike=False)
    if services.feeds:
        _create_users()
    _systemctl("daemon-reload")
    yield from _stop_feeds(gone)
    yield from _clear(layout, "removed, nothing needs it any more")
    timers = [TIMER, *(feed.timer for feed in services.feeds)]
    seen = [each for each in (*timers, DAEMON, RESTORE, EARLY) if not _is_masked(each)]
    if enabled := [each for each in seen if links(each)]:
        _systemctl("reenable", *enabled)  # they may stand elsewhere by now, or be wanted by others
    running = _running([*timers, *(feed.service for feed in services.feeds)])
    if running:
        _systemctl("try-restart", "--no-block", *running)
    if resident := _running([DAEMON]):
        _wait_for_the_daemon("try-restart")
    yield "treason's units are up to date"
    if running or resident:
        yield f"{', '.join([*running, *resident])}: restarted"


def due(configuration: Path, services: Services) -> list[str]:
    """Return the units that `install` would have systemd read otherwise than they are.

    Whether there is to be a daemon is what the installed units say.
    """
    services = evolve(services, resident=not timer_only())
    wrong = Layout.of(unit_files.rendered(configuration, services)).wrong()
    return [str(path).removeprefix(f"{unit_files.DIRECTORY}/") for path in wrong]


def uninstall(written: Written) -> Iterator[str]:
    """Stop, disable and remove the units; the bans stay enforced. What is not ours stays, too.

    So does what a package ships; it is disabled as well.
    """
    layout = Layout.of({})
    written.check(layout.files, "treason init --systemd --undo")
    yield from _stop_feeds(started_feeds())
    yield from _clear(layout, "removed")
    yield "what is enforced stays enforced; `treason teardown` removes it"


def _gone(services: Services) -> list[str]:
    """Return the feeds that are read, and not configured any more."""
    return [name for name in started_feeds() if name not in {each.name for each in services.feeds}]


def _create_users() -> None:
    try:
        run(["systemd-sysusers", str(unit_files.USERS)])
    except CommandFailed as error:
        hint = f"each feed needs the user of its own that {unit_files.USERS} names"
        raise TreasonError(error.what, hint) from None


def _start_feeds(feeds: Collection[FeedUnit]) -> Iterator[str]:
    """Read each now, and again and again; one that is being read goes by the old configuration."""
    timers = [feed.timer for feed in feeds]
    if timers:
        _enable(*timers)
        _systemctl("try-restart", "--no-block", *(feed.service for feed in feeds))
        _systemctl("restart", *timers)
        yield f"{', '.join(timers)}: enabled and started"


def _stop_feeds(names: Collection[str]) -> Iterator[str]:
    for feed in map(FeedUnit, names):
        _systemctl("disable", "--now", feed.timer)
        _systemctl("stop", feed.service)
        yield f"{feed.timer}: disabled and stopped; {feed.directory} and its user stay"


def _enable(*names: str) -> None:
    """Enable units; `systemctl enable` leaves a link to where a unit stood before as it is."""
    _systemctl("enable", *names)
    if astray := [name for name in names if any(map(unit_files.is_astray, links(name)))]:
        _systemctl("reenable", *astray)


def _clear(layout: Layout, what: str) -> Iterator[str]:
    """Stop and disable the units that are not to be, then remove their files."""
    for name in _ENABLED:
        if name not in layout.units and unit_files.file(name).exists():
            was_enabled = bool(links(name))
            _systemctl("disable", *(["--now"] if name in _STARTED else []), name)
            if was_enabled and unit_files.DIRECTORY / name not in layout.surplus:
                yield f"{name}: disabled{' and stopped' if name in _STARTED else ''}"
    for path in layout.surplus:
        unit_files.remove(path)
        yield f"{path}: {what}"
    if layout.surplus:
        _systemctl("daemon-reload")


def _is_masked(name: str) -> bool:
    return unit_files.is_masked(unit_files.file(name))


def _running(names: Iterable[str]) -> list[str]:
    """Return which of these run, or are about to (systemctl(1): it ends with 3 for the others)."""
    named = [*names]
    states = run(["systemctl", "is-active", *named], codes=range(5)).output.split()
    return [name for name, state in zip(named, states, strict=False) if state in _ACTIVE]


def _wait_for_the_daemon(verb: str) -> None:
    """Wait until it is ready, which it was told to become. Raise `TreasonError`."""
    try:
        run(["systemctl", verb, DAEMON], timeout=_START)
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
