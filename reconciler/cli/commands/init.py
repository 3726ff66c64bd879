"""The commands that set treason up, and that show it."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import click
from attrs import evolve

from reconciler import files
from reconciler.cli.console import OK, say
from reconciler.cli.options import examples, verbosity
from reconciler.config import template
from reconciler.config.services import services
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError, StoreError
from reconciler.host import installing, kernel_message
from reconciler.host.units import Services
from reconciler.host.written import Written
from reconciler.passes import access, publishing, traces
from reconciler.store.marks import Mark
from reconciler.store.store import Store

Change = Callable[[Path, Services, Written], Iterator[str]]

_QUESTION: Final = "Only observe at first, and ban nobody by rules ([policy] mode)?"


@click.command(epilog=examples("init", "init --systemd --kernel-message", "init --undo --systemd"))
@click.option("--systemd", is_flag=True, help="Also install and enable the systemd units.")
@click.option(
    "--timer-only", is_flag=True, help="With --systemd: a pass each minute, and no daemon."
)
@click.option(
    "--kernel-message", "message", is_flag=True, help="Also turn on the kernel's message."
)
@click.option(
    "--observe", is_flag=True, help='Write mode = "observe": rules ban nobody, but tell whom.'
)
@click.option(
    "--new-database", "anew", is_flag=True,
    help="Begin with an empty database, though there was one.",
)  # fmt: skip
@click.option("--undo", is_flag=True, help="Undo what --systemd or --kernel-message did.")
@click.option(
    "--renew", is_flag=True,
    help="With --systemd: only bring enabled units up to date, and restart those that run.",
)  # fmt: skip
@click.option("--adopt", is_flag=True, help="Replace units that somebody else wrote or changed.")
@verbosity
@click.pass_obj
def init(
    setup: Setup,
    systemd: bool,
    timer_only: bool,
    message: bool,
    observe: bool,
    anew: bool,
    undo: bool,
    renew: bool,
    adopt: bool,
) -> int:
    """Create the configuration, the database and their directories; overwrite nothing.

    --systemd also installs and starts the daemon, a timer that runs a pass each ten minutes, and
    the unit that enforces the stored bans early at boot; with --timer-only no daemon, and a pass
    each minute. --kernel-message also lets the kernel print its message about hostile
    peers, now and after every boot: Linux 3.19 and later do not by default. --undo reverts only
    what these two options did; bans stay enforced. What somebody else wrote, or has changed since,
    is neither replaced nor removed; of units --adopt does so. A new configuration, or one as a
    package brought it, gets mode = "observe" with --observe; on a terminal you are asked.
    --new-database is for a database that is lost: what it enforced ends with the next pass.

    --renew is for after an upgrade. Where units are enabled, it writes them as this version and
    the configuration need, with or without the daemon as they are, and restarts the daemon and
    the timers if they run. What is stopped, disabled or masked stays so, and nothing is enabled.
    Where no unit is enabled, where they run another treason than this, or where systemd does not
    run, it says so and does nothing.
    """
    if timer_only and not systemd:
        raise click.UsageError("--timer-only goes with --systemd")
    if renew:
        if not systemd or timer_only or message or observe or anew or undo:
            raise click.UsageError("--renew goes with --systemd, and besides with --adopt alone")
        return _renew(setup, adopt=adopt)
    if undo:
        return _undo(setup, systemd=systemd, message=message, adopt=adopt)
    if systemd:
        installing.check()
        services(setup)
    if message:
        kernel_message.check(kernel_message.HERE)
    write_configuration(setup.path, observe=observes(setup, asked=observe))
    _database(setup, anew=anew)
    if systemd:
        needed = evolve(services(setup), resident=not timer_only)
        _units(setup, installing.install, needed, adopt=adopt)
    if message:
        _tell(kernel_message.turn_on(kernel_message.HERE))
    return OK


@click.command(epilog=examples("demo"))
@verbosity
def demo() -> int:
    """Show how it works, in a network namespace of its own; needs no root, changes nothing."""
    from reconciler.cli import demo as story  # noqa: PLC0415 - no other command needs it

    return story.tell()


def _renew(setup: Setup, *, adopt: bool) -> int:
    if why := installing.not_renewable():
        say(why)
        return OK
    installing.check()
    _units(setup, installing.renew, services(setup), adopt=adopt)
    return OK


def _units(setup: Setup, change: Change, needed: Services, *, adopt: bool) -> None:
    """Change the units in a way that needs the database, which is there."""
    with access.opened(setup, write=True, create=False) as store:
        publishing.prepare(store, setup.publishing, access.told(store).now)
        _tell(change(setup.path, needed, _written(store, adopt=adopt)))


def _undo(setup: Setup, *, systemd: bool, message: bool, adopt: bool) -> int:
    if not (systemd or message):
        raise click.UsageError("--undo goes with --systemd or --kernel-message")
    if systemd:
        with access.opened(setup, write=False) as store:
            _tell(installing.uninstall(_written(store, adopt=adopt)))
    if message:
        _tell(kernel_message.turn_off(kernel_message.HERE))
    return OK


def _written(store: Store, *, adopt: bool) -> Written:
    """Return what the database knows of the files that it wrote."""

    def known(subject: str) -> list[str]:
        mark = store.marks.get(subject)
        return [mark.written, mark.before] if mark else []

    def note(subject: str, written: str, before: str) -> None:
        store.marks.keep(subject, Mark(written, before))

    return Written(known, note, adopt=adopt)


def _tell(steps: Iterable[str]) -> None:
    for step in steps:
        say(step)


def observes(setup: Setup, *, asked: bool) -> bool:
    """Return whether a new configuration is to begin with the mode observe.

    One that is as a package brought it is new; once there is a database, nobody is asked about it.
    Raise `ConfigError` where that is ``asked`` for, and there is a configuration of another mode.
    """
    there = os.path.lexists(setup.path)
    if not there or _is_untouched(setup.path):
        begun = there and os.path.lexists(setup.config.treason.database)
        on_terminal = sys.stdin is not None and sys.stdin.isatty() and not begun
        return asked or (on_terminal and click.confirm(_QUESTION, err=True))
    if asked and not setup.config.policy.observes:
        raise ConfigError(
            f"{setup.path}: already exists, with another mode, so --observe changes nothing",
            'set mode = "observe" in [policy] there',
        )
    return False


def write_configuration(path: Path, *, observe: bool = False) -> None:
    """Write the default configuration, unless there is one. Raise `ConfigError`.

    One that nobody touched gets the mode ``observe``, if that is asked for.
    """
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o755)  # whatever the umask: services have users of their own
        there = os.path.lexists(path)
        if there and not (observe and _is_untouched(path)):
            say(f"{path}: already exists, unchanged")
        else:
            files.replace(path, template.new_text(observe=observe), mode=0o644)
            say(f"{path}: {'changed to observe only' if there else 'created'}")
    except OSError as error:
        raise ConfigError(
            f"{error.filename or path}: cannot create the configuration: {error.strerror}",
            files.remedy(error, "run as root, or name another file with --config"),
        ) from None


def _is_untouched(path: Path) -> bool:
    """Whether a configuration is as `init` or a package wrote it."""
    try:
        return path.read_bytes() == template.new_text().encode()
    except OSError:
        return False


def _database(setup: Setup, *, anew: bool) -> None:
    path = setup.config.treason.database
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path.parent}: cannot create the database's directory: {error.strerror}",
            files.remedy(error, "run as root, or set [treason] database to another file"),
        ) from None
    if anew:
        traces.begin(setup)
        say(f"{path}: created; the next pass removes what only the old one held (much: by --force)")
        return
    kept = os.path.lexists(path)
    with access.opened(setup, write=True):
        say(f"{path}: {'already exists, unchanged' if kept else 'created'}")
