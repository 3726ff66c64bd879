"""The bars of the fleet, and its guard of the quick run."""

from typing import Final

from attrs import evolve

from bench.bar import Bar
from bench.results import Key

_TREASON: Final = "treason"
_NINE: Final = "treason, nine of ten"
_ONE: Final = "a ban on one host, dropped on another"
_ALL: Final = "a ban known to a thousand members"
_NEW: Final = "all bans of a fleet to a new member's kernel"
_AWAY: Final = "caught up after PostgreSQL was away"
_FLOOR: Final = Bar(
    "the same, to the least: insert, notify, select and a commit",
    15,
    Key(_ONE, _TREASON, 1),
    Key(_ONE, "insert, notify, select and a commit", 1),
)


def _new(work: str, subject: str) -> Bar:
    return Bar(work, 12, Key(_NEW, subject, 1_000_000), suffix=" s")


def _away(work: str, limit: float, measure: str = "wall", suffix: str = "") -> Bar:
    return Bar(work, limit, Key(_AWAY, _TREASON, 10_000), measure=measure, suffix=suffix)


BARS: Final = (
    Bar(_ONE, 15, Key(_ONE, _TREASON, 1), unit=1e-3, suffix=" ms"),
    Bar(f"{_ONE}: nine of ten", 60, Key(_ONE, _NINE, 1), unit=1e-3, suffix=" ms"),
    _FLOOR,
    Bar("a ban, known to the last of 1,000 members", 1, Key(_ALL, _TREASON, 1_000), suffix=" s"),
    _new("1,000,000 bans of 1,000 members to a new member's kernel, verified", _TREASON),
    _new("the same of 10 members", "treason, 10 members"),
    Bar(
        "the memory of its pass, to that with as many bans of its own",
        1.25,
        Key(_NEW, _TREASON, 1_000_000),
        Key(_NEW, "treason, bans of its own", 1_000_000),
        measure="memory",
    ),
    _away("10,000 bans while PostgreSQL was away: all in force on another host", 2, suffix=" s"),
    _away("of these, lost", 0, "lost"),
    _away("of these, twice in the database", 0, "doubled"),
)

GUARDS: Final = (evolve(_FLOOR, limit=5 * _FLOOR.limit),)
