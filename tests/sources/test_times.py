"""Times that tell neither zone nor year."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from sources.times import epoch, other

NOW = datetime.fromisoformat("2026-03-29T12:00:00+02:00").timestamp()


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be where summer time began on 2026-03-29 at 02:00, and ends on 2026-10-25 at 03:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("Mar 28 11:59:58", NOW, "2026-03-28T11:59:58+01:00"),
        ("Mar 29 03:30:00.25", NOW, "2026-03-29T03:30:00.25+02:00"),
        ("Mar 29 02:30:00", NOW, "2026-03-29T03:30:00+02:00"),  # no clock showed it
        ("Dec 31 23:59:59", NOW, "2025-12-31T23:59:59+01:00"),
        ("Mar 30 11:59:59", NOW, "2026-03-30T11:59:59+02:00"),  # another clock is ahead
        ("Mar 30 12:01:00", NOW, "2025-03-30T12:01:00+02:00"),
        ("Feb 29 10:00:00", NOW, "2024-02-29T10:00:00+01:00"),
        ("Jan  1 00:00:05", 1798757940.0, "2027-01-01T00:00:05+01:00"),  # a minute before
        ("Tue Aug 28 13:16:32 2007", NOW, "2007-08-28T13:16:32+02:00"),
        ("Sun 2026-11-22 12:51:59 UTC", NOW, "2026-11-22T12:51:59+00:00"),
        ("Sun 2026-11-22 12:51:59.25 CET", NOW, "2026-11-22T12:51:59.25+01:00"),
        ("2026-11-22 12:51:59", NOW, "2026-11-22T12:51:59+01:00"),
        ("2026-11-22T12:51:59,5+09:00", NOW, "2026-11-22T12:51:59.5+09:00"),
        ("1795901309.124382", NOW, "2026-11-28T21:28:29.124382+00:00"),
    ],
)
def test_a_time_is_the_nearest_past_one_of_this_machine(
    text: str, now: float, expected: str
) -> None:
    """Across the end of the year, February 29, and the beginning of summer time."""
    assert epoch(text, now) == pytest.approx(datetime.fromisoformat(expected).timestamp())


@pytest.mark.parametrize(
    "text",
    ["Feb 30 10:00:00", "Xyz 12 10:00:00", "Jan 12 24:00:00", "Jan 12 10:60:00", "", "now",
     "Jan  0 10:00:00", "Sun 2026-11-22 12:51:59 EST", "土 11月 28 20:52:14 2026",
     "Tue Aug 28 13:16:32 0000", "0001-01-01 00:00:00"],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    """Nor is what is told in a zone, or in a language, that is not known here."""
    assert epoch(text, NOW) is None


def test_an_hour_that_comes_twice_is_the_one_that_has_just_been() -> None:
    """Of long ago it is the first; `other` tells the second."""
    first = datetime.fromisoformat("2026-10-25T02:30:00+02:00").timestamp()
    asked = {0: first, 1800: first, 3600: first + 3600, 7200: first + 3600, 86400: first}
    assert {after: epoch("Oct 25 02:30:00", first + after) for after in asked} == asked
    assert (other(first), other(first + 3600)) == (first + 3600, first)
    assert other(first + 7200) is None
