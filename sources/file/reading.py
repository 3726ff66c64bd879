"""The records in the lines of one log."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from reconciler import Record
from sources import shapes
from sources.file.lines import chunks, goes_on, holding, lines, resume
from sources.file.position import Position
from sources.file.stream import Stream

_OPENING: Final = b'"dmesg": ['
"""The second line of what ``dmesg --json`` prints; the first is a brace."""

_NUMBERS: Final = (b'"MESSAGE":[', b'"MESSAGE" : [')
"""So begins a message that ``journalctl -o json`` gives as a list of its bytes: it is no UTF-8."""


class Reading:
    """Reads one log. Behind it, ``offset`` is that of `Position`."""

    def __init__(self, sought: Sequence[bytes], *, trusted: bool) -> None:
        self._sought = sought
        self._trusted = trusted
        self._spread: dict[str, Any] | None = None
        self._brace: int | None = None
        self._document: int | None = None
        self.offset = 0

    def records(
        self, stream: Stream, position: Position | None, *, growing: bool = False
    ) -> Iterator[Record]:
        """Yield the records behind a position that hold one of the needles, if there are any.

        Where the log is ``growing``, a last line that may end inside an address is left for later.
        """
        if position is None:
            if stream.at:
                stream.go(0)
        else:
            self.offset = position.offset
            if not stream.go(position.offset + position.tail):
                raise OSError("it was truncated just now, try again")
            if not stream.ahead():
                return
            self.offset = resume(stream, position.offset, position.tail)
        for place, chunk, end in chunks(stream):
            if growing and end == len(chunk) and goes_on(chunk) and not stream.ahead():
                stream.go(place)
                self.offset = place
                break
            yield from self._records(place, chunk, end)
            self.offset = place
        if stream.last.endswith(b"\n"):
            self.offset = stream.at
        if self._document is not None:
            self.offset = self._document

    def _records(self, offset: int, chunk: bytes, end: int) -> Iterator[Record]:
        """Read the lines before ``end``; the chunk stands at ``offset`` in the log.

        Only those that hold a needle are looked at, unless ``dmesg --json`` wrote them.
        """
        braced = b"{" in chunk
        if not self._sought or (braced and self._opens(chunk, end)) or self._is_spread:
            for start, line in lines(chunk, end):
                if record := self._record(offset + start, line):
                    yield record
        else:
            sought = [*self._sought, *_NUMBERS] if braced else self._sought
            for line in holding(chunk, end, sought):
                if record := shapes.parse(text(line), trusted=self._trusted):
                    yield record

    @property
    def _is_spread(self) -> bool:
        """Whether records are spread over lines here."""
        return self._spread is not None or self._brace is not None

    @staticmethod
    def _opens(chunk: bytes, end: int) -> bool:
        """Whether records are spread over lines from somewhere in the chunk on, or behind it."""
        return _OPENING in chunk or chunk[:end].rstrip().endswith(b"{")

    def _record(self, start: int, line: bytes) -> Record | None:
        """Read a line, which stands at ``start``; one of ``dmesg --json`` is a part of a record."""
        if self._spread is not None:
            if line.startswith(b"   "):
                self._spread |= shapes.member(text(line))
                record = shapes.dmesg(self._spread, trusted=self._trusted)
                self._spread = {} if record or line.rstrip().endswith(b"{") else self._spread
                return record
            self._spread = None
        brace, self._brace = self._brace, None
        if line.rstrip() == b"{":
            self._brace = start
        elif brace is not None and line.strip() == _OPENING:
            self._spread = {}
            self._document = brace if self._document is None else self._document
        elif not self._sought or any(needle in line for needle in (*self._sought, *_NUMBERS)):
            return shapes.parse(text(line), trusted=self._trusted)
        return None


def text(line: bytes) -> str:
    """Return a line as text; NUL bytes stand before it where a machine died while writing."""
    return line.rstrip(b"\r\n").lstrip(b"\0").decode(errors="replace")
