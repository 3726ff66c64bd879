"""The commands that set treason up, and that show it."""

import os
from pathlib import Path

import click

from reconciler import files, schedule, settings
from reconciler.config import Main
from reconciler.console import OK
from reconciler.errors import ConfigError, StoreError
from reconciler.options import verbosity
from reconciler.session import Session


@click.command()
@click.option("--systemd", is_flag=True, help="Install and enable the units as well.")
@click.option("--undo", is_flag=True, help="With --systemd: disable and remove the units.")
@verbosity
@click.pass_obj
def init(session: Session, systemd: bool, undo: bool) -> int:
    """Make the configuration, the database and their directories; what is there stays.

    With --systemd also install the timer that runs a pass each minute, and the unit that enforces
    what is stored early at boot. --undo removes the units again; bans stay enforced.
    """
    if undo:
        if not systemd:
            raise click.UsageError("--undo goes with --systemd")
        for line in schedule.uninstall():
            click.echo(line)
        return OK
    if systemd:
        settings = session.config.treason if session.path.exists() else Main()
        schedule.check(settings, session.path)
    write_configuration(session.path)
    _database(session)
    if systemd:
        for line in schedule.install(session.path, session.capabilities):
            click.echo(line)
    return OK


@click.command()
@verbosity
def demo() -> int:
    """Show it all in a network namespace of its own; needs no root, leaves no trace."""
    from reconciler import demo as story  # noqa: PLC0415 - no other command needs it

    return story.tell()


def write_configuration(path: Path) -> None:
    """Write the default configuration, unless there is one. Raise `ConfigError`."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o755)  # whatever the umask: services have users of their own
        if os.path.lexists(path):
            click.echo(f"{path}: kept")
        else:
            files.replace(path, settings.default_text(), mode=0o644)
            click.echo(f"{path}: made")
    except OSError as error:
        raise ConfigError(
            f"{error.filename or path}: cannot make the configuration: {error.strerror}",
            "run as root, or name another place with --config",
        ) from None


def _database(session: Session) -> None:
    path = session.config.treason.database
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path.parent}: cannot make the database's directory: {error.strerror}",
            "run as root, or set [treason] database to another place",
        ) from None
    kept = os.path.lexists(path)
    with session.store(write=True):
        click.echo(f"{path}: {'kept' if kept else 'made'}")
