"""What stands before a line of a log: its record may have begun there."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
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
"""Bytes that are kept of a log."""

_NEAR: Final = 40
"""Lines in which the nearest record decides; farther back only one with the same sign does."""

_FAR: Final = 10_000
"""Lines in which a record is looked for whose time is certain."""

_EQUAL: Final = 50
"""Lines farther back with the digits of a sign that are looked at."""

_ISO: Final = re.compile(rb"T[0-9:]{8},[0-9]{6}[-+]")
"""A time of ``dmesg --time-format iso``, to the microsecond."""

_PREFIX: Final = 80
"""Bytes at the beginning of a line in which that stands."""

_PIECES: Final = 8
"""Pieces of the log before that are kept."""


_BEHIND: Final = 1 << 18
"""Bytes before the place where reading goes on that are looked at."""

_LITTLE: Final = 1 << 13
"""Bytes of these that are mostly enough."""


class Earlier:
    """Keeps the last lines that were read, of a log and of the one before it.

    ``now`` is when they are read, in seconds since the epoch.
    """

    def __init__(self, now: float, older: "Earlier | None" = None) -> None:
        self._now = now
        self._older: list[bytes] = older.pieces()[-_PIECES:] if older else []
        self._behind: deque[bytes] = deque()
        self._kept = 0
        self._read: Callable[[int], bytes] = lambda _size: b""

    def begin(self, read: Callable[[int], bytes], *, at_once: bool) -> None:
        """Take what reads the lines before the first one, so many bytes of them at most.

        It is read when it is needed, unless ``at_once``, where going back takes long.
        """
        if at_once:
            self.remember(read(_BEHIND))
        else:
            self._read = cache(read)

    def remember(self, piece: bytes) -> None:
        """Keep lines that are behind us, and as many as needed of those before them."""
        self._behind.append(piece)
        self._kept += len(piece)
        if self._kept >= _KEPT:
            self._read = lambda _size: b""
        while self._kept - len(self._behind[0]) >= _KEPT:
            self._kept -= len(self._behind.popleft())

    def pieces(self) -> list[bytes]:
        """Return what is kept, in pieces of many lines."""
        return [*self._older, self._read(_BEHIND), *self._behind]

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of this log, the last one first; no more is read than is asked for."""
        yield from _backwards(self._behind)
        little = self._read(_LITTLE)
        yield from before(little, len(little))
        much = self._read(_BEHIND)
        yield from before(much, len(much) - len(little))

    def goes_on(self, record: Record, line: bytes, chunk: bytes, start: int) -> bool:
        """Whether this is no record of its own, but a line of the one before.

        What reads syslog(2) or /proc/kmsg (dmesg where /dev/kmsg is missing, rsyslog), and pstore
        and netconsole write the prefix of a record before each of its lines (print_prefix in
        kernel/printk/printk.c), so these have one stamp; records of /dev/kmsg have one number.
        Whoever gets a line break into a message, by the name of a file for instance, would write a
        message of his own otherwise. What the message says of host and caller he writes, too.
        """
        sign = _sign(record, line)
        if sign is None:
            return self._comes_at_once(record, line, chunk, start)
        if b"\x1b" not in line and (mine := _STAMPED.match(line)):
            last = chunk.rfind(b"\n", 0, start - 1) + 1 if start else start
            match = _STAMPED.match(chunk, last, start)
            if match and match[1] == mine[1] and match[3] == mine[3]:
                return float(match[2]) == float(mine[2])  # as it mostly is not, and fast
        near = islice(self._before(chunk, start), _NEAR)
        for known, each in self._related(record, line, near):
            return _sign(known, each) == sign
        digits = _digits(record, line)
        if chunk.find(digits, 0, start) < 0 and not any(digits in each for each in self.pieces()):
            return False
        holding = (each for each in self._before(chunk, start) if digits in each)
        far = self._related(record, line, islice(holding, _EQUAL))
        return any(_sign(known, each) == sign for known, each in far)

    def _comes_at_once(self, record: Record, line: bytes, chunk: bytes, start: int) -> bool:
        """Whether dmesg says that a record came no time after the one before, if there is one."""
        own, last = shapes.origin(text(line)), next(self._before(chunk, start), None)
        if record.carrier != "dmesg" or not own.at_once or last is None:
            return False
        known = shapes.parse(text(last), trusted=True, now=self._now)
        if known is None or _kind(known, last) != "bare":
            return False
        date = shapes.origin(text(last)).date
        return date is None or own.date is None or date == own.date

    def certain(self, record: Record, line: bytes, chunk: bytes, start: int) -> Record | None:
        """Return the nearest record before one whose time no clock has shown twice."""
        related = self._related(record, line, islice(self._before(chunk, start), _FAR))
        known = (
            each for each, _ in related if each.monotonic is not None and each.time is not None
        )
        return next((each for each in known if times.other(each.time or 0.0) is None), None)

    def _before(self, chunk: bytes, start: int) -> Iterator[bytes]:
        """Return the lines before a place in a chunk, the last one first."""
        return chain(before(chunk, start), self.lines(), _backwards(self._older))

    def _related(
        self, record: Record, line: bytes, earlier: Iterable[bytes]
    ) -> Iterator[tuple[Record, bytes]]:
        """Yield the records of the kernel among lines that may be of the same printer and host."""
        origin, kind = shapes.origin(text(line)), _kind(record, line)
        for each in earlier:
            known = shapes.parse(text(each), trusted=True, now=self._now)
            if known is None or not known.trusted or _sign(known, each) is None:
                continue
            if _kind(known, each) == kind and shapes.origin(text(each)).may_be(origin):
                yield known, each


def _backwards(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Return the lines of some pieces, the last one first."""
    return chain.from_iterable(before(each, len(each)) for each in reversed(pieces))


def _sign(record: Record, line: bytes) -> object:
    """Return what all lines of a record have in common; None where they have nothing."""
    if record.carrier not in _LINEWISE:
        return None
    if record.sequence is not None:
        return record.sequence, record.monotonic
    if record.monotonic is not None:
        return record.monotonic
    return record.time if record.carrier == "dmesg" and _ISO.search(line, 0, _PREFIX) else None


def _digits(record: Record, line: bytes) -> bytes:
    """Return what of the sign stands in each line that has it."""
    if record.sequence is not None:
        return b",%d," % record.sequence
    if record.monotonic is None:
        match = _ISO.search(line, 0, _PREFIX)
        return match[0] if match else b""
    digits = f"{record.monotonic:.6f}"
    return (digits.rstrip("0").rstrip(".") if line.startswith(b"{") else digits).encode()


def _kind(record: Record, line: bytes) -> str:
    """Return who writes such lines: the kernel's own form, dmesg and its like, or a daemon."""
    if record.carrier == "syslog" and not line.startswith(b"["):
        return "dated"
    return "bare" if record.carrier in {"dmesg", "syslog"} else record.carrier
