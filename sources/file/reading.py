"""The records in one log."""

import re
import stat
import time
from collections import deque
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

_STAMPED: Final = re.compile(
    rb"(?:(?:<[0-7]>)?"
    rb"|(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[-+.:0-9Z]*)"
    rb" ([\w.-]+) kernel: )"
    rb"\[ *([0-9]{1,10}\.[0-9]{6})\](?: ?\[ *([TC][0-9]+)\])? "
)
"""Host, stamp and caller in the forms of a line of the kernel that most logs have."""

_LINEWISE: Final = {"dmesg", "kmsg", "syslog"}
"""Carriers in which the lines of one record may come as several."""

_HOST: Final = re.compile(rb"(\S+) (?:[a-z0-9]{2,10}\.[a-z]{3,7} )?kernel:")
_CALLER: Final = re.compile(rb"\[ *[0-9]+\.[0-9]{6}\] ?\[ *([TC][0-9]+)\]")
_AT_ONCE: Final = re.compile(rb"[^\[]{0,40}\[[^]]*[<+] *0[.,]000000>?\]")
"""The host in a line, who called printk, and a record that came no time after the one before."""

_BEHIND: Final = 1 << 18
"""Bytes before the place where reading goes on that are looked at for the record before."""

_KEPT: Final = 1 << 20
_LOOK_BACK: Final = 10_000
"""Bytes that are kept for that, and lines that are looked at."""

_END: Final = 1 << 16
"""Bytes at the end of a log in which the last stamp is looked for."""

_RECENT: Final = 3 * 3600
"""Seconds in which an hour that comes twice is over."""

_PREFIX: Final = 120
"""Bytes at the beginning of a line in which host and caller stand."""

_LOOKED: Final = 20_000
"""Lines that are looked at to tell whether it is a log that we understand."""

_NO_EVIDENCE: Final = (b" ", b"\t", b"-- ")
"""So begin lines that belong to the one before, and what journalctl says of the boots."""


