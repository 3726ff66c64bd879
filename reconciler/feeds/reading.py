"""The feed's own file, read as what a stranger wrote: in bounded time and memory, without trust.

SQLite gets the bytes in memory, never the file: it can neither be led elsewhere by a link that is
put in place meanwhile, nor create or change anything.
"""

import fcntl
import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeGuard

from attrs import evolve

from reconciler.feeding import FeedGroup
from reconciler.feeds.format import (
    APPLICATION_ID,
    CURSOR,
    EPOCH,
    GROUPS,
    LATEST,
    MEMBER,
    REASON,
    SCHEMA,
    VERSION,
    Contents,
    harmless,
)
from reconciler.feeds.limits import Limits
from reconciler.feeds.token import opened, refuse, system, token_of
from reconciler.networks import Networks

_LARGEST: Final = 1 << 30
_ENTRY, _REST = 256, 1 << 20
"""Bytes of the file at most: in all, for each network that it may hold, and besides those."""

_HEAD: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_ROLLBACK: Final = b"\1\1"
"""At byte 18: no write-ahead log (SQLite's file format, §1.3.3)."""

_PENDING: Final = 0x40000000
_SHARED, _SHARED_SIZE = _PENDING + 2, 510
"""The bytes that SQLite locks (its os_unix.c): who holds the shared ones keeps commits away."""

_WRITER: Final = 2.0
_SOON, _LATER = 0.001, 0.02
"""Seconds to wait for who is writing; and between two looks, twice as many each time."""

_STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the clock."""

_READ: Final = {"sqlite_master", *SCHEMA}
_SQL: Final = 10_000
"""Tables that are read, and characters of the SQL that the file may hold."""

_SAID: Final = 200
"""Characters that are told of what SQLite says, which has names from the file in it."""


def read(path: Path, limits: Limits, timeout: float = 5.0, largest: int = _LARGEST) -> Contents:
    """Return what the file holds, which may have ``largest`` bytes.

    Raise `FeedUnreadable` where there is none, where it is anything else than what the feed's
    process writes, or where that is not read within so many seconds.
    """
    end = time.monotonic() + timeout
    try:
        data, read_at = content(path, limits, min(_WRITER, timeout), largest)
    except FileNotFoundError:
        refuse(path, "there is no such file")
    return evolve(parsed(path, data, limits, end), token=read_at)


def published(path: Path, limits: Limits, timeout: float = 5.0) -> int:
    """Return the last row of the outbox that the feed has told others, and read no network.

    0 where there is no file. Raise `FeedUnreadable`.
    """
    end = time.monotonic() + timeout
    try:
        data, _ = content(path, limits, min(_WRITER, timeout))
    except FileNotFoundError:
        return 0
    with _database(path, data, limits, end) as connection:
        return _feed(path, connection)[2]


def content(
    path: Path, limits: Limits, patience: float = _WRITER, largest: int = _LARGEST
) -> tuple[bytes, str]:
    """Return the bytes that were committed last, with the token of these.

    Raise `FeedUnreadable`, or FileNotFoundError.
    """
    with opened(path) as descriptor:
        most = min(largest, _ENTRY * limits.max_entries + _REST)
        _wait(path, descriptor, patience)
        size = os.fstat(descriptor).st_size
        if size > most:
            refuse(path, f"it has {size:,} bytes, more than the {most:,} that max_entries allows")
        if not size:
            refuse(path, "nothing has been written to it yet")
        with system(path):
            return _bytes(descriptor, size), token_of(descriptor)


def parsed(path: Path, data: bytes, limits: Limits, end: float) -> Contents:
    """Return what these bytes hold; ``path`` is for errors, ``end`` is of time.monotonic()."""
    with _database(path, data, limits, end) as connection:
        return _contents(path, connection, limits, end)


@contextmanager
def _database(path: Path, data: bytes, limits: Limits, end: float) -> Iterator[sqlite3.Connection]:
    """Let SQLite read these bytes, if they may be a feed's file. Raise `FeedUnreadable`."""
    if len(data) < _HEAD or not data.startswith(_MAGIC):
        refuse(path, "it is not an SQLite database")
    if data[18:20] != _ROLLBACK:
        refuse(path, "it is in WAL mode, which a feed's file never is")
    known = int.from_bytes(data[68:72]), int.from_bytes(data[60:64])
    if known != (APPLICATION_ID, VERSION):
        refuse(path, "it has another schema: it is not the file of a feed, or of another version")
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(data)
            _restrict(connection, limits, end)
            yield connection
    except (sqlite3.Error, UnicodeError) as error:  # names in SQLite's texts may be of any bytes
        over = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT
        said = "it was not read in time" if over else f"it is damaged: {error}"
        refuse(path, harmless(said, _SAID))
    except MemoryError:
        refuse(path, "there is not enough memory to read it")


def _wait(path: Path, descriptor: int, patience: float) -> None:
    """Lock as a reader of SQLite's, once nobody writes; closing the descriptor unlocks."""
    end, pause = time.monotonic() + patience, _SOON
    while True:
        with system(path):
            if _locked(descriptor) and not _is_filled(path.with_name(f"{path.name}-journal")):
                return
            _lock(descriptor, fcntl.F_UNLCK, 0, 0)
        if time.monotonic() > end:
            refuse(path, "it is being written, or its writer died while it wrote")
        time.sleep(pause)
        pause = min(2 * pause, _LATER)


