"""A database that is to take the place of the present one: a backup, brought up to date."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import files
from reconciler.errors import StoreError
from reconciler.store import feed_tables, image
from reconciler.store.copies import as_write_error, copy, examine
from reconciler.store.database import Database
from reconciler.store.migrations import migrate
from reconciler.store.opening import as_stored, beside_all, connect, is_blank, read_write
from reconciler.store.refusals import as_store_error, is_damage
from reconciler.store.schema import IDENTIFIED, VERSION
from reconciler.store.store import Store

_OF_NOW: Final = (
    *("pause", "clients", "treason_clock", "marks", "whitelists", "closings", "backup"),
    *feed_tables.STANDING,
)
"""Tables that tell of this moment, not of the bans: they stay as they are in the present database.

The pause, who came through ssh, the clock, what was written to files, what the whitelist held,
whose connections are to be closed, which backup is the last one, and what feeds say and were told.
"""

_PATIENCE: Final = 10.0
"""Seconds to wait for whoever writes to the present database."""


@frozen(eq=False)
class Successor:
    """It is open as ``store``, whose path is that of the database that it is to replace.

    ``known`` is the identity that the backup has; empty if it is too old to have one. ``present``
    is the database that it replaces, None where there is none that can be read.
    """

    store: Store
    known: str
    present: Database | None
    _database: Database
    _new: Path

    def carry(self) -> None:
        """Take over from the present database what tells of now; without one nothing is paused."""
        with self._database.transaction():
            self.store.pauses.end()
            for table in _OF_NOW:
                rows = None if self.present is None else _rows(self.present, table)
                if rows is None:
                    continue
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    insert = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - as above
                    self._database.execute_many(insert, rows)
            self._database.execute("UPDATE publishings SET event = -1")  # of another history

    def begin_anew(self) -> None:
        """Let no pass believe what was verified, or carried out, by the time of the backup."""
        with self._database.transaction():
            self.store.changes.doubt()
            self._database.execute("UPDATE carried_out SET event = 0")

    def note_lifts(self, networks: list[str], reason: str, time: int) -> None:
        """Note in the history that these were not banned by then: that explains their removal.

        Offences after that time, which are read again, count.
        """
        self._database.execute_many(
            "INSERT INTO history (time, action, network, reason) VALUES (?, 'unban', ?, ?)",
            [(time, network, reason) for network in networks],
        )

    def take_place(self, now: int) -> Path | None:
        """Replace the present database; return the name under which that is kept, if there is one.

        Whoever is about to write to it finds that it was replaced. Raise `StoreError`.
        """
        path = self.store.path.resolve()
        with ExitStack() as stack:
            if self.present is not None:
                stack.enter_context(self.present.transaction())  # nobody writes behind our back
                self.carry()
            self._database.close()
            with as_write_error(path):
                _dress(self._new, path)
                files.settle(self._new)
                kept = _free_name(path, now)
                with suppress(FileNotFoundError):
                    os.link(path, kept)
                if self.present is None:
                    _take_along(path, kept)
                self._new.replace(path)
                files.settle(path.parent)
                with suppress(FileNotFoundError):
                    kept.chmod(0o600)
                    return kept
        return None


@contextmanager
def made(database: Path, backup: Path) -> Iterator[Successor]:
    """Copy a backup to beside the database, and bring it up to date. Raise `StoreError`.

    Nothing is left of it if it does not take the place.
    """
    path = database.resolve()
    refuse(path, backup)
    with ExitStack() as stack:
        with _as_backup_error():
            source, version = as_stored(backup, timeout=_PATIENCE)
        stack.enter_context(closing(source))
        with as_write_error(path):
            new = stack.enter_context(files.temporary(path))
        copy(source, new, path)
        with _as_backup_error():
            examine(new, backup)
        with as_store_error(backup):
            connection = stack.enter_context(closing(_up_to_date(new, version)))
        coming = Database(connection, database)
        present = _present(database)
        if present is not None:
            stack.callback(present.close)
        store = Store(coming)
        store.bans.tidy()
        known = store.identity if version >= IDENTIFIED else ""
        yield Successor(store, known, present, coming, new)


def refuse(database: Path, backup: Path) -> None:
    """Raise `StoreError` for what is no backup to be believed, told from the file alone."""
    try:
        status, real = backup.stat(), backup.resolve()  # whose directory may be gone
    except OSError as error:
        raise StoreError(
            f"{backup}: cannot read the backup: {error.strerror}", "name a file that you may read"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{backup}: is not a file", "name one that treason backup wrote")
    if real == database.resolve() or (
        database.exists() and os.path.samestat(status, database.stat())
    ):
        raise StoreError(f"{backup}: is the database itself", "name a backup of it")
    if os.geteuid() == 0 and status.st_mode & stat.S_IWOTH:
        raise StoreError(
            f"{backup}: every user may write to this file, so it is not believed",
            f"if it is your backup, take that right away: chmod o-w {backup}",
        )
    if status.st_uid not in _owners(database):
        raise StoreError(
            f"{backup}: it belongs to user {status.st_uid}, not to root or to the database's"
            " owner, so it is not believed",
            f"if it is your backup, make it yours: chown root {backup}",
        )
    if is_blank(backup):
        raise StoreError(f"{backup}: is empty, so no backup", "name one that treason backup wrote")


@contextmanager
def _as_backup_error() -> Iterator[None]:
    """Name what is wrong with a backup, and what to do about that."""
    try:
        yield
    except StoreError as error:
        hint = error.hint if "schema" in error.what else "name another backup"
        raise StoreError(f"{error.what}; nothing was changed", hint) from None


def _owners(database: Path) -> set[int]:
    owners = {0, os.geteuid()}
    for each in (database, database.resolve().parent):
        with suppress(OSError):
            owners.add(each.stat().st_uid)
    return owners


def _up_to_date(new: Path, version: int) -> sqlite3.Connection:
    """Open the copy for writing, with no file beside it, and take the steps of the schema."""
    with ExitStack() as stack:
        connection = stack.enter_context(closing(read_write(new)))
        connection.execute("PRAGMA journal_mode = MEMORY")
        if version < VERSION:
            connection.execute("BEGIN IMMEDIATE")
            migrate(connection, version)
            connection.execute("COMMIT")
        stack.pop_all()
        return connection


def _present(path: Path) -> Database | None:
    """Open the database that is there; None if there is none, or one that is damaged.

    Raise `StoreError` where it may be whole, and cannot be opened.
    """
    try:
        if is_blank(path):
            return None
        found = Database(connect(path, write=True, timeout=_PATIENCE), path)
    except StoreError as error:
        if is_damage(error):
            return None
        raise
    if image.is_filled(image.beside(path, "-wal")):
        found.close()
        raise StoreError(
            f"{path}: another program has the database open in WAL mode",
            "let that program end, then run it again",
        )
    return found


def _rows(database: Database, table: str) -> list[tuple[object, ...]] | None:
    """Return what a table holds; None where that is damaged."""
    try:
        return database.rows(f"SELECT * FROM {table}")  # noqa: S608 - a constant
    except StoreError as error:
        if not is_damage(error):
            raise
        return None


def _dress(new: Path, path: Path) -> None:
    """Make owner and mode of the new database those of the old one, or its directory's owner."""
    there = path.exists()
    old = (path if there else path.parent).stat()
    if os.geteuid() == 0:
        os.chown(new, old.st_uid, old.st_gid)
    if there:  # whoever could read it still can
        new.chmod(stat.S_IMODE(old.st_mode))


def _free_name(path: Path, now: int) -> Path:
    """Return a name that nothing has yet, for what is kept of the database."""
    stamp = f"{path.name}.before-restore-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    names = (path.with_name(stamp + (f"-{n}" if n > 1 else "")) for n in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _take_along(path: Path, kept: Path) -> None:
    """Let what SQLite kept beside a damaged database lie beside it under its new name."""
    for old, new in zip(beside_all(path), beside_all(kept), strict=True):
        with suppress(FileNotFoundError):
            old.rename(new)
