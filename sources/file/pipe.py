"""A pipe, or whatever else has no end, read as it comes."""

import io
import os
import select
from collections.abc import Iterator, Sequence
from typing import Final

from reconciler import Record
from sources.file.lines import LONGEST
from sources.file.reading import Reading
from sources.file.stream import Stream

_MOST: Final = 1 << 24
"""Bytes that are taken at once; what is left wakes again."""

_PIECE: Final = 1 << 16

_HELD: Final = 1 << 20
"""Bytes of a record over many lines that are held until it is whole."""


class Pipe:
    """Reads the records whose lines have come whole; what follows them is held until it has.

    ``ended`` says that nobody holds the other end any more, and that all was read.
    """

    def __init__(self, path: str) -> None:
        """Open it; ``-`` is standard input. Nobody is waited for."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        self._descriptor = os.dup(0) if path == "-" else os.open(path, flags)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._held = b""
        self._last: Reading | None = None
        self.ended = False

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._descriptor

    def records(self, needles: Sequence[str], *, trusted: bool) -> Iterator[Record]:
        """Yield those that came and hold a needle, without waiting for more."""
        came = self._came()
        data = self._held + came
        whole = len(data) if self.ended else data.rfind(b"\n") + 1
        with os.fdopen(os.memfd_create("pipe"), "w+b") as file:
            file.write(data[:whole])
            file.seek(0)
            stream = Stream(io.BufferedReader(io.FileIO(file.fileno(), closefd=False)))
            self._last = Reading(needles, trusted=trusted, older=self._last)
            yield from self._last.records(stream, None)
        self._held = _held(data, self._last.offset)

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def _came(self) -> bytes:
        """Take what there is; standard input may be another's as well, so it stays blocking."""
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < _MOST and self._poll.poll(0):
            piece = os.read(self._descriptor, _PIECE)
            if not piece:
                self.ended = not pieces
                break
            pieces.append(piece)
        return b"".join(pieces)


def _held(data: bytes, offset: int) -> bytes:
    """Return what is not whole yet; of what is too long for a record, the beginning of its line."""
    if len(data) - offset <= _HELD:
        return data[offset:]
    return data[data.rfind(b"\n") + 1 :][:LONGEST]
