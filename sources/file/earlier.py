"""What stands before a line of a log: its record may have begun there."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

from reconciler import Record
from sources import shapes, times
from sources.file.lines import before, text

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

_KEPT: Final = 1 << 20
_LOOK_BACK: Final = 10_000
"""Bytes that are kept for that, and lines that are looked at."""

_PIECES: Final = 8
"""Pieces of the log before that are kept."""

_PREFIX: Final = 120
"""Bytes at the beginning of a line in which host and caller stand."""


class Earlier:
    """Keeps the last lines that were read, of a log and of the one before it.

    ``now`` is when they are read, in seconds since the epoch.
    """

    def __init__(self, now: float, older: "Earlier | None" = None) -> None:
        self._now = now
        self._older: list[bytes] = older.pieces()[-_PIECES:] if older else []
        self._behind: deque[bytes] = deque()
        self._kept = 0

    def remember(self, piece: bytes) -> None:
        """Keep lines that are behind us, and as many as needed of those before them."""
        self._behind.append(piece)
        self._kept += len(piece)
        while self._kept - len(self._behind[0]) >= _KEPT:
            self._kept -= len(self._behind.popleft())

    def pieces(self) -> list[bytes]:
        """Return what is kept, in pieces of many lines."""
        return [*self._older, *self._behind]

    def lines(self) -> Iterator[bytes]:
        """Return the lines of this log, the last one first."""
        return _backwards(self._behind)

    def goes_on(self, record: Record, line: bytes, chunk: bytes, start: int) -> bool:
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
        return any(_sign(each) == own for each in self._nearest(record, line, chunk, start))

    def certain(self, record: Record, line: bytes, chunk: bytes, start: int) -> Record | None:
        """Return the nearest record before one whose time no clock has shown twice."""
        return next(self._nearest(record, line, chunk, start, certain=True), None)

    def _nearest(
        self, record: Record, line: bytes, chunk: bytes, start: int, *, certain: bool = False
    ) -> Iterator[Record]:
        """Yield the record before one, as the same program wrote it about the same host and caller.

        If ``certain`` it is one whose time is.
        """
        host, caller = _word(_HOST, line), _word(_CALLER, line)
        earlier = chain(before(chunk, start), _backwards(self.pieces()))
        for each in islice(earlier, _LOOK_BACK):
            known = shapes.parse(text(each), trusted=True, now=self._now)
            if known is None or not known.trusted or known.carrier != record.carrier:
                continue
            if _sign(known) is None or (_word(_HOST, each), _word(_CALLER, each)) != (host, caller):
                continue
            if not certain or (known.time is not None and times.other(known.time) is None):
                yield known
                return


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


def _word(pattern: re.Pattern[bytes], line: bytes) -> bytes | None:
    match = pattern.search(line, 0, _PREFIX)
    return match and match[1]
