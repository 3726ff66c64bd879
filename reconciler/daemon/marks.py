"""Whether files have changed, told without opening a database or reading a text."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from reconciler.store.adoption import APPLICATION_ID

_HEAD = 72
"""Bytes of the header of a database up to ``application_id`` (SQLite's file format, §1.3)."""


_MAGIC = b"SQLite format 3\0"
"""How it begins; what does not is damaged, and of no version."""

State = tuple[int, int, int] | None
"""The time of a file's last change in nanoseconds, its size and its inode."""


class Mark(NamedTuple):
    """Which file a database is, how often it was written, and the version of its schema.

    The change counter grows with every transaction that writes, as there is no WAL mode here.
    """

    device: int
    inode: int
    counter: int
    schema: int


class Marks:
    """Reads marks beside a thread that has the database open, and keeps the file open for that.

    Whoever closes any descriptor of a file takes from the whole process the locks on it (fcntl(2)),
    also those of a transaction in another thread. So of a file that was replaced ``close`` is given
    the descriptor, to be closed where no transaction is under way.
    """

    def __init__(self, close: Callable[[int], object]) -> None:
        self._close = close
        self._descriptor = -1

    def look(self, database: Path) -> Mark | None:
        """Return the mark of a database; None where there is none to be read."""
        try:
            status = database.stat()
            if self._descriptor < 0 or not os.path.samestat(status, os.fstat(self._descriptor)):
                self._open(database)
            return _read(self._descriptor)
        except OSError:
            return None

    def _open(self, database: Path) -> None:
        old, self._descriptor = self._descriptor, _opened(database)
        if old >= 0:
            self._close(old)


def mark(database: Path) -> Mark | None:
    """Return the mark of a database; None where there is none to be read.

    Only for the thread that has it open, outside of its transactions; see `Marks`.
    """
    try:
        descriptor = _opened(database)
    except OSError:
        return None
    try:
        return _read(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def is_being_written(database: Path) -> bool:
    """Whether there is a rollback journal: a transaction is under way, or was interrupted."""
    try:
        return database.with_name(f"{database.name}-journal").stat().st_size > 0
    except OSError:
        return False


def _opened(database: Path) -> int:
    return os.open(database, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _read(descriptor: int) -> Mark:
    status = os.fstat(descriptor)
    head = os.pread(descriptor, _HEAD, 0)
    if not head.startswith(_MAGIC):
        return Mark(status.st_dev, status.st_ino, -1, 0)
    counter, schema, owner = (int.from_bytes(head[at : at + 4]) for at in (24, 60, 68))
    ours = owner == APPLICATION_ID  # a script's database may use the version for anything
    return Mark(status.st_dev, status.st_ino, counter, schema if ours else 0)


def states(paths: Iterable[Path]) -> tuple[State, ...]:
    """Return what changes with every change of these files; None of one that is missing."""
    return tuple(map(_state, paths))


def _state(path: Path) -> State:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
