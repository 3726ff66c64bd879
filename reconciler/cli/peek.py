"""A look into the database that nobody notices: no lock is taken, and no file is made.

What is read may be torn by a write, or too new: then SQLite refuses it, or nothing is read at all.
Whoever decides by what is stored opens the store instead.
"""

import fcntl
import os
import sqlite3
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import quote

from reconciler.store.schema import VERSION

_WRITING: Final = 0x40000000
"""The first byte of SQLite's locks, and how many they are (os.h: PENDING_BYTE, SHARED_SIZE)."""

_BYTES: Final = 512
_LOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of 64 bits (fcntl(2)): type, whence, start, length, process."""

_STEPS: Final = 1_000_000
"""Instructions of SQLite's machine after which a look ends: some hundredths of a second."""

_NETWORKS: Final = """SELECT network FROM bans
    WHERE network >= ? AND network < ? AND (until IS NULL OR until > ?)
    ORDER BY network LIMIT ?"""
_ORIGINS: Final = "SELECT DISTINCT origin FROM bans_counted WHERE number > 0 ORDER BY origin"


def networks(path: str, prefix: str, most: int) -> list[str]:
    """Return the active bans whose text begins so, by the index of it."""
    with _opened(path) as database:
        end = prefix + "\U0010ffff"
        rows = database.execute(_NETWORKS, (prefix, end, time.time(), most))
        return [network for (network,) in rows]


def origins(path: str) -> list[str]:
    """Return whose the bans are."""
    with _opened(path) as database:
        return [origin for (origin,) in database.execute(_ORIGINS)]


@contextmanager
def _opened(path: str) -> Iterator[sqlite3.Connection]:
    """Yield the database, if nobody is writing it. Raise `OSError` or `sqlite3.Error`."""
    _refuse_if_written(path)
    address = f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True, timeout=0)) as database:
        database.set_progress_handler(lambda: 1, _STEPS)
        if database.execute("PRAGMA user_version").fetchone()[0] > VERSION:
            raise sqlite3.NotSupportedError("a newer version wrote it")
        yield database


def _refuse_if_written(path: str) -> None:
    """Raise `OSError` if it is no file, is locked, or a write waits to be finished or undone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is a pipe, a device or a directory")
        asked = _LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _WRITING, _BYTES, 0)
        found = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    if found[0] != fcntl.F_UNLCK:
        raise BlockingIOError("somebody writes it")
    real = os.path.realpath(path)
    for ending in ("-journal", "-wal"):
        with_it = f"{real}{ending}"
        if os.path.exists(with_it) and os.stat(with_it).st_size:  # noqa: PTH110, PTH116 - quick
            raise BlockingIOError("a write is not finished")
