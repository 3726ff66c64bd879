"""The bytes of a log, plain or packed, and what was read of them last.

None is read without end: not a bomb, nor what is written faster than it is read.
"""

import io
import os
import stat
import zlib
from contextlib import suppress
from typing import Final

from sources.file.packing import Pieces, remedy, zstd

MARK: Final = 1024
"""Bytes that tell one content from another."""

_STEP: Final = 1 << 16
_BUFFER: Final = 1 << 18
_MOST: Final = 1 << 33
"""Bytes that are read of a packed log, or of a pipe: more is no log, but a bomb, or has no end."""

_GROWTH: Final = 1 << 28
"""Bytes that are read of a plain log beyond those that it had when it was opened."""


class Stream:
    """Reads a log forwards.

    ``at`` is the place, ``first`` what was seen at the log's beginning, and ``last`` what stands
    before the place, each at most `MARK`.
    ``packing`` is ``.gz`` or the like, or empty; raise ValueError if it is not known here.
    """

    def __init__(self, file: io.BufferedReader, packing: str = "") -> None:
        self._raw = self._file = file
        self.packed = bool(packing)
        self._packing = packing
        self._unpacked: _Unpacked | None = None
        self.at = 0
        self.first = self.last = b""
        status = self.status
        self._plain = stat.S_ISREG(status.st_mode)
        self._end = status.st_size + _GROWTH if self._plain else _MOST
        if self.packed:
            self._restart()

    @property
    def broken(self) -> str:
        """Return why a packed log ended too early; empty if it did not."""
        return self._unpacked.error if self._unpacked else ""

    @property
    def cut(self) -> str:
        """Return why no more is read of a log that goes on here; mostly it does not."""
        if self.packed or self.at < self._end or not self._file.peek(1):
            return ""
        if self._plain:
            return f"grew by more than {_GROWTH >> 20} MiB while it was read; the rest is for later"
        return f"holds more than {_MOST >> 30} GiB; what follows was not read"

    @property
    def status(self) -> os.stat_result:
        """Return what the system says of the file."""
        return os.fstat(self._raw.fileno())

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._raw.fileno()

    @property
    def left(self) -> int:
        """Return how many bytes follow now; of what has no size, as many as may be."""
        if self.packed or not self._plain:
            return _MOST
        return max(0, self.status.st_size - self.at)

    def read(self, size: int) -> bytes:
        """Read so many bytes; less only at the end."""
        return self._passed(self._file.read(self._allowed(size)))

    def readline(self, size: int) -> bytes:
        """Read to the end of the line, but so many bytes at most."""
        return self._passed(self._file.readline(self._allowed(size)))

    def go(self, place: int) -> bool:
        """Go to a place in the log; False if the log does not reach so far."""
        start = max(0, place - MARK)
        if not self.packed:
            self.at = self._file.seek(min(start, self.status.st_size))
        else:
            if start < self.at:
                self._restart()
            while self.at < start and (piece := self._file.read(min(_STEP, start - self.at))):
                self.at += len(piece)
        self.last = b""
        self.read(min(place - self.at, MARK))
        return self.at == place

    def ahead(self) -> bytes:
        """Return some of what stands behind the place; nothing only at the end."""
        return self._file.peek(1)[: self._allowed(_BUFFER)]

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _allowed(self, size: int) -> int:
        """Return how many of so many bytes may be read."""
        return size if self.packed else max(0, min(size, self._end - self.at))

    def _passed(self, piece: bytes) -> bytes:
        if not self.at and len(self.first) < MARK:
            self.first = piece[:MARK]
        self.at += len(piece)
        self.last = piece[-MARK:] if len(piece) >= MARK else (self.last + piece)[-MARK:]
        return piece

    def _restart(self) -> None:
        self._raw.seek(0)
        self.at, self.last = 0, b""
        self._unpacked = _unpacked(self._raw, self._packing)
        self._file = io.BufferedReader(self._unpacked, _BUFFER)


class _Unpacked(io.RawIOBase):
    """What a packed file holds. It ends where that is damaged, and ``error`` tells it."""

    def __init__(self, pieces: Pieces, failures: tuple[type[Exception], ...]) -> None:
        self._pieces = pieces
        self._failures = failures
        self._left = _MOST
        self.error = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # what BufferedReader gives
        if self.error:
            return 0
        try:
            piece = self._pieces.read1(min(len(buffer), self._left + 1))
        except self._failures as error:
            self.error = str(error)
            return 0
        if len(piece) > self._left:
            self.error = f"it holds more than {_MOST >> 30} GiB"
            return 0
        self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)


def _unpacked(file: io.BufferedReader, packing: str) -> _Unpacked:
    """Unpack; what few machines need is imported only there."""
    if packing in {".gz", ".gzip"}:
        import gzip  # noqa: PLC0415

        return _Unpacked(gzip.GzipFile(fileobj=file), (OSError, EOFError, zlib.error))
    if packing in {".bz2", ".bzip2"}:
        import bz2  # noqa: PLC0415

        return _Unpacked(bz2.BZ2File(file), (OSError, EOFError))
    if packing in {".xz", ".lzma"}:
        import lzma  # noqa: PLC0415

        return _Unpacked(lzma.LZMAFile(file), (lzma.LZMAError, EOFError))
    if packing in {".zst", ".zstd"}:
        with suppress(ImportError):
            return _Unpacked(*zstd(file))
    raise ValueError(remedy(str(file.name), packing))
