"""What SQLite and the system say of the database, in words that say what to do."""

import errno
import os
import pwd
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reconciler.errors import StoreError
from reconciler.store.schema import VERSION


def of_newer_version(path: Path, version: int) -> StoreError:
    """Return what is said of a database whose schema a newer program has made."""
    return StoreError(
        f"{path}: the database has schema {version}; this program knows up to {VERSION}",
        "install the newer version of treason that wrote it",
    )


@contextmanager
def as_store_error(path: Path) -> Iterator[None]:
    """Turn what SQLite or the system say into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise StoreError(
                f"{path}: the database's directory does not exist",
                f"treason init creates it; by hand: install -d -m 0700 {path.parent}",
            ) from None
        if _is_denied(error.errno == errno.EACCES):
            raise _denied(path) from None
        raise StoreError(
            f"{path}: cannot open the database: {error.strerror}",
            "allow reading and writing it, or set [treason] database to another file",
        ) from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if _is_denied(code & 0xFF in _CLOSED and not _may(path, os.R_OK | os.W_OK)):
            raise _denied(path) from None
        hint = "restore it from a backup" if str(error).startswith("no such table") else ""
        what, hint = _SAID.get(code) or _SAID.get(code & 0xFF, (str(error), hint))
        raise StoreError(f"{path}: {what}", hint) from None


def _is_denied(refused: bool) -> bool:
    """Whether it is the user who is refused: root is not, so something else is wrong then."""
    return refused and os.geteuid() != 0


def _denied(path: Path) -> StoreError:
    what = "write to" if _may(path, os.R_OK) else "read"
    return StoreError(
        f"{path}: as user {_user()} you may not {what} the database",
        "run it as root (with sudo), or name a database of your own in [treason]",
    )


def _may(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=True)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def is_damage(error: StoreError) -> bool:
    """Whether it says that something cannot be read, or is not there, that was stored."""
    code = getattr(error.__context__, "sqlite_errorcode", 0)
    return bool(_DAMAGE & {code, code & 0xFF})


_DAMAGE: Final = {
    *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR),
    *(sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ),
}
"""What SQLite says of a damaged page, of a disk that cannot read it, and of a missing table."""

_CLOSED: Final = {
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY),
}

_SAID: Final = {
    sqlite3.SQLITE_BUSY: (
        "the database is locked by another program",
        "try again when it has finished; the database was not changed",
    ),
    sqlite3.SQLITE_READONLY: (
        "the database is read-only",
        "allow writing to the file and to its directory; the database was not changed",
    ),
    sqlite3.SQLITE_READONLY_DBMOVED: (
        "the database was replaced by another one meanwhile",
        "run it again; nothing was stored",
    ),
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "an interrupted write must be rolled back first",
        "allow writing to the file and to its directory: the next command that writes does that",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot open the database",
        "check that the file and its directory exist, and that you may read and write them",
    ),
    sqlite3.SQLITE_NOTADB: (
        "this is not an SQLite database",
        "restore it from a backup; to start afresh move it away, then: treason init --new-database",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the database is damaged",
        "restore it from a backup; to start afresh move it away, then: treason init --new-database",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk cannot be read or written",
        "free some space, and see what the kernel says of the disk: dmesg",
    ),
    sqlite3.SQLITE_FULL: (
        "the disk is full",
        "free some space, then run it again; the database was not changed",
    ),
}
