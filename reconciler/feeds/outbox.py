"""What treason tells by a feed: a pass writes it to a file, which the feed's process reads.

The feed never sees the main database, and cannot write here. A pass does not know what was told
already, nor whether others have lost it again: so a ban is kept for as long as it lasts, and that
it was removed before its time for 30 days.

It is no truth but a copy, so no write waits for the disk. What is there is certain where it was
written since the boot, and what it was written for is stored; else all of it is given anew.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from reconciler import files
from reconciler.errors import FeedUnreadable, StoreError
from reconciler.feeds.format import REASON, harmless
from reconciler.host import clock, lock
from reconciler.network import Network

OUTBOX: Final = "outbox"
"""The directory, beside the main database."""

_KEPT: Final = 30 * 86_400
_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o644
"""The directory above is closed, and this one alone is let into the feed's service, read-only."""

_VERSION: Final = 2
_TOLD: Final = (
    "CREATE TABLE told (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,"
    " network BLOB NOT NULL, banned INTEGER NOT NULL, until INTEGER, reason TEXT NOT NULL) STRICT"
)
_CERTAIN: Final = "CREATE TABLE certain (boot TEXT NOT NULL) STRICT"
"""In which boot it was written, in one row; there is none while it is not certain."""

_EACH: Final = 1000
"""Numbers for each second of the epoch: an outbox that is made anew begins behind the one before.

Otherwise what it has by the time it is read would seem to be told already.
"""

_TIDIED: Final = 10_000
"""Rows that come until it is tidied again."""

_TIDY: Final = """\
DELETE FROM told
WHERE id NOT IN (SELECT max(id) FROM told GROUP BY network)
OR until <= :forgotten OR (NOT banned AND at < :forgotten)
"""
"""What nobody needs any more: what a later row replaces, a ban that ended long ago, an old unban.

A ban that has ended may have taken the place of a longer one that others know.
"""

_ANEW: Final = "remove it: the next pass makes another one, and tells all again"
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_MOST: Final = 100_000
"""Rows that are read at once."""

_PATIENCE, _BRIEF = 5.0, 0.1
"""Seconds to wait for who reads or writes, and while a ban waits to be stored."""

_PAUSE: Final = 0.0005
"""Seconds between two tries of who reads: writing takes no longer."""


@frozen
class Told:
    """One network that is banned, until a time (epoch seconds; None: permanently), or is not."""

    network: Network
    banned: bool = True
    until: int | None = None
    reason: str = ""
    id: int = field(default=0, eq=False)


def of(database: Path, feed: str) -> Path:
    """Return the path of a feed's outbox, beside the main database."""
    return database.parent / OUTBOX / f"{feed}.db"


