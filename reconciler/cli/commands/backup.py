"""The commands about copies of the database: ``backup`` and ``restore``."""

from contextlib import suppress
from pathlib import Path

import click

from reconciler.cli.console import ERROR, OK, say, show, warn
from reconciler.cli.ending import (
    code_of,
    complain_of,
    complain_of_damage,
    complain_of_feeds,
    doubt_of,
    warn_of,
)
from reconciler.cli.options import examples, lock_timeout, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import StoreError
from reconciler.lines import counted
from reconciler.passes import access, resident
from reconciler.passes.restore import Backends, Restored
from reconciler.passes.restore import restore as exchange
from reconciler.report import text
from reconciler.report.times import iso
from reconciler.store import copies, successor
from reconciler.store.backups import Backup
from reconciler.store.schema import VERSION
from reconciler.store.store import open_store

_FILE = click.Path(path_type=Path)


@click.command(epilog=examples("backup /var/backups/treason.db", "backup --force treason.bak"))
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Replace the file, if it is a database or empty.")
@verbosity
@click.pass_obj
def backup(setup: Setup, file: Path, force: bool) -> int:
    """Write a copy of the database to a file, while the daemon and passes go on.

    It is checked before it gets its name, and nobody else may read it. The configuration and
    whitelist.toml are files of their own, to be copied as well.
    """
    database = setup.config.treason.database
    made = copies.save(database, file, force=force, lock=setup.config.treason.lock)
    if made.schema == VERSION:  # an older one is not to be changed by this
        _note(database, file)
    say(
        f"{file}: {counted(made.bans, 'ban')}, {made.size / (1 << 20):,.1f} MiB,"
        f" schema {made.schema}; checked"
    )
    return OK


def _note(database: Path, file: Path) -> None:
    """Let the database know of its last backup, where it can be written."""
    with suppress(StoreError), open_store(database, write=True) as store:
        store.backups.note(Backup(access.told(store).now, str(file.absolute())))


@click.command(
    epilog=examples("restore /var/backups/treason.db --check", "restore /var/backups/treason.db")
)
@click.argument("file", type=_FILE)
@click.option("--check", is_flag=True, help="Tell what would be added and removed; change nothing.")
@click.option(
    "--force", is_flag=True, help="Skip the safety limit, and take a backup of another database."
)
@lock_timeout
@verbosity
@click.pass_obj
def restore(setup: Setup, file: Path, check: bool, force: bool, lock_timeout: float) -> int:
    """Let a backup take the place of the database, and enforce it at once.

    It is refused if it is damaged, of another database, or would remove more than max_removals
    allows. The database that it replaces is kept beside it. The sources are read again from where
    they were read when the backup was made. A pause stays as it is now.
    """

    def made(current: Setup) -> Backends:
        successor.refuse(current.config.treason.database, file)
        current.whitelist  # noqa: B018 - nothing is begun if it is wrong
        return current.backends()

    with (
        resident.held(setup, setup.config.treason.backends, lock_timeout),
        access.locked(setup, lock_timeout, made) as (current, backends),
    ):
        found = exchange(current, backends, file, force=force, check=check)
    return _told(file, found)


def _told(file: Path, found: Restored) -> int:
    """Print what became of it; return the exit code."""
    of = f", the last event of {iso(found.written)}" if found.written is not None else ""
    what = "would be restored" if found.result is None else "restored"
    say(f"{file}: {what}: {counted(found.bans, 'ban')}{of}")
    if found.result is None:
        show(text.outcomes(found.outcomes, diff=False))
        complain_of([], found.outcomes, *found.refusals)
        return ERROR if found.refusals else OK
    if found.kept is not None:
        say(f"what it replaces is kept: {found.kept}")
    result = found.result
    doubt_of(result)
    warn_of(result.refused)
    show(filter(None, [text.paused(result.paused, result.now)]))
    show(text.outcomes(result.outcomes, diff=False))
    complain_of([], result.outcomes, result.unwritten, result.unasked)
    complain_of_feeds(result)
    complain_of_damage(result.damage)
    if result.failed:
        warn("the backup is restored, but not in force everywhere; see above")
    return code_of(result)
