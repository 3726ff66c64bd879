"""The one place that opens the database file, and says what is wrong with it.

A rollback journal is used, because a WAL database cannot be opened without creating files, and a
check must create none. What a write left that was interrupted is undone in memory, where it may not
be undone in the file.
"""

import os
import sqlite3
import stat
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from reconciler.errors import StoreError
from reconciler.store import image
from reconciler.store.adoption import APPLICATION_ID, adoptable, collisions
from reconciler.store.migrations import migrate, recognise
from reconciler.store.refusals import as_store_error, of_newer_version
from reconciler.store.schema import IDENTIFIED, NAMES, VERSION


def connect(
    path: Path, *, write: bool, timeout: float, past_locks: bool = False
) -> sqlite3.Connection:
    """Open the database, waiting up to ``timeout`` seconds for its lock. Raise `StoreError`.

    For writing, a missing file is created with mode 0600. For reading nothing is created, and a
    missing file is an empty database; with ``past_locks``, what was committed last is read where
    another program keeps the lock.
    """
    with as_store_error(path):
        if write:
            return _writable(path, timeout)
        return _readable(path, timeout, _EVADED if past_locks else _INTERRUPTED)


def is_blank(path: Path) -> bool:
    """Whether there is no database, or one that was never written: an emptied one, for instance.

    Told from the header of the file and of its first page (SQLite's file format, §1.3 and §1.6).
    Raise `StoreError`.
    """
    with as_store_error(path):
        if not _exists(path):
            return True
        if image.is_filled(image.beside(path, "-wal")):
            return False
        with path.open("rb") as file:
            head = file.read(105)
    if len(head) < 105:
        return not head
    untouched = not any((*head[60:64], *head[68:72]))  # user_version, application_id
    return untouched and head[100] == 0x0D and not any(head[103:105])  # a leaf without a cell


def connect_to_enforce(
    path: Path, *, timeout: float
) -> tuple[sqlite3.Connection, StoreError | None]:
    """Open for writing or, where that fails, for reading what is stored; return also why it failed.

    Nothing is read where there is nothing: what is missing or empty would lift every ban. Raise
    `StoreError` then, or where it cannot be read.
    """
    try:
        return connect(path, write=True, timeout=timeout), None
    except StoreError as error:
        refused = error
    try:
        with as_store_error(path):
            _distrust_around(path)
            if _exists(path):
                return _stored(path, min(timeout, _BRIEF), _EVADED), refused
    except StoreError:
        pass  # what keeps it from being written says more
    raise refused


_BRIEF: Final = 0.5
"""Seconds to wait for a lock once more, where it was waited for in vain."""

_INTERRUPTED: Final = frozenset({sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_CORRUPT})
_EVADED: Final = _INTERRUPTED | {sqlite3.SQLITE_BUSY}
"""For what the bytes are read without SQLite: an interrupted write, a file cut off, a lock."""