class Reading:
    """Reads one log.

    Behind it, ``offset`` and ``known`` are those of `Position`, and ``looked`` is how many lines
    were looked at to tell whether it is a log that we understand. ``before`` is the reading of the
    log before it, which may hold the first lines of a record that goes on here.
    """

    def __init__(
        self, needles: Sequence[str], *, trusted: bool, before: "Reading | None" = None
    ) -> None:
        self._needles = needles
        self._sought = [*(needle.encode() for needle in needles), *_ESCAPES] if needles else []
        parts = [part.encode() for needle in needles for part in _parts(needle)]
        self._braced = [*dict.fromkeys([*self._sought, *parts])] if all(parts) else []
        self._trusted = trusted
        self._spread = Spread(trusted=trusted)
        self._now = time.time()
        self._older = [*before.behind()] if before else []
        self._behind: deque[bytes] = deque()
        self._kept = 0
        self._certain: Record | None = None
        self._end: tuple[float, float] | None = None
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
            self._remember(_before(stream, position.offset + position.tail))
            if not stream.ahead():
                return
            self.offset = resume(stream, position.offset, position.tail)
            self._understood = True  # as far as it is new, it may be anything
        self._end = _end(stream)
        if (stream.first or stream.ahead()).startswith(_EXPORTED):
            yield from self._exported(stream)
        else:
            yield from self._lines(stream, growing=growing)
        self.known = fingerprints(self.known, _backwards(self._behind))

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
            self._remember(chunk[:end])
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
            if record and self._is_sought(record) and not self._goes_on(record, line, chunk, start):
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
        self._remember(_whole(stream.last))

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
        """Tell what the stamps say of the time: where none is told, and where one came twice.

        Where summer time ends a clock shows an hour twice; the stamps tell how long after a record
        whose time is certain this one came.
        """
        if record.monotonic is None:
            return record
        if record.time is None:
            r, latest = record, self._latest(record.monotonic)  # faster than `attrs.evolve`
            return Record(r.text, r.carrier, r.trusted, r.facility, r.level, r.sequence,
                          r.monotonic, None, r.boot_id, r.repeated, latest)  # fmt: skip
        other = times.other(record.time) if line[:1].isalpha() else None  # else the zone is told
        if other is None:
            return record
        certain = self._certain
        if certain is None or not 0 <= _since(certain, record) < _RECENT:
            certain = self._certain = next(
                self._before(record, line, chunk, start, certain=True), None
            )
        if certain is None or certain.time is None or _since(certain, record) < 0:
            return record
        told = certain.time + _since(certain, record)
        return evolve(record, time=min(record.time, other, key=partial(_apart, told)))

    def _latest(self, stamp: float) -> float | None:
        """Return when a record was made at the latest: the log's last one is no older than it."""
        if self._end is None:
            return None
        changed, last = self._end
        return changed - (last - stamp if stamp <= last else last)

    def _goes_on(self, record: Record, line: bytes, chunk: bytes, start: int) -> bool:
        """Whether this is no record of its own, but a line of the one before.

        What reads syslog(2) or /proc/kmsg (dmesg where /dev/kmsg is missing, rsyslog), and pstore
        and netconsole write the prefix of a record before each of its lines (print_prefix in
        kernel/printk/printk.c), so these have one stamp; records of /dev/kmsg have one number.
        Whoever gets a line break into a message, by the name of a file for instance, would write a
        message of his own otherwise.
        """
        own = _sign(record)
        if own is None:
            return record.carrier == "dmesg" and _AT_ONCE.match(line) is not None
        last = chunk.rfind(b"\n", 0, start - 1) + 1 if start else start
        match, mine = _STAMPED.match(chunk, last, start), _STAMPED.match(chunk, start)
        if match and mine and (match[1], match[3]) == (mine[1], mine[3]):
            return match[2] == mine[2]  # as it mostly is not, and fast
        return any(_sign(each) == own for each in self._before(record, line, chunk, start))

    def _before(
        self, record: Record, line: bytes, chunk: bytes, start: int, *, certain: bool = False
    ) -> Iterator[Record]:
        """Yield the record before one, as the same program wrote it about the same host and caller.

        If ``certain`` it is one whose time is.
        """
        host, caller = _word(_HOST, line), _word(_CALLER, line)
        earlier = chain(before(chunk, start), _backwards(self.behind()))
        for each in islice(earlier, _LOOK_BACK):
            known = shapes.parse(text(each), trusted=True, now=self._now)
            if known is None or not known.trusted or known.carrier != record.carrier:
                continue
            if _sign(known) is None or (_word(_HOST, each), _word(_CALLER, each)) != (host, caller):
                continue
            if not certain or (known.time is not None and times.other(known.time) is None):
                yield known
                return

    def _remember(self, piece: bytes) -> None:
        """Keep lines that are behind us, and as many as needed of those before them."""
        self._behind.append(piece)
        self._kept += len(piece)
        while self._kept - len(self._behind[0]) >= _KEPT:
            self._kept -= len(self._behind.popleft())

    def behind(self) -> Sequence[bytes]:
        """Return pieces of many lines that were read, here and in the log before."""
        return [*self._older, *self._behind]


def _backwards(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Return the lines of some pieces, the last one first."""
    return chain.from_iterable(before(each, len(each)) for each in reversed(pieces))


def _sign(record: Record) -> float | None:
    """Return what all lines of a record have in common; None where they have nothing."""
    if record.carrier not in _LINEWISE:
        return None
    if record.sequence is not None:
        return record.sequence
    if record.monotonic is not None:
        return record.monotonic
    fine = record.carrier == "dmesg" and record.time is not None and record.time % 1
    return record.time if fine else None


def _since(earlier: Record, later: Record) -> float:
    return (later.monotonic or 0.0) - (earlier.monotonic or 0.0)


def _word(pattern: re.Pattern[bytes], line: bytes) -> bytes | None:
    match = pattern.search(line, 0, _PREFIX)
    return match and match[1]


def _end(stream: Stream) -> tuple[float, float] | None:
    """Return when a log was written last, and the last stamp in it; None where nothing tells."""
    status, place = stream.status, stream.at
    if stream.packed or not stat.S_ISREG(status.st_mode):
        return None
    stream.go(max(0, status.st_size - _END))
    piece = stream.read(_END)
    stream.go(place)
    records = (shapes.parse(text(line), trusted=True) for line in before(piece, len(piece)))
    stamps = (each.monotonic for each in records if each and each.monotonic is not None)
    last = next(stamps, None)
    return None if last is None else (min(time.time(), status.st_mtime), last)


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


def _before(stream: Stream, place: int) -> bytes:
    """Return what stands before a place, as far as it is looked at, and go there."""
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
