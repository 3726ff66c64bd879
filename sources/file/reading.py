"""The records in the lines of one log."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from reconciler import Record
from sources import shapes
from sources.file.lines import before, chunks, goes_on, holding, lines, resume
from sources.file.position import Position
from sources.file.stream import Stream

_OPENING: Final = b'"dmesg": ['
"""The second line of what ``dmesg --json`` prints; the first is a brace."""

_NUMBERS: Final = (b'"MESSAGE":[', b'"MESSAGE" : [')
"""So begins a message that ``journalctl -o json`` gives as a list of its bytes: it is no UTF-8."""


_LINEWISE: Final = {"dmesg", "syslog"}
"""Carriers in which each line of a record has a prefix."""

_STAMPED: Final = re.compile(
    rb"(?:(?:<[0-7]>)?"
    rb"|(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}|[-0-9]{10}T\S{8,30}) [^\s:\[]+ kernel: )"
    rb"\[ *([0-9]{1,10}\.[0-9]{6})\]"
)
"""The stamp in the forms of a line of the kernel that most logs have; the others take longer."""

_BEHIND: Final = 1 << 16
_LOOK_BACK: Final = 1000
"""Bytes of the log that are kept for that, and lines that are looked at: those of other programs
may stand between two of the kernel."""


class Reading:
    """Reads one log. Behind it, ``offset`` is that of `Position`."""

    def __init__(self, sought: Sequence[bytes], *, trusted: bool) -> None:
        self._sought = sought
        self._trusted = trusted
        self._spread: dict[str, Any] | None = None
        self._brace: int | None = None
        self._document: int | None = None
        self._behind = b""
        self._stamp: float | None = None
        self.offset = 0
        self.known: tuple[str, ...] = ()

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
            self.offset, self.known = position.offset, position.lines
            if not stream.go(position.offset + position.tail):
                raise OSError("it was truncated just now, try again")
            if not stream.ahead():
                return
            self.offset = resume(stream, position.offset, position.tail)
            self._behind, earlier = stream.last, stream.at
        for place, chunk, end in chunks(stream):
            if growing and end == len(chunk) and goes_on(chunk) and not stream.ahead():
                stream.go(place)
                self.offset = place
                break
            yield from self._records(place, chunk, end)
            self._behind = (self._behind + chunk[max(0, end - _BEHIND) : end])[-_BEHIND:]
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
                record = self._record(offset + start, line)
                if record and not self._goes_on(record, chunk, start):
                    yield record
        else:
            sought = [*self._sought, *_NUMBERS] if braced else self._sought
            for start, line in holding(chunk, end, sought):
                record = shapes.parse(text(line), trusted=self._trusted)
                if record and not self._goes_on(record, chunk, start):
                    yield record

    def _goes_on(self, record: Record, chunk: bytes, start: int) -> bool:
        """Whether this is no record of its own, but a line of the one before.

        What reads syslog(2) or /proc/kmsg (dmesg where /dev/kmsg is missing, rsyslog), and pstore
        and netconsole write the prefix of a record before each of its lines (print_prefix in
        kernel/printk/printk.c), so these have one stamp. Whoever gets a line break into a message,
        by the name of a file for instance, would write a message of his own otherwise.
        """
        if record.monotonic is None or record.carrier not in _LINEWISE:
            return False
        last = chunk.rfind(b"\n", 0, start - 1) + 1 if start else start
        if (match := _STAMPED.match(chunk, last, start)) and (own := _STAMPED.match(chunk, start)):
            return match[1] == own[1]  # as it mostly is, and fast
        earlier = chain(before(chunk, start), before(self._behind, len(self._behind)))
        for line in islice(earlier, _LOOK_BACK):
            if match := _STAMPED.match(line):
                return float(match[1]) == record.monotonic
            other = shapes.parse(text(line), trusted=True)  # None: of another program
            if other is not None and other.monotonic is not None:
                return other.monotonic == record.monotonic
        return False

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
                if record is None:
                    self._spread = {} if line.rstrip().endswith(b"{") else self._spread
                    return None
                self._spread = {}
                earlier, self._stamp = self._stamp, record.monotonic
                return record if earlier is None or earlier != record.monotonic else None
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