def _writable(path: Path, timeout: float) -> sqlite3.Connection:
    """Open for writing; create what is missing, and bring an older schema up to date."""
    _distrust_around(path)
    if not _exists(path):
        _create(path)
    with ExitStack() as stack:
        connection = stack.enter_context(closing(_open(path, "rw", timeout)))
        connection.execute("PRAGMA synchronous = FULL")
        version = _version(connection, path)
        if _is_wal(path):
            _leave_wal(connection)
        if version < VERSION:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heard while there is no table
            connection.execute("BEGIN IMMEDIATE")  # and look again: another may have been faster
            migrate(connection, _version(connection, path))
            connection.execute("COMMIT")
        stack.pop_all()
        return connection


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Switch to a rollback journal; while another program reads, WAL mode does as well."""
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


def _readable(path: Path, timeout: float, evaded: frozenset[int]) -> sqlite3.Connection:
    """Open for reading; what is missing or was never written is empty."""
    if not _exists(path):
        return _migrated(None, 0)
    try:
        return _stored(path, timeout, evaded)
    except _NothingStored:
        return _migrated(None, 0)


class _NothingStored(StoreError):
    """The file was never written."""


def as_stored(path: Path, *, timeout: float) -> tuple[sqlite3.Connection, int]:
    """Open for reading what is stored, of whatever schema up to ours; return also its version.

    Raise `StoreError`, also where there is nothing.
    """
    with as_store_error(path):
        if not _exists(path):
            raise _NothingStored(f"{path}: there is no database", "see [treason] database")
        return _as_stored(path, timeout, _INTERRUPTED)


def _stored(path: Path, timeout: float, evaded: frozenset[int]) -> sqlite3.Connection:
    """Open for reading; an older schema is read as it would migrate, from a copy in memory."""
    connection, version = _as_stored(path, timeout, evaded)
    if version == VERSION:
        return connection
    with closing(connection):
        return _migrated(connection, version)


def _as_stored(
    path: Path, timeout: float, evaded: frozenset[int]
) -> tuple[sqlite3.Connection, int]:
    """Open for reading; what SQLite refuses with one of the codes ``evaded`` from a copy in memory.

    Return also the version of the schema.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(closing(_read_only(path, timeout)))
        try:
            version = _version(connection, path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in evaded:
                raise
            connection = stack.enter_context(closing(_in_memory(path, error)))
            version = _version(connection, path)
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise _NothingStored(f"{path}: the database is empty")
        stack.pop_all()
        return connection, version


def _read_only(path: Path, timeout: float) -> sqlite3.Connection:
    """Open for reading, and create nothing beside it in WAL mode either."""
    if not _is_wal(path):
        return _open(path, "ro", timeout)
    refused = StoreError(
        f"{path}: the database is in WAL mode, which cannot be read without writing",
        "run `treason reconcile`: it switches the mode back",
    )
    if not image.is_filled(image.beside(path, "-wal")):
        return _in_memory(path, refused)
    if not image.is_filled(image.beside(path, "-shm")):
        raise refused
    return _open(path, "ro&readonly_shm=1", timeout)


def _in_memory(path: Path, refused: Exception) -> sqlite3.Connection:
    """Open a copy of what was committed last; raise what is given where that cannot be told."""
    if not (data := image.committed(path)):
        raise refused
    with ExitStack() as stack:
        connection = stack.enter_context(closing(_memory()))
        connection.deserialize(data)
        connection.execute("PRAGMA query_only = ON")
        stack.pop_all()
        return connection


def _migrated(original: sqlite3.Connection | None, version: int) -> sqlite3.Connection:
    """Copy a database, or nothing, into memory, and bring the copy up to date."""
    with ExitStack() as stack:
        copy = stack.enter_context(closing(_memory()))
        if original is not None:
            original.backup(copy)
        migrate(copy, version)
        if version < IDENTIFIED:
            copy.execute("DELETE FROM treason_identity")  # the file has none as yet
        copy.execute("PRAGMA query_only = ON")  # what is written here would be lost
        stack.pop_all()
        return copy


def _exists(path: Path) -> bool:
    """Whether there is a file; what may not be looked at, or is no file, is an error."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if os.path.lexists(path):
            raise StoreError(
                f"{path}: the link points to a file that does not exist",
                "create that file, or remove the link",
            ) from None
        return False
    if not stat.S_ISREG(mode):
        raise StoreError(
            f"{path}: the database is not a regular file", "set [treason] database to a file"
        )
    return True


def read_only(path: Path, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a file that is nobody else's, for reading, whatever it holds. Raise sqlite3.Error."""
    return _open(path, "ro", timeout)


def read_write(path: Path, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a file that is nobody else's, as it is, for writing. Raise sqlite3.Error."""
    return _open(path, "rw", timeout)


def beside_all(path: Path) -> list[Path]:
    """Return the names of the files that SQLite keeps beside a database."""
    return [image.beside(path, ending) for ending in ("-journal", "-wal", "-shm")]


def _is_wal(path: Path) -> bool:
    """Whether reading would create files (SQLite's file format, §1.3.3)."""
    with path.open("rb") as file:
        return file.read(20)[18:] == b"\x02\x02"


def _distrust_around(path: Path) -> None:
    """Refuse the directory of the file, and that of the file that a link points to; and the file.

    Not one that is missing: it is to be made.
    """
    for directory in {path.parent, path.resolve().parent}:
        _distrust(directory, "the database's directory")
    if _exists(path):
        _distrust(path, "the database")


def _distrust(path: Path, what: str) -> None:
    """Refuse, as root, what anybody can write to, or where he can put another file in its place."""
    if os.geteuid() == 0 and path.stat().st_mode & stat.S_IWOTH:
        raise StoreError(
            f"{path}: every user may write to {what}",
            f"take that right away: chmod o-w {path}",
        )


def _create(path: Path) -> None:
    """Create the file for its directory's owner, if it is missing."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    try:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


def _memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = _text
    return connection


def _open(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    name = f"file:{quote(str(path))}?mode={mode}"
    connection = sqlite3.connect(name, uri=True, timeout=timeout, isolation_level=None)
    connection.text_factory = _text
    return connection


def _text(value: bytes) -> str:
    """Read any bytes: another program may have written what is no UTF-8."""
    return value.decode(errors="backslashreplace")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema, 0 for an empty file; refuse what is not ours."""
    version, application, tables = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version),"
        " (SELECT application_id FROM pragma_application_id),"
        " (SELECT count(*) FROM sqlite_schema)"
    ).fetchone()
    if application != APPLICATION_ID:
        if not (version or application or tables):
            return 0
        if not adoptable(connection):
            raise _stranger(connection, path)
        if names := collisions(connection, NAMES):
            raise StoreError(
                f"{path}: cannot adopt badips: it has other tables named {', '.join(names)}",
                "rename those tables, or copy badips into a new database",
            )
        return 0  # whatever the script's owner used user_version for
    if version > VERSION:
        raise of_newer_version(path, version)
    return int(version)


def _stranger(connection: sqlite3.Connection, path: Path) -> StoreError:
    """Return what is said of a database without our mark: it may be ours, loaded from a dump."""
    restored = recognise(connection)
    if restored is None:
        return StoreError(
            f"{path}: this SQLite database was not created by treason",
            "set [treason] database to another file",
        )
    import shlex  # noqa: PLC0415 - which no other opening needs

    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {restored}"
    return StoreError(
        f"{path}: these are treason's tables, but without its mark, which no .dump holds",
        f"if it is your backup, adopt it: sqlite3 {shlex.quote(str(path))} '{marks}'",
    )
