"""Whole copies of a database: made while others use it, and checked before they count."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import files
from reconciler.errors import StoreError
from reconciler.store.opening import as_stored, beside_all, read_only
from reconciler.store.refusals import as_store_error

_PAGES: Final = 4096
"""Pages that are copied between two looks at Ctrl-C: 16 MiB."""

_PATIENCE: Final = 30.0
"""Seconds to wait for a lock on the database."""


@frozen
class Copy:
    """A copy that was made: its size in bytes, its schema, and how many bans are in it."""

    size: int
    schema: int
    bans: int


def save(database: Path, target: Path, *, force: bool = False, lock: Path | None = None) -> Copy:
    """Write a copy of the database as of one moment; raise `StoreError`, and then leave nothing.

    Who writes waits as long as that takes. A file that is there is replaced only with ``force``,
    and only if it is a database or empty; the ``lock`` of passes never is.
    """
    _refuse(database, target, force=force, lock=lock)
    source, version = as_stored(database, timeout=_PATIENCE)
    with closing(source), as_write_error(target), files.temporary(target) as new:
        copy(source, new, target)
        number = examine(new, target)
        _refuse(database, target, force=force, lock=lock)  # somebody may have made it meanwhile
        size = new.stat().st_size
        files.settle(new)
        new.replace(target)
        files.settle(target.parent)
    return Copy(size, version, number)


def copy(source: sqlite3.Connection, new: Path, told: Path) -> None:
    """Copy what a connection reads, as of one moment, into an empty file.

    Nobody writes meanwhile, so it comes to an end. A `StoreError` names the path that is ``told``.
    """
    with as_store_error(told), closing(sqlite3.connect(new, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = OFF")  # it is thrown away if anything fails
        target.execute("PRAGMA synchronous = OFF")
        source.execute("BEGIN")
        try:
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            source.backup(target, pages=_PAGES)
        finally:
            source.execute("ROLLBACK")


def examine(path: Path, told: Path) -> int:
    """Read every page of a copy; return how many bans it has. Raise `StoreError` for damage."""
    with as_store_error(told), closing(read_only(path)) as connection:
        rows = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if rows != [("ok",)]:
            raise StoreError(
                f"{told}: what was copied is damaged: {' '.join(rows[0][0].split())}",
                "nothing was written; restore the database from an earlier backup",
            )
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        table = "bans" if "bans" in names else "badips"
        [(number,)] = connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a constant
    return int(number)


@contextmanager
def as_write_error(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that is written into a `StoreError`."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: cannot write the copy: {error.strerror}",
            files.remedy(error, "name a file in a directory that exists and that you may write to"),
        ) from None


def _refuse(database: Path, target: Path, *, force: bool, lock: Path | None) -> None:
    """Raise `StoreError` where no copy is to be written."""
    real = database.resolve()
    own = {real, *beside_all(real)}
    with as_write_error(target):
        parent = target.parent.resolve() / target.name
        try:
            status = os.lstat(target)
        except FileNotFoundError:
            if parent in own:
                raise StoreError(_itself(target), "name another file") from None
            return
    if parent in own or (real.exists() and os.path.samestat(status, real.stat())):
        raise StoreError(_itself(target), "name another file")
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a link, or no regular file"
        raise StoreError(f"{target}: is {kind}", "name a file that does not exist yet")
    if not force:
        raise StoreError(
            f"{target}: already exists, unchanged", "name another file, or replace it with --force"
        )
    if lock is not None and lock.exists() and os.path.samestat(status, lock.stat()):
        raise StoreError(f"{target}: is the lock of passes", "name another file")
    if status.st_size and not _is_database(target):
        raise StoreError(
            f"{target}: is no database, and not replaced by one",
            "name another file; if that is meant, remove it first",
        )


def _is_database(path: Path) -> bool:
    """Whether it begins as SQLite's files do (its file format, §1.3)."""
    with as_write_error(path), path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _itself(target: Path) -> str:
    return f"{target}: is the database itself, or a file that belongs to it"
