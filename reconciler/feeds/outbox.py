"""What treason tells by a feed: a pass writes it to a file, which the feed's process reads.

The feed never sees the main database, and cannot write here. A pass does not know what was told
already, nor whether others have lost it again: so a ban is kept for as long as it lasts, and that
it was removed before its time for 30 days.
"""

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from reconciler import files
from reconciler.errors import FeedUnreadable, StoreError
from reconciler.feeds.format import REASON, harmless
from reconciler.host import lock
from reconciler.network import Network

OUTBOX: Final = "outbox"
"""The directory, beside the main database."""

_KEPT: Final = 30 * 86_400
_DIRECTORY_MODE, _FILE_MODE = 0o755, 0o644
"""The directory above is closed, and this one alone is let into the feed's service, read-only."""

_VERSION: Final = 1
_TABLE: Final = (
    "CREATE TABLE told (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,"
    " network BLOB NOT NULL, banned INTEGER NOT NULL, until INTEGER, reason TEXT NOT NULL) STRICT"
)
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


def write(path: Path, rows: Iterable[Told], now: int, like: Path | None = None) -> None:
    """Add rows, and remove those of long ago; a missing file or directory is made.

    What root makes is given to the owner of ``like``. Raise `StoreError`.
    """
    try:
        _make(path, like)
        with closing(_connected(path, "rw")) as database:
            database.execute("PRAGMA journal_mode = TRUNCATE")  # with fewer waits for the disk
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("BEGIN IMMEDIATE")
            if not database.execute("PRAGMA user_version").fetchone()[0]:
                database.execute(_TABLE)
                database.execute("INSERT INTO sqlite_sequence VALUES ('told', ?)", (now * _EACH,))
                database.execute(f"PRAGMA user_version = {_VERSION}")
            before = _last(database)
            database.executemany(
                "INSERT INTO told VALUES (NULL, ?, ?, ?, ?, ?)",
                ((now, e.network.key, e.banned, e.until, harmless(e.reason, REASON)) for e in rows),
            )
            if before // _TIDIED < _last(database) // _TIDIED:
                database.execute(_TIDY, {"forgotten": now - _KEPT})
            database.execute("COMMIT")
    except OSError as error:
        hint = files.remedy(error, "let the user that runs treason own it")
        raise StoreError(f"{path}: cannot write it: {error.strerror}", hint) from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot write it: {error}", _remedy(error)) from None


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


def _rows(path: Path, query: str, after: int) -> list[tuple[Any, ...]]:
    """Return what a query finds behind a row, if there is a file. Raise `FeedUnreadable`."""
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FeedUnreadable(f"{path}: cannot read it: {error.strerror}") from None
    if not is_file:
        raise FeedUnreadable(f"{path}: cannot read it: it is not a file", _ANEW)
    with _as_unreadable(path), closing(_connected(path, "ro")) as database:
        if not database.execute("PRAGMA user_version").fetchone()[0]:
            return []
        last = _last(database)
        return database.execute(query, (after if after <= last else 0,)).fetchall()


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
    damaged = getattr(error, "sqlite_errorcode", None) in _DAMAGED
    return _ANEW if damaged else ""


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5, isolation_level=None
    )


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