def is_there(path: Path) -> bool:
    """Return whether there is one, that this process may see."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def write(
    path: Path,
    rows: Iterable[Told],
    now: int,
    like: Path | None = None,
    *,
    ahead: bool = False,
) -> None:
    """Add rows, and remove those of long ago; a missing file or directory is made.

    What root makes is given to the owner of ``like``. What is written ``ahead`` is not certain
    until `settle`; it waits for nobody who reads, and is refused where not all was certain before.
    Raise `StoreError`.
    """
    with _writing(path, now, like, _BRIEF if ahead else _PATIENCE) as database:
        if not _is_certain(database):
            if ahead:
                raise StoreError(f"{path}: all of it is to be given anew")
            _begin_behind(database, now)
        before = _last(database)
        database.executemany(
            "INSERT INTO told VALUES (NULL, ?, ?, ?, ?, ?)",
            ((now, e.network.key, e.banned, e.until, harmless(e.reason, REASON)) for e in rows),
        )
        if before // _TIDIED < _last(database) // _TIDIED:
            database.execute(_TIDY, {"forgotten": now - _KEPT})
        _note(database, certain=not ahead)


def settle(path: Path, now: int) -> None:
    """Take notice that what was written ahead is stored. Raise `StoreError`."""
    with _writing(path, now) as database:
        _note(database, certain=True)


def make(path: Path, now: int, like: Path | None = None) -> None:
    """Make it, as `write` does; it is not certain that it has everything. Raise `StoreError`."""
    with _writing(path, now, like):
        pass


def is_certain(path: Path) -> bool:
    """Whether all that was given is there, and no more. Raise `StoreError`."""
    if not is_there(path):
        return False
    try:
        with closing(_connected(path, "rw")) as database:
            return _version(database) == _VERSION and _is_certain(database)
    except sqlite3.Error as error:
        if _remedy(error):
            return False
        raise StoreError(f"{path}: cannot read it: {error}") from None


def banned(path: Path, now: int) -> list[Network]:
    """Return the networks of which the last word is a ban that lasts.

    One that is damaged is removed. Raise `StoreError`.
    """
    query = (
        "SELECT network FROM told WHERE id IN (SELECT max(id) FROM told GROUP BY network)"
        " AND banned AND (until IS NULL OR until > ?) AND id > ?"
    )
    try:
        rows = _rows(path, query, 0, now)
    except FeedUnreadable as error:
        if not (error.hint == _ANEW and is_there(path)):
            raise StoreError(error.what, error.hint) from None
        for each in (path, path.with_name(f"{path.name}-journal")):
            each.unlink(missing_ok=True)
        return []
    return [Network.of_key(key) for (key,) in rows if Network.is_key(key)]


def read(path: Path, after: int) -> list[Told]:
    """Return the rows behind the one with the number ``after``, in order, not all of very many.

    Nothing where there is no file. If it was made anew since, all of it is behind. Raise
    `FeedUnreadable`.
    """
    query = "SELECT id, network, banned, until, reason FROM told WHERE id > ? ORDER BY id"
    return [
        Told(Network.of_key(key), bool(banned), until, reason, number)
        for number, key, banned, until, reason in _rows(path, f"{query} LIMIT {_MOST}", after)
        if Network.is_key(key)
    ]


def waiting(path: Path, after: int) -> tuple[int, int | None]:
    """Return how many rows are behind that one, and when the first was written (epoch seconds).

    None where there is none. Raise `FeedUnreadable`.
    """
    [*rows] = _rows(path, "SELECT count(*), min(at) FROM told WHERE id > ?", after)
    number, since = rows[0] if rows else (0, None)
    return int(number), since


def _rows(path: Path, query: str, after: int, *values: int) -> list[tuple[Any, ...]]:
    """Return what a query finds behind a row, if there is a file. Raise `FeedUnreadable`."""
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FeedUnreadable(f"{path}: cannot read it: {error.strerror}") from None
    if not is_file:
        raise FeedUnreadable(f"{path}: cannot read it: it is not a file", _ANEW)
    with _as_unreadable(path), closing(_connected(path, "ro", 0.0)) as database:
        _wait(database)
        if not _version(database):
            return []
        last = _last(database)
        return database.execute(query, (*values, after if after <= last else 0)).fetchall()


def _wait(database: sqlite3.Connection) -> None:
    """Begin to read once nobody writes: SQLite itself would look too seldom."""
    end = time.monotonic() + _PATIENCE
    database.execute("BEGIN")
    while True:
        try:
            _version(database)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
        else:
            return


@contextmanager
def _writing(
    path: Path, now: int, like: Path | None = None, patience: float = _PATIENCE
) -> Iterator[sqlite3.Connection]:
    """Write in one transaction to what is made if it is missing. Raise `StoreError`."""
    try:
        _make(path, like)
        with closing(_connected(path, "rw", patience)) as database:
            database.execute("PRAGMA journal_mode = TRUNCATE")  # its file stays, and wakes nobody
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN IMMEDIATE")
            if not _version(database):
                database.execute(_TOLD)
                database.execute("INSERT INTO sqlite_sequence VALUES ('told', 0)")
                _begin_behind(database, now)
            if _version(database) < _VERSION:
                database.execute(_CERTAIN)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            yield database
            database.execute("COMMIT")
    except OSError as error:
        hint = files.remedy(error, "let the user that runs treason own it")
        raise StoreError(f"{path}: cannot write it: {error.strerror}", hint) from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot write it: {error}", _remedy(error)) from None


def _begin_behind(database: sqlite3.Connection, now: int) -> None:
    """Let no row that comes have the number of one that was lost, and was told maybe."""
    database.execute("UPDATE sqlite_sequence SET seq = max(seq, ?)", (now * _EACH,))


def _is_certain(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT boot FROM certain").fetchall() == [(clock.look().boot,)]


def _note(database: sqlite3.Connection, *, certain: bool) -> None:
    database.execute("DELETE FROM certain")
    if certain:
        database.execute("INSERT INTO certain VALUES (?)", (clock.look().boot,))


def _version(database: sqlite3.Connection) -> int:
    [number] = database.execute("PRAGMA user_version").fetchone()
    return int(number)


def _last(database: sqlite3.Connection) -> int:
    """Return the number of the last row that there ever was."""
    [number] = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
    return int(number)


@contextmanager
def _as_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise FeedUnreadable(f"{path}: cannot read it: {error}", _remedy(error)) from None


def _remedy(error: sqlite3.Error) -> str:
    damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
    return _ANEW if damaged else ""


def _connected(path: Path, mode: str, patience: float = _PATIENCE) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None)


def _make(path: Path, like: Path | None) -> None:
    """Make what is missing, readable whatever the umask is."""
    made: list[Path] = []
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: cannot write it: it is not a file", _ANEW)
    if not path.parent.is_dir():
        path.parent.mkdir()
        path.parent.chmod(_DIRECTORY_MODE)
        made.append(path.parent)
    if not path.exists():
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, _FILE_MODE)
        try:
            os.fchmod(descriptor, _FILE_MODE)
        finally:
            os.close(descriptor)
        made.append(path)
    lock.give(made, like)
