"""The feed's own file, as the feed's process keeps it: one writer, one transaction a refresh."""

import fcntl
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from reconciler import files
from reconciler.errors import FeedUnreadable
from reconciler.feeding import FeedGroup
from reconciler.feeds.format import (
    APPLICATION_ID,
    DIRECTORY_MODE,
    FILE_MODE,
    SCHEMA,
    VERSION,
    Contents,
)
from reconciler.feeds.limits import Limits
from reconciler.feeds.reading import content, parsed
from reconciler.feeds.token import opened

_PATIENCE: Final = 5.0
"""Seconds to wait for who reads it, or looks into it."""

_LOAD: Final = 60.0
"""Seconds to read what was written before: nobody waits for that."""

DAMAGED: Final = ".damaged"
"""What is appended to the name of a file that is put aside."""

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)

_NUMBERED: Final = "SELECT rowid, member, reason, until, removed FROM bans"


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let signals that end the process wait until the end of the block.

    A mask would not do: whichever thread gets a signal, Python handles it in the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in _STOPS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in dict.fromkeys(came):  # as pending ones are, each once
            signal.raise_signal(number)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one who writes the file; a missing directory is made. Raise `FeedUnreadable`.

    What no feed ever wrote is refused: it would be put aside as damaged.
    """
    guard = path.with_name(f"{path.name}.lock")
    with _as_unreadable(path):
        _make_directory(path.parent)
        if not guard.exists() and _is_of_others(path):
            raise FeedUnreadable(
                f"{path}: this file is not a feed's, and is left as it is",
                "name another one as store in the feed's table",
            )
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(guard, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FeedUnreadable(
                f"{path}: another `treason feed run` writes it already",
                "passes take what that brings; to run it by hand, stop that one first"
                " (systemctl stop treason-feed@NAME)",
            ) from None
        yield
    finally:
        os.close(descriptor)


class FeedFile:
    """The file at a path, whose only writer this is; ``contents`` is what it holds.

    It is a cache of what the feed says: what cannot be read of it is put aside by the next write,
    and ``damage`` tells why. All must be brought anew then: ``contents`` has no cursor.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        """Read it; nothing is made. Raise `FeedUnreadable` where it is no file, or locked."""
        self.path = path
        self.contents, self.damage = Contents(), ""
        self.is_there = _is_filled(path)
        if self.is_there and not (damage := _recovered(path)):
            try:
                data, _ = content(path, limits)
                self.contents = parsed(path, data, limits, time.monotonic() + _LOAD)
            except FeedUnreadable as error:
                damage = error.what
        if self.is_there:
            self.damage = damage

    def write(self, contents: Contents) -> None:
        """Let it hold this, in one transaction; what it holds already is not written again.

        Raise `FeedUnreadable`.
        """
        if contents == self.contents and self.is_there and not self.damage:
            return
        with undisturbed(), _as_unreadable(self.path):
            self._write(contents)
        self.contents, self.damage, self.is_there = contents, "", True

    def _write(self, contents: Contents) -> None:
        if self.damage:
            _put_aside(self.path)
        if self.damage or not self.is_there:
            _make(self.path)
        with closing(_connected(self.path)) as database:
            _hasten(database)
            database.execute("BEGIN IMMEDIATE")
            if self.damage or not self.is_there:
                _found(database)
            database.execute(
                "UPDATE feed SET epoch = ?, cursor = ?, published = ?",
                (contents.epoch, contents.cursor, contents.published),
            )
            old, new = rows_of(self.contents), rows_of(contents)
            stored = {(*key,): number for number, *key in database.execute(_NUMBERED)}
            gone = [(stored[key],) for key, group in old.items() if new.get(key) != group]
            database.executemany("DELETE FROM bans WHERE rowid = ?", gone)
            database.executemany(
                "INSERT INTO bans VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (*key, group.networks.packed(4), group.networks.packed(6))
                    for key, group in new.items()
                    if old.get(key) != group
                ),
            )
            database.execute("COMMIT")


_Key = tuple[str, str, int | None, int]


def rows_of(contents: Contents) -> dict[_Key, FeedGroup]:
    """Return the groups by what tells their rows from others."""
    return {
        (group.member, group.reason, group.until, removed): group
        for removed, groups in enumerate((contents.groups, contents.lifted))
        for group in groups
    }


def _is_filled(path: Path) -> bool:
    """Whether anything was written to it. Raise `FeedUnreadable` where it is no file."""
    try:
        with opened(path) as descriptor:
            return os.fstat(descriptor).st_size > 0
    except FileNotFoundError:
        return False


def _is_of_others(path: Path) -> bool:
    """Whether there is something that does not look like a feed's file."""
    with suppress(FileNotFoundError), opened(path) as descriptor:
        head = os.pread(descriptor, 100, 0)  # SQLite's file format, §1.3
        return bool(head) and head[68:72] != APPLICATION_ID.to_bytes(4)
    return False


def _recovered(path: Path) -> str:
    """Let SQLite undo what a writer began that died; return what is damaged, if anything is."""
    with _as_unreadable(path), closing(_connected(path)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                raise
            return f"{path}: cannot read what the feed has written: {error}"
    return ""


def _connected(path: Path) -> sqlite3.Connection:
    """Open what is there."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None
    )


def _hasten(database: sqlite3.Connection) -> None:
    """Let a commit wait for the disk twice, not four times.

    The journal is on the disk before the file is changed: so half of what was written is never
    there. A power cut may undo what was committed last, cursor and all: it can be had again.
    """
    database.execute("PRAGMA journal_mode = TRUNCATE")
    database.execute("PRAGMA synchronous = NORMAL")


def _found(database: sqlite3.Connection) -> None:
    """Make the tables, in the transaction that fills them."""
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {VERSION}")
    for table in SCHEMA.values():
        database.execute(table)
    database.execute("INSERT INTO feed VALUES ('', NULL, 0)")


def _make_directory(path: Path) -> None:
    """Make it, and those above it, with the mode that it must have whatever the umask is."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(DIRECTORY_MODE)


def _make(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)  # which the journal gets as well
    finally:
        os.close(descriptor)


def _put_aside(path: Path) -> None:
    """Rename the file, and the journal that belongs to it."""
    aside = path.with_name(f"{path.name}{DAMAGED}")
    for ending in ("-journal", ""):
        aside.with_name(aside.name + ending).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))


@contextmanager
def _as_unreadable(path: Path) -> Iterator[None]:
    """Turn what the system and SQLite say of writing into a `FeedUnreadable`."""
    try:
        yield
    except OSError as error:
        raise FeedUnreadable(
            f"{path}: cannot write what the feed says: {error.strerror}",
            files.remedy(error, "let the feed's user own this file and its directory"),
        ) from error
    except sqlite3.Error as error:
        raise FeedUnreadable(f"{path}: cannot write what the feed says: {error}") from error
