"""The records in one log."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final

from attrs import evolve

from reconciler import Record
from sources import export, shapes, times
from sources.file.lines import before, chunks, goes_on, holding, lines, resume
from sources.file.position import Position, fingerprints
from sources.file.spread import Spread
from sources.file.stream import Stream

_ESCAPES: Final = (b"\\", b"\x1b")
"""So begins what stands for something else: in JSON, in records of /dev/kmsg, and colours."""

_NUMBERS: Final = re.compile(rb'"MESSAGE"\s*:\s*\[')
"""So begins a message that ``journalctl -o json`` gives as a list of its bytes: it is no UTF-8."""

_EXPORTED: Final = b"__CURSOR="
"""So begins a log that ``journalctl -o export`` printed."""

_PIECE: Final = 1 << 18
"""Bytes of an export that are read at once."""

_LINEWISE: Final = {"dmesg", "syslog"}
"""Carriers in which each line of a record has a prefix."""

_STAMPED: Final = re.compile(
    rb"(?:(?:<[0-7]>)?"
    rb"|(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[-+.:0-9Z]*)"
    rb" [\w.-]+ kernel: )"
    rb"\[ *([0-9]{1,10}\.[0-9]{6})\](?: ?\[ *[TC][0-9]+\])? "
)
"""The stamp in the forms of a line of the kernel that most logs have; the others take longer."""

_BEHIND: Final = 1 << 16
_LOOK_BACK: Final = 1000
"""Bytes of the log that are kept, and lines that are looked at, to find the record before: lines of
other programs may stand between two of the kernel."""

_SAMPLE: Final = 100
"""Lines of a chunk that are looked at to tell whether the log is one that we understand."""


class Reading:
    """Reads one log.

    Behind it, ``offset`` and ``known`` are those of `Position`.
    """

    def __init__(self, needles: Sequence[str], *, trusted: bool) -> None:
        self._needles = needles
        self._sought = [*(needle.encode() for needle in needles), *_ESCAPES] if needles else []
        parts = [part.encode() for needle in needles for part in _parts(needle)]
        self._braced = [*dict.fromkeys([*self._sought, *parts])] if all(parts) else []
        self._trusted = trusted
        self._spread = Spread(trusted=trusted)
        self._now = time.time()
        self._behind = b""
        self._found = self._understood = False
        self._first: bytes | None = None
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
            self._behind = _before(stream)
        if (stream.first or stream.ahead()).startswith(_EXPORTED):
            yield from self._exported(stream)
        else:
            yield from self._lines(stream, growing=growing)
        whole = self._behind.rfind(b"\n") + 1
        self.known = fingerprints(self.known, before(self._behind, whole))

    @property
    def strange(self) -> bytes | None:
        """Return the first line of a log of which not one was understood, and none was sought."""
        return None if self._found or self._understood else self._first

    def _lines(self, stream: Stream, *, growing: bool) -> Iterator[Record]:
        """Read to the end what is no export."""
        for place, chunk, end in chunks(stream):
            if growing and end == len(chunk) and goes_on(chunk) and not stream.ahead():
                stream.go(place)
                self.offset = place
                break
            yield from self._chosen(self._records(place, chunk, end))
            if self._behind and not self._behind.endswith(b"\n"):
                self._behind += b"\n"  # the rest of a line that was too long is not held
            self._behind += chunk[max(0, end - _BEHIND) : end]
            if len(self._behind) > _BEHIND:
                self._behind = _whole(self._behind[-_BEHIND:])
            self.offset = place
        yield from self._chosen(self._spread.rest())
        if stream.last.endswith(b"\n"):
            self.offset = stream.at
        if self._spread.start is not None:
            self.offset = self._spread.start

    def _chosen(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield those that hold a needle."""
        for record in records:
            if not self._needles or any(needle in record.text for needle in self._needles):
                self._found = True
                yield record

    def _records(self, offset: int, chunk: bytes, end: int) -> Iterator[Record]:
        """Read the lines before ``end``; the chunk stands at ``offset`` in the log.

        Unless records are spread over lines, only those are looked at that may hold a needle.
        """
        if not self._understood:
            self._look(chunk, end)
        spread = self._spread.begins(chunk, end)
        for start, line in self._candidates(chunk, end, every=spread):
            if spread:
                yield from self._spread.take(offset + start, line)
                if self._spread.inside:
                    continue
            record = shapes.parse(text(line), trusted=self._trusted, now=self._now)
            if record and not self._goes_on(record, chunk, start):
                yield self._timed(record, chunk, start)

    def _candidates(self, chunk: bytes, end: int, *, every: bool) -> Iterator[tuple[int, bytes]]:
        """Return the lines that may hold a needle, or all."""
        braced = b"{" in chunk
        sought = self._braced if braced else self._sought
        if every or not sought:
            return lines(chunk, end)
        numbers = _NUMBERS.finditer(chunk, 0, end) if braced else ()
        return holding(chunk, end, sought, [match.start() for match in numbers])

    def _exported(self, stream: Stream) -> Iterator[Record]:
        """Read to the end what ``journalctl -o export`` printed."""
        coming = export.entries(iter(partial(stream.read, _PIECE), b""))
        self._understood, rest = True, b""
        while True:
            try:
                entry = next(coming)
            except StopIteration as stop:
                rest = stop.value
                break
            if "MESSAGE" in entry and (record := shapes.journal(entry, trusted=self._trusted)):
                yield from self._chosen([record])
        self.offset, self._behind = stream.at - len(rest), _whole(stream.last)

    def _look(self, chunk: bytes, end: int) -> None:
        """Look whether the log has a line that we understand."""
        for _, line in islice(lines(chunk, end), _SAMPLE):
            if shapes.is_known(text(line)):
                self._understood = True
                return
            self._first = self._first or line

    def _timed(self, record: Record, chunk: bytes, start: int) -> Record:
        """Choose between the two times that a clock showed where summer time ended.

        The stamps tell how long after a record whose time is certain this one came.
        """
        if record.time is None or record.monotonic is None:
            return record
        other = times.other(record.time)
        if other is None:
            return record
        for line in self._earlier(chunk, start):
            known = shapes.parse(text(line), trusted=True, now=self._now)
            if known is None or known.time is None or known.monotonic is None:
                continue
            if known.monotonic > record.monotonic:
                break  # it is of another boot
            if times.other(known.time) is None:
                told = known.time + record.monotonic - known.monotonic
                return evolve(record, time=min(record.time, other, key=partial(_apart, told)))
        return record

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
        for line in self._earlier(chunk, start):
            if match := _STAMPED.match(line):
                return float(match[1]) == record.monotonic
            other = shapes.parse(text(line), trusted=True)  # None: of another program
            if other is not None and other.monotonic is not None:
                return other.monotonic == record.monotonic
        return False

    def _earlier(self, chunk: bytes, start: int) -> Iterator[bytes]:
        """Return the lines before a place in a chunk, the last one first, as far as we look."""
        earlier = chain(before(chunk, start), before(self._behind, len(self._behind)))
        return islice(earlier, _LOOK_BACK)


def _parts(needle: str) -> Iterator[str]:
    """Yield what stands in a field of the journal where the text was divided within the needle.

    Its fields hold the text before a colon and a blank apart from what follows.
    """
    for seam in re.finditer(": ", needle):
        yield max(needle[: seam.start()], needle[seam.end() :], key=len)
    if needle.endswith(":"):
        yield needle[:-1]
    if needle.startswith(" "):
        yield needle[1:]


def _before(stream: Stream) -> bytes:
    """Return what stands before the place, as far as it is looked at."""
    place = stream.at
    stream.go(max(0, place - _BEHIND))
    cut = stream.at > 0
    piece = stream.read(place - stream.at)
    return _whole(piece) if cut else piece


def _whole(piece: bytes) -> bytes:
    """Return what follows the first line, which is cut."""
    return piece[piece.find(b"\n") + 1 :]


def _apart(told: float, moment: float) -> float:
    return abs(moment - told)


def text(line: bytes) -> str:
    """Return a line as text; NUL bytes stand before it where a machine died while writing."""
    return line.rstrip(b"\r\n").lstrip(b"\0").decode(errors="replace")
