"""The database's bytes as they were committed last, read without SQLite and without writing.

It is for where SQLite refuses to read: an interrupted write that may not be rolled back here, a
lock that another program keeps, WAL mode without the files that it needs, a file that was cut off.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAGIC: Final = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
"""How a header of the rollback journal begins (SQLite's file format, §3)."""

_HEADER: Final = struct.Struct(">8sIIIII")
_SAMPLED: Final = 200
"""Every so many bytes of a page count for its checksum, from the end on."""

_SMALLEST: Final = 32
"""Bytes of the smallest sector; a page is never smaller either."""

_HEAD: Final = 100
"""Bytes of the header of the file."""

_LONGEST: Final = 1 << 32
"""Bytes from which on the length is not believed that the header tells."""

_TRIES: Final = 20


def committed(path: Path) -> bytes | None:
    """Read the file, and undo in memory what a write has begun and not committed.

    None if that cannot be told: the file is being written all the time, the write concerns other
    databases as well, or some of it lies in a write-ahead log. SQLite stores what a page held
    before it changes the page. So what the journal holds after the pages were read undoes all that
    they may show of a write, as long as none was committed in between.
    """
    journal = beside(path, "-journal")
    for _ in range(_TRIES):
        before = _state(path, journal)
        data = bytearray(path.read_bytes())
        undone = _content(journal)
        if _state(path, journal) == before:
            if undone.endswith(_MAGIC) or is_filled(beside(path, "-wal")):
                return None  # the former is the end of a super-journal's name
            _roll_back(data, undone)
            _extend(data)
            if data[18:20] == b"\x02\x02":
                data[18:20] = b"\x01\x01"  # there is no WAL mode in memory
            return bytes(data)
    return None


def beside(path: Path, ending: str) -> Path:
    """Return a file of SQLite's that lies beside the database, or beside what a link points to."""
    real = path.resolve()
    return real.with_name(real.name + ending)


def is_filled(path: Path) -> bool:
    """Whether there is such a file, and something in it."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _state(path: Path, journal: Path) -> tuple[object, ...]:
    """Return what is another after each commit: the file's counter, and which journal there is."""
    with path.open("rb") as file:
        counter = file.read(28)[24:]
    head = _content(journal, _HEADER.size)
    inode = journal.stat().st_ino if head else 0
    return counter, inode, head[:8], head[12:], is_filled(beside(path, "-wal"))


def _content(path: Path, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


def _roll_back(data: bytearray, journal: bytes) -> None:
    """Put back the pages as they were, and the length of the file."""
    if not journal.startswith(_MAGIC) or len(journal) < _HEADER.size:
        return  # it was not written to the disk as yet, and so neither was a page
    *_, pages, sector, size = _HEADER.unpack_from(journal)
    if min(sector, size) < _SMALLEST:
        return
    for number, page in _originals(journal, sector, size):
        start = (number - 1) * size
        data.extend(bytes(max(0, start - len(data))))
        data[start : start + size] = page
    del data[pages * size :]


def _extend(data: bytearray) -> None:
    """Let a file that was cut off be as long as its header says (SQLite's file format, §1.3).

    What is missing is damaged pages then, and all other pages can be read.
    """
    if len(data) >= _HEAD:
        size = int.from_bytes(data[16:18])
        length = int.from_bytes(data[28:32]) * (65536 if size == 1 else size)
        if length <= _LONGEST:
            data.extend(bytes(max(0, length - len(data))))


def _originals(journal: bytes, sector: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield each page that the journal holds for certain: its number and its bytes."""
    at = 0
    while journal.startswith(_MAGIC, at) and len(journal) >= at + _HEADER.size:
        _, count, nonce, *_ = _HEADER.unpack_from(journal, at)
        at += sector
        for _ in range(count):
            record = journal[at : at + size + 8]
            page = record[4:-4]
            if len(page) < size or int.from_bytes(record[-4:]) != _checksum(page, nonce):
                return
            yield int.from_bytes(record[:4]), page
            at += size + 8
        at = -(-at // sector) * sector


def _checksum(page: bytes, nonce: int) -> int:
    return (nonce + sum(page[len(page) - _SAMPLED : 0 : -_SAMPLED])) & 0xFFFFFFFF
