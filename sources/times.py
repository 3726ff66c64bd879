"""The times in lines of text: many tell neither zone nor year."""

import re
import time
from datetime import datetime
from functools import lru_cache
from typing import Final

_DAY: Final = 86400
"""Seconds that a line may lie ahead of us: another clock, or one that was set back, wrote it."""

_HOUR: Final = 3600
"""Seconds by which summer time is ahead."""

_HALF: Final = 1800
"""Seconds of half an hour; clocks are set at the full or the half one."""

_UNIX: Final = re.compile(r"[0-9]{9,11}\.[0-9]{6}")
_MINUTE: Final = r"([01][0-9]|2[0-3]):([0-5][0-9])"
_SYSLOG: Final = re.compile(
    rf"([A-Z][a-z]{{2}}) ([ 0-9][0-9]) {_MINUTE}:([0-9]{{2}}(?:\.[0-9]{{1,9}})?)"
)
_CTIME: Final = re.compile(
    rf"\S+ +([A-Z][a-z]{{2}}) +([0-9]{{1,2}}) {_MINUTE}:([0-9]{{2}}) ([0-9]{{4}})"
)
_FULL: Final = re.compile(r"[A-Z][a-z]{2} ([0-9-]{10} [0-9:.]{8,15}) (\S+)")
_MONTHS: Final = {
    "JanFebMarAprMayJunJulAugSepOctNovDec"[at : at + 3]: at // 3 + 1 for at in range(0, 36, 3)
}
_YEARS: Final = 8
"""Years back in which each day has been, February 29 too."""


def epoch(text: str, now: float) -> float | None:
    """Read a time, in seconds since the epoch; None where it is none.

    What tells no zone is of this machine's; what tells no year (RFC 3164 §4.1.2) is the nearest
    past one, seen from ``now``.
    """
    if match := _SYSLOG.fullmatch(text):
        month, day, hour, minute, second = match.groups()
        start = _nearest(month, int(day), int(hour), int(minute), int(now))
        return None if start is None else start + float(second)
    if _UNIX.fullmatch(text):
        return float(text)
    if match := _CTIME.fullmatch(text):
        month, day, hour, minute, second, year = match.groups()
        start = _local((int(year), _MONTHS.get(month, 0), int(day), int(hour), int(minute)), now)
        return None if start is None else start + int(second)
    second = False
    if match := _FULL.fullmatch(text):
        if match[2] in {"UTC", "GMT"}:
            text = f"{match[1]}+00:00"
        elif match[2] in time.tzname:
            text = match[1]
            second = match[2] == time.tzname[0] != time.tzname[1]  # summer time has ended
    try:
        moment = datetime.fromisoformat(text).replace(fold=int(second)).timestamp()
    except (ValueError, OverflowError):
        return None
    return moment if moment >= 0 else None


def other(moment: float) -> float | None:
    """Return when this machine's clock shows the same time again, or did before; None if never.

    It does where summer time ends.
    """
    shift = _twice(int(moment) // _HALF)
    return moment + shift if shift else None


@lru_cache(maxsize=4096)
def _twice(half: int) -> int:
    """Return how many seconds from a half hour another one is that looks the same, or 0."""
    moment = half * _HALF
    shown = time.localtime(moment)[:6]
    shifts = (shift for shift in (-_HOUR, _HOUR) if time.localtime(moment + shift)[:6] == shown)
    return next(shifts, 0)


@lru_cache(maxsize=4096)
def _nearest(name: str, day: int, hour: int, minute: int, now: int) -> float | None:
    """Return the beginning of the last such minute that is not more than a day ahead."""
    latest = time.localtime(now + _DAY).tm_year
    for year in range(latest, latest - _YEARS - 1, -1):
        start = _local((year, _MONTHS.get(name, 0), day, hour, minute), now)
        if start is not None and start <= now + _DAY:
            return start
    return None


def _local(minute: tuple[int, int, int, int, int], now: float) -> float | None:
    """Return when a minute of this machine's zone began; None where no day has that date.

    One that comes twice is the first, unless the second has been just now.
    """
    try:
        start = time.mktime((*minute, 0, 0, 0, -1))
    except (OverflowError, ValueError):
        return None
    if start < 0 or time.localtime(start)[:3] != minute[:3]:
        return None
    first, second = sorted((start, other(start) or start))
    return second if second <= now < second + 2 * _HOUR else first
