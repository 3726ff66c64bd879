"""The records in one log."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import Final

from attrs import evolve

from reconciler import Record
from sources import export, shapes, times
from sources.file.earlier import Earlier
from sources.file.ending import last_stamp
from sources.file.lines import chunks, goes_on, holding, lines, resume, text
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

_RECENT: Final = 3 * 3600
"""Seconds in which an hour that comes twice is over."""

_LOOKED: Final = 20_000
"""Lines that are looked at to tell whether it is a log that we understand."""

_NO_EVIDENCE: Final = (b" ", b"\t", b"-- ")
"""So begin lines that belong to the one before, and what journalctl says of the boots."""


class Reading:
    """Reads one log.

    Behind it, ``offset`` and ``known`` are those of `Position`, and ``looked`` is how many lines
    were looked at to tell whether it is a log that we understand. ``older`` is the reading of the
    log before it.
    """

    def __init__(
        self, needles: Sequence[str], *, trusted: bool, older: "Reading | None" = None
    ) -> None:
        self._needles = needles
        self._sought = [*(needle.encode() for needle in needles), *_ESCAPES] if needles else []
        parts = [part.encode() for needle in needles for part in _parts(needle)]
        self._braced = [*dict.fromkeys([*self._sought, *parts])] if all(parts) else []
        self._trusted = trusted
        self._spread = Spread(trusted=trusted)
        self._now = time.time()
        self.earlier: Earlier = Earlier(self._now, older.earlier if older else None)
        self._certain: Record | None = None
        self._sought_at: float | None = None
        self._ending: Callable[[], tuple[float, float] | None] = lambda: None
        self._found = self._understood = False
        self.looked = 0
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
                self.earlier.begin(partial(_before, stream, stream.at), at_once=stream.packed)
                return
            self.offset = resume(stream, position.offset, position.tail)
            self.earlier.begin(partial(_before, stream, self.offset), at_once=stream.packed)
            self._understood = True  # as far as it is new, it may be anything
        self._ending = cache(partial(last_stamp, stream, self.offset))
        if (stream.first or stream.ahead()).startswith(_EXPORTED):
            yield from self._exported(stream)
        else:
            yield from self._lines(stream, growing=growing)
        self.known = fingerprints(self.known, self.earlier.lines())

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
            self.earlier.remember(chunk[:end])
            self.offset = place
        yield from self._chosen(self._spread.rest())
        if stream.last.endswith(b"\n"):
            self.offset = stream.at
        if self._spread.start is not None:
            self.offset = self._spread.start

    def _chosen(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield those that hold a needle."""
        for record in records:
            if self._is_sought(record):
                self._found = True
                yield record

    def _is_sought(self, record: Record) -> bool:
        return not self._needles or any(needle in record.text for needle in self._needles)

    def _records(self, offset: int, chunk: bytes, end: int) -> Iterator[Record]:
        """Read the lines before ``end``; the chunk stands at ``offset`` in the log.

        Unless records are spread over lines, only those are looked at that may hold a needle.
        """
        if not self._understood and self.looked < _LOOKED:
            self._look(chunk, end)
        spread = self._spread.begins(chunk, end)
        for start, line in self._candidates(chunk, end, every=spread):
            if spread:
                yield from self._spread.take(offset + start, line)
                if self._spread.inside:
                    continue
            record = shapes.parse(text(line), trusted=self._trusted, now=self._now)
            if record is None or not self._is_sought(record):
                continue
            if not self.earlier.goes_on(record, line, chunk, start):
                yield self._timed(record, line, chunk, start)

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
        self._understood, rest = True, export.Rest()
        while True:
            try:
                entry = next(coming)
            except StopIteration as stop:
                rest = stop.value
                break
            if "MESSAGE" in entry and (record := shapes.journal(entry, trusted=self._trusted)):
                yield from self._chosen([record])
        self.offset = stream.at - rest.length
        self.earlier.remember(_whole(stream.last))

    def _look(self, chunk: bytes, end: int) -> None:
        """Look whether the log has a line that we understand."""
        for _, line in islice(lines(chunk, end), _LOOKED - self.looked):
            self.looked += 1
            if line.startswith(_NO_EVIDENCE):
                continue
            if line.rstrip() == b"{" or shapes.is_known(text(line)):
                self._understood = True
                return
            self._first = self._first or line

    def _timed(self, record: Record, line: bytes, chunk: bytes, start: int) -> Record:
        """Return the record with the time that its stamp tells, if the line does not.

        A line may tell no time. And where summer time ends, a clock shows an hour twice: then the
        stamps tell how long after a record whose time is certain this one came.
        """
        if record.monotonic is None:
            return record
        if record.time is None:
            return _of(record, self._latest(record.monotonic))
        other = times.other(record.time) if line[:1].isalpha() else None  # else the zone is told
        if other is None:
            return record
        certain = self._certain
        if self._sought_at is None or not 0 <= record.monotonic - self._sought_at < _RECENT:
            certain = self._certain = self.earlier.certain(record, line, chunk, start)
            self._sought_at = record.monotonic
        if certain is None or certain.time is None or _since(certain, record) < 0:
            return record
        told = certain.time + _since(certain, record)
        return evolve(record, time=min(record.time, other, key=partial(_apart, told)))

    def _latest(self, stamp: float) -> float | None:
        """Return when a record was made at the latest: the log's last one is no older than it."""
        end = self._ending()  # looked at once a record needs it: most logs tell the time
        if end is None:
            return None
        changed, last = end
        return changed - (last - stamp) if stamp <= last else None


def _of(record: Record, latest: float | None) -> Record:
    """Return a record with its latest time, three times faster than `attrs.evolve` does."""
    return Record(
        text=record.text,
        carrier=record.carrier,
        trusted=record.trusted,
        facility=record.facility,
        level=record.level,
        sequence=record.sequence,
        monotonic=record.monotonic,
        boot_id=record.boot_id,
        repeated=record.repeated,
        latest=latest,
    )


def _since(earlier: Record, later: Record) -> float:
    return (later.monotonic or 0.0) - (earlier.monotonic or 0.0)


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


def _before(stream: Stream, end: int, size: int) -> bytes:
    """Return the whole lines among so many bytes before a place, and leave the log as it is."""
    place = stream.at
    stream.go(max(0, end - size))
    if stream.at:
        stream.readline(end - stream.at)  # it is cut
    piece = stream.read(end - stream.at)
    if stream.at != place:
        stream.go(place)
    return piece


def _whole(piece: bytes) -> bytes:
    """Return what follows the first line, which is cut."""
    return piece[piece.find(b"\n") + 1 :]


def _apart(told: float, moment: float) -> float:
    return abs(moment - told)
