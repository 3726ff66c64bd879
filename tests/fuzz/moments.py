"""What the times in a line mean, told plainly: by the calendar, in one zone, at one moment.

The zone has summer time from the last Sunday of March to that of October, at 1:00 UTC.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from unittest.mock import ANY

from texts import is_like, is_number, only

ZONE: Final = "CET-1CEST,M3.5.0,M10.5.0/3"
"""The zone, as POSIX's ``TZ`` names it."""

MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DAY: Final = timedelta(days=1)
Moment = object
"""Seconds since the epoch; None where a line tells none, `ANY` where nobody writes it so."""


def epoch(year: int, month: int, day: int) -> datetime:
    """Return the beginning of a day."""
    return datetime(year, month, day, tzinfo=UTC)


def hours(moment: datetime) -> int:
    """Return by how many hours the zone is ahead."""
    march, october = (
        next(
            each
            for each in (
                datetime(moment.year, month, 31 - back, 1, tzinfo=UTC) for back in range(7)
            )
            if each.weekday() == 6
        )
        for month in (3, 10)
    )
    return 2 if march <= moment < october else 1


def shown(clock: datetime) -> list[datetime]:
    """Return when the zone's clocks show this: mostly once, and never or twice at a change."""
    return [
        moment
        for ahead in (2, 1)
        for moment in [clock - timedelta(hours=ahead)]
        if hours(moment) == ahead
    ]


def local(clock: datetime, now: float) -> Moment:
    """Return when the clocks showed it; of two moments the first, unless the second is just now."""
    found = [moment.timestamp() for moment in shown(clock)]
    if len(found) == 2 and found[1] <= now < found[1] + 7200:
        return found[1]
    return found[0] if found else ANY


def date(year: object, month: int, day: object, clock: str) -> datetime | None:
    """Return a time of a calendar, in whatever zone; None where there is none."""
    try:
        return datetime(
            int(str(year)), month, int(str(day)), int(clock[:2]), int(clock[3:5]), tzinfo=UTC
        )
    except ValueError:
        return None


def yearless(text: str, now: float) -> Moment:
    """Read ``Aug 28 13:16:32``: the last time that was so, or will be so within a day."""
    clock, dot, part = text[7:15], text[15:16], text[16:]
    if not is_like(clock, "99:99:99") or text[5] == " ":
        return None
    if text[:3] not in MONTHS or int(text[4:6]) == 0 or int(clock[:2]) > 23 or clock[3] > "5":
        return None
    if int(clock[6:]) > 59 or len(part) > 6:
        return ANY
    latest = datetime.fromtimestamp(now, UTC) + DAY
    for year in range(latest.year + 1, latest.year - 10, -1):
        start = date(year, MONTHS.index(text[:3]) + 1, text[4:6], clock)
        if start is None:
            continue
        moment = local(start, int(now))
        if moment is ANY:
            return ANY
        if isinstance(moment, float) and moment <= int(now) + DAY.total_seconds():
            return rounded(moment + float(clock[6:] + dot + part))
    return None


def dated(text: str, now: float) -> Moment:
    """Read what ctime(3) writes, ``Tue Aug 28 13:16:32 2007``; a month that is not English is none.

    The name of the day says nothing that the date does not say.
    """
    if not is_like(text, "Aaa Aaa *9 99:99:99 9999"):
        foreign = text.count(" ") == 4 and not text.isascii() and text.split(" ")[1] not in MONTHS
        return None if foreign else ANY
    if text[4:7] not in MONTHS:
        return None
    found = date(text[20:], MONTHS.index(text[4:7]) + 1, text[8:10], text[11:19])
    if found is None or found.year < 1980 or int(text[17:19]) > 59:
        return ANY
    moment = local(found, now)
    return rounded(moment + int(text[17:19])) if isinstance(moment, float) else ANY


def iso(text: str) -> Moment:
    """Read ISO 8601 with a zone, or without one."""
    clock, rest = text[11:19], text[19:]
    if not is_like(text[:10], "9999-99-99") or not is_like(clock, "99:99:99"):
        return ANY
    part = ""
    if rest[:1] in {".", ","}:
        part = "".join(_digits(rest[1:]))
        rest = rest[1 + len(part) :]
        if not 1 <= len(part) <= 6:
            return ANY
    found = date(text[:4], int(text[5:7]), text[8:10], clock)
    if found is None or found.year < 1980 or int(clock[6:]) > 59:
        return None if clock < "24" else ANY
    if rest == "":
        moments = shown(found)
    elif rest == "Z":
        moments = [found]
    elif is_like(rest, "~99:99") or is_like(rest, "~9999"):
        ahead = timedelta(hours=int(rest[1:3]), minutes=int(rest[-2:]))
        if rest[-2:] > "59" or ahead >= DAY:
            return ANY
        moments = [found - ahead if rest[0] == "+" else found + ahead]
    else:
        return ANY
    seconds = float(f"{clock[6:]}.{part or 0}")
    return rounded(moments[0].timestamp() + seconds) if len(moments) == 1 else ANY


def _digits(text: str) -> Iterator[str]:
    for character in text:
        if not is_number(character, 1):
            return
        yield character


def named(text: str) -> Moment:
    """Read ``Tue 2007-08-28 13:16:32 UTC``, as journalctl writes it."""
    _, day, clock, zone = text.split(" ")
    if zone in {"UTC", "GMT"}:
        return iso(f"{day}T{clock}Z")
    ahead = {"CEST": "+02:00", "CET": "+01:00"}.get(zone)
    if ahead is None:
        return None
    twice = iso(f"{day}T{clock}") is ANY and is_like(f"{day}T{clock[:2]}", "9999-10-99T02")
    return iso(f"{day}T{clock}{ahead if twice else ''}")


def rounded(seconds: float) -> float:
    """Return whole microseconds."""
    return round(seconds * 1e6) / 1e6


def moment(text: str, now: float) -> Moment:
    """Read a time in one of the forms that loggers and journalctl write."""
    if is_like(text[:15], "Aaa *9 ########"):
        return yearless(text, now)
    if is_like(text[:15], "Aaa 9999-99-99 "):
        return named(text)
    if is_like(text[4:5], "-"):
        return iso(text)
    return rounded(float(text)) if only(text.replace(".", "", 1), "0123456789") else None


@contextmanager
def in_the_zone() -> Iterator[None]:
    """Be in the zone of the reference."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = ZONE
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
