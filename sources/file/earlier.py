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
    rb"\[ *([0-9]{1,10}\.[0-9]{6})\](?: ?\[ *([TC][0-9]+)\])? (?!(?:\S+ )?kernel: )"
)
"""Host, stamp and caller in the forms of a line of the kernel that most logs have."""

_LINEWISE: Final = {"dmesg", "kmsg", "syslog"}
"""Carriers in which the lines of one record may come as several."""

_KEPT: Final = 1 << 20
_LOOK_BACK: Final = 10_000
"""Bytes that are kept for that, and lines that are looked at."""

_NEAR: Final = 40
"""Lines in which the one before is mostly found, where some callers take turns."""

_PLAIN: Final = (1e-4, 1e9)
"""Seconds that are written with the same digits everywhere, but for zeros: JSON, too."""

_PIECES: Final = 8
"""Pieces of the log before that are kept."""


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
            return record.carrier == "dmesg" and shapes.origin(text(line)).at_once
        if b"\x1b" not in line and (mine := _STAMPED.match(line)):
            for each in islice(before(chunk, start), _NEAR):
                match = _STAMPED.match(each)
                if match is None or b"\x1b" in each:
                    break
                if match.group(1, 3) == mine.group(1, 3):
                    return float(match[2]) == float(mine[2])  # as it mostly is not, and fast
        if not self._is_behind(record, chunk, start):
            return False
        return any(_sign(each) == own for each in self._nearest(record, line, chunk, start))

    def _is_behind(self, record: Record, chunk: bytes, start: int) -> bool:
        """Whether the digits of a stamp stand anywhere before a place; True where none are sure."""
        stamp = record.monotonic
        if record.sequence is not None or stamp is None or not _PLAIN[0] <= stamp < _PLAIN[1]:
            return True
        digits = f"{stamp:.6f}".strip("0.").encode()
        return chunk.find(digits, 0, start) >= 0 or any(digits in each for each in self.pieces())

    def certain(self, record: Record, line: bytes, chunk: bytes, start: int) -> Record | None:
        """Return the nearest record before one whose time no clock has shown twice."""
        return next(self._nearest(record, line, chunk, start, certain=True), None)

    def _nearest(
        self, record: Record, line: bytes, chunk: bytes, start: int, *, certain: bool = False
    ) -> Iterator[Record]:
        """Yield the record before one, as the same program wrote it about the same host and caller.

        If ``certain`` it is one whose time is.
        """
        origin = shapes.origin(text(line))
        earlier = chain(before(chunk, start), _backwards(self.pieces()))
        for each in islice(earlier, _LOOK_BACK):
            known = shapes.parse(text(each), trusted=True, now=self._now)
            if known is None or not known.trusted or known.carrier != record.carrier:
                continue
            if _sign(known) is None or shapes.origin(text(each)) != origin:
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
