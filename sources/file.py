"""A log in a file, or on standard input: lines in every shape that `sources.shapes` knows."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

from attrs import frozen

from reconciler import Record, SourcePlugin, SourceUnreadable, hookimpl
from sources import shapes

_LONGEST: Final = 1 << 16
"""Bytes of a line; a longer one is no kernel message, and is skipped without being held."""


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
        self._start = 0

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the kernel's records that hold a needle."""
        sought = [needle.encode() for needle in needles]
        try:
            with self._open() as stream:
                for line in self._lines(stream, cursor):
                    record = self._record(line, sought)
                    if record:
                        yield record
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceUnreadable(
                f"cannot read {self._path!r}: {reason}", "name a readable log file"
            ) from None

    def cursor(self) -> str | None:
        """Give the file's identity and the position in it; None for a pipe."""
        return self._cursor

    def _record(self, line: bytes, sought: Sequence[bytes]) -> Record | None:
        """Read a line; one of ``dmesg --json`` is a part of a record."""
        if self._spread is not None:
            if line.startswith(b"   "):
                self._spread |= shapes.member(_text(line))
                record = shapes.dmesg(self._spread, trusted=self._trusted)
                self._spread = {} if record or b"{" in line else self._spread
                return record
            self._spread = None
        brace, self._brace = self._brace, None
        if line.rstrip() == b"{":
            self._brace = self._start
        elif brace is not None and line.strip() == b'"dmesg": [':
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

    def _lines(self, stream: BinaryIO, cursor: str | None) -> Iterator[bytes]:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            yield from (line for line, _ in _bounded(stream))
            return
        identity = f"{status.st_dev}:{status.st_ino}"
        offset, tail = _resume(cursor, identity, status.st_size)
        if offset + tail == status.st_size:
            self._cursor = f"{identity}:{offset}:{tail}"
            return
        stream.seek(offset)
        for line, length in _bounded(stream):
            self._start = offset
            if len(line.rstrip(b"\n")) != tail:
                yield line
            offset, tail = (offset + length, 0) if line.endswith(b"\n") else (offset, length)
        if self._document is not None:
            offset, tail = self._document, offset + tail - self._document
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


def _bounded(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield each line and its length in the file; of one that is too long only its end."""
    while line := stream.readline(_LONGEST):
        length = len(line)
        if length == _LONGEST and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(_LONGEST)
                length += len(line)
            line = line[-1:]
        yield line, length


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Give the source ``file``."""
    return [SourcePlugin("file", File, Settings, argument="path")]
