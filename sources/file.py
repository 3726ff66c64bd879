"""A log in a file, or on standard input: lines in every shape that `sources.shapes` knows."""

import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache
from typing import Any, BinaryIO, Final

from attrs import frozen

from reconciler import Record, SourcePlugin, SourceUnreadable, hookimpl
from sources import shapes

_CHUNK: Final = 1 << 18
"""Bytes that are read and searched at once."""

_LONGEST: Final = 1 << 16
"""Bytes of a line; one of as many is no kernel message, and is skipped without being held."""

_NEWLINE: Final = ord("\n")
_OPENING: Final = b'"dmesg": ['
"""The second line of what ``dmesg --json`` prints; the first is a brace."""


@frozen
class Settings:
    """``[source.file]``: the log's path (``-``: standard input), and whether bare lines count."""

    path: str
    trusted: bool = False


class File:
    """Reads the lines behind the cursor, which is ``DEVICE:INODE:OFFSET:TAIL``.

    TAIL is the length of a last line without its newline: it was read already, but stands behind
    OFFSET, because a writer may be about to complete it; or of a whole document of ``dmesg
    --json``, which is read again when it has changed. Another file under the name, or one that
    has become shorter, is read from its beginning. Pipes have no cursor.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.path
        self._trusted = settings.trusted
        self._cursor: str | None = None
        self._spread: dict[str, Any] | None = None
        self._brace: int | None = None
        self._document: int | None = None

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the kernel's records that hold a needle."""
        sought = [] if "" in needles else [needle.encode() for needle in needles]
        try:
            with self._open() as stream:
                for offset, chunk, end in self._chunks(stream, cursor):
                    yield from self._records(offset, chunk, end, sought)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceUnreadable(
                f"cannot read {self._path!r}: {reason}", "name a readable log file"
            ) from None

    def cursor(self) -> str | None:
        """Give the file's identity and the position in it; None for a pipe."""
        return self._cursor

    def _records(
        self, offset: int, chunk: bytes, end: int, sought: Sequence[bytes]
    ) -> Iterator[Record]:
        """Read the lines before ``end``; the chunk stands at ``offset`` in the file.

        Only those that hold a needle are looked at, unless ``dmesg --json`` wrote them.
        """
        if not sought or self._spreads(chunk, end):
            for start, line in _lines(chunk, end):
                if record := self._record(offset + start, line, sought):
                    yield record
        else:
            for line in _holding(chunk, end, sought):
                if record := shapes.parse(_text(line), trusted=self._trusted):
                    yield record

    def _spreads(self, chunk: bytes, end: int) -> bool:
        """Whether records may be spread over lines here, or from the end of the chunk on."""
        if self._spread is not None or self._brace is not None:
            return True
        return b"{" in chunk and (_OPENING in chunk or chunk[:end].rstrip().endswith(b"{"))

    def _record(self, start: int, line: bytes, sought: Sequence[bytes]) -> Record | None:
        """Read a line, which stands at ``start``; one of ``dmesg --json`` is a part of a record."""
        if self._spread is not None:
            if line.startswith(b"   "):
                self._spread |= shapes.member(_text(line))
                record = shapes.dmesg(self._spread, trusted=self._trusted)
                self._spread = {} if record or b"{" in line else self._spread
                return record
            self._spread = None
        brace, self._brace = self._brace, None
        if line.rstrip() == b"{":
            self._brace = start
        elif brace is not None and line.strip() == _OPENING:
            self._spread = {}
            self._document = brace if self._document is None else self._document
        elif not sought or any(needle in line for needle in sought):
            return shapes.parse(_text(line), trusted=self._trusted)
        return None

    def _open(self) -> BinaryIO:
        if self._path == "-":
            if sys.stdin is None:
                raise SourceUnreadable("standard input is closed", "pipe a log into it")
            return os.fdopen(os.dup(0), "rb")
        stream = open(self._path, "rb")  # noqa: PTH123, SIM115 - a path like /dev/fd/63; the caller closes
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_ISREG(mode) or stat.S_ISFIFO(mode):
            return stream
        stream.close()
        raise SourceUnreadable(f"{self._path!r} is not a file", "name a log file, or - for a pipe")

    def _chunks(self, stream: BinaryIO, cursor: str | None) -> Iterator[tuple[int, bytes, int]]:
        """Yield what stands behind the cursor: see `_whole`; then set the new cursor."""
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            yield from _whole(stream, 0)
            return
        identity = f"{status.st_dev}:{status.st_ino}"
        offset, tail = _resume(cursor, identity, status.st_size)
        if offset + tail < status.st_size:
            stream.seek(offset)
            first = stream.readline(_LONGEST) if tail else b""
            if first.endswith(b"\n") and len(first) == tail + 1:
                offset += len(first)  # it was read before its newline came
            stream.seek(offset)
            offset = yield from _whole(stream, offset)
            if self._document is not None:
                offset = self._document
            tail = stream.tell() - offset
        self._cursor = f"{identity}:{offset}:{tail}"


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode(errors="replace")


def _resume(cursor: str | None, identity: str, size: int) -> tuple[int, int]:
    """Give offset and tail to go on from: those of the cursor, if it is of this very file."""
    known, _, position = (cursor or "").rpartition(":")
    known, _, start = known.rpartition(":")
    if known != identity or not (start.isdecimal() and position.isdecimal()):
        return 0, 0
    offset, tail = int(start), int(position)
    return (offset, tail) if offset + tail <= size else (0, 0)


def _whole(stream: BinaryIO, offset: int) -> Generator[tuple[int, bytes, int], None, int]:
    """Yield chunks, each with its place in the file and the end of its last whole line.

    The line that a chunk cuts follows by itself, and so does a last one without its newline; of
    one that is too long only its beginning. Return where the last whole line ends.
    """
    while chunk := stream.read(_CHUNK):
        end = chunk.rfind(b"\n") + 1
        yield offset, chunk, end
        offset += end
        line = chunk[end:] + stream.readline(_LONGEST)
        length = len(line)
        yield offset, line, length
        while length >= _LONGEST and line and not line.endswith(b"\n"):
            line = stream.readline(_LONGEST)
            length += len(line)
        offset += length if line.endswith(b"\n") else 0
    return offset


def _lines(chunk: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are neither empty nor too long, and where they stand in the chunk."""
    start = 0
    while start < end:
        stop = chunk.find(b"\n", start, end) + 1 or end
        if stop - start < _LONGEST and chunk[start] != _NEWLINE:
            yield start, chunk[start:stop]
        start = stop


def _holding(chunk: bytes, end: int, needles: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the lines that hold a needle, in order."""
    found: dict[int, int] = {}
    memmem = _memmem()
    for needle in needles:
        if not memmem(chunk, end, needle, len(needle)):
            continue
        at = chunk.find(needle, 0, end)
        while at >= 0:
            stop = chunk.find(b"\n", at, end) + 1 or end
            found[chunk.rfind(b"\n", 0, at) + 1] = stop
            at = chunk.find(needle, stop, end)
    for start, stop in sorted(found.items()):
        if stop - start < _LONGEST:
            yield chunk[start:stop]


@cache
def _memmem() -> Callable[[bytes, int, bytes, int], int | None]:
    """Give memmem(3), which passes over what is absent faster than `bytes.find` does."""
    import ctypes  # noqa: PLC0415 - every command imports this module, few read a log

    function = ctypes.CDLL(None).memmem
    function.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    function.restype = ctypes.c_void_p
    return function


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Give the source ``file``."""
    return [SourcePlugin("file", File, Settings, argument="path", groups=("adm",))]