def _locked(descriptor: int) -> bool:
    try:
        _lock(descriptor, fcntl.F_RDLCK, _PENDING, 1)
        _lock(descriptor, fcntl.F_RDLCK, _SHARED, _SHARED_SIZE)
        _lock(descriptor, fcntl.F_UNLCK, _PENDING, 1)
    except (BlockingIOError, PermissionError):  # either may be said of it (fcntl(2))
        return False
    return True


def _lock(descriptor: int, kind: int, start: int, length: int) -> None:
    """Lock some bytes for the open file, not for the process (fcntl(2), F_OFD_SETLK)."""
    wanted = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)


def _is_filled(journal: Path) -> bool:
    try:
        return journal.lstat().st_size > 0
    except FileNotFoundError:
        return False


def _bytes(descriptor: int, size: int) -> bytes:
    """Read so many bytes, or fewer where there are fewer by now: what comes behind is not read."""
    data = bytearray()
    while piece := os.pread(descriptor, size - len(data), len(data)):
        data += piece
    return bytes(data)


def _restrict(connection: sqlite3.Connection, limits: Limits, end: float) -> None:
    """Let nothing but a few reads be done, with what the file brings along as code left alone."""
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
        connection.execute(f"PRAGMA {pragma}")
    longest = 17 * limits.max_entries + _REST
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(longest, _LARGEST))
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _SQL)
    for limit in (sqlite3.SQLITE_LIMIT_ATTACHED, sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH):
        connection.setlimit(limit, 0)
    connection.text_factory = lambda text: text.decode(errors="replace")
    connection.set_authorizer(_authorize)


def _authorize(
    action: int, table: str | None, _column: str | None, _database: str | None, inner: str | None
) -> int:
    """Allow reads of the tables themselves, not by way of a view or a trigger (``inner``)."""
    reads = action == sqlite3.SQLITE_READ and table in _READ and inner is None
    return sqlite3.SQLITE_OK if reads or action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY


def _feed(path: Path, connection: sqlite3.Connection) -> tuple[str, str | None, int]:
    """Return its epoch, its cursor, and the last row that it has published."""
    schema = connection.execute("SELECT type, name, sql FROM sqlite_master LIMIT 3").fetchall()
    if len(schema) > len(SCHEMA) or {*schema} != {("table", *each) for each in SCHEMA.items()}:
        refuse(path, "its tables are not those of a feed's file")
    rows = connection.execute("SELECT epoch, cursor, published FROM feed LIMIT 2").fetchall()
    if len(rows) != 1:
        refuse(path, "its table feed has not one row")
    epoch, cursor, number = rows[0]
    if not (_is_text(epoch, EPOCH) and (cursor is None or _is_text(cursor, CURSOR))):
        refuse(path, "its epoch or its cursor is not a short text")
    if not (isinstance(number, int) and number >= 0):
        refuse(path, "its table feed holds no number of what it published")
    return harmless(epoch, EPOCH), cursor, number


def _contents(path: Path, connection: sqlite3.Connection, limits: Limits, end: float) -> Contents:
    epoch, cursor, told = _feed(path, connection)
    groups: dict[object, dict[object, FeedGroup]] = {0: {}, 1: {}}
    held = {0: 0, 1: 0}
    query = "SELECT member, reason, until, removed, four, six FROM bans"
    for number, (*row, removed, four, six) in enumerate(connection.execute(query)):
        if removed not in groups or number == GROUPS:
            refuse(path, f"it has more than {GROUPS:,} rows, or one that is neither ban nor end")
        group = _group(path, row, four, six)
        key = group.member, group.reason, group.until
        if groups[removed].setdefault(key, group) is not group:
            refuse(path, "two rows in it have the same member, reason and end")
        held[removed] += len(group.networks)
        if max(held.values()) > limits.max_entries:
            refuse(path, f"it has more than {limits.max_entries:,} networks (max_entries)")
        if time.monotonic() > end:
            refuse(path, "it was not read in time")
    bans, lifts = ((*rows.values(),) for rows in groups.values())
    return Contents(epoch, bans, lifts, cursor, told)


def _group(path: Path, row: list[object], four: object, six: object) -> FeedGroup:
    member, reason, until = row
    if not (_is_text(member, MEMBER) and _is_text(reason, REASON)):
        refuse(path, "a member's name or a reason in it is not a short text")
    if not (until is None or (isinstance(until, int) and 0 <= until <= LATEST)):
        refuse(path, f"a ban in it ends at {harmless(repr(until), 40)}, which is not a time")
    if not (isinstance(four, bytes) and isinstance(six, bytes)):
        refuse(path, "it holds something else than networks")
    networks = Networks(four, six)
    if not networks.is_canonical:
        refuse(path, "networks in it are out of order, or are not networks")
    return FeedGroup(networks, harmless(member, MEMBER), harmless(reason, REASON), until)


def _is_text(value: object, longest: int) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= longest
