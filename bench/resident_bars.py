"""The bars of the daemon and of its reflexes, and their guards of the quick run."""

from typing import Final

from attrs import evolve

from bench.bar import Bar
from bench.results import Key

_TREASON: Final = "treason"


def _restored(size: int, limit: float) -> Bar:
    work = "a set flushed by others"
    keys = Key(work, _TREASON, size), Key(work, "plain netlink load", size)
    return Bar(f"{size:,} bans, flushed by others, restored, to the plain load", limit, *keys)


def _damaged(work: str, limit: float, size: int = 1_000) -> Bar:
    key = Key(work, _TREASON, size)
    return Bar(f"{work}, {size:,} bans: restored", limit, key, unit=1e-3, suffix=" ms")


_REFLEXES: Final = (
    _damaged("a set flushed by others", 1, 100),
    *(
        _damaged(work, 10)
        for work in ("a chain emptied", "an accept inserted", "a table dormant", "a table deleted")
    ),
    Bar(
        "one ban more by reflex, beside 1,000",
        0.2,
        Key("one ban by reflex", _TREASON, 1_000),
        unit=1e-3,
        suffix=" ms",
    ),
    Bar(
        "1,000 commits a second in other tables: times that the reflexes wake",
        0,
        Key("commits elsewhere", _TREASON, 1_000),
        measure="wakes",
    ),
)


def _memory(size: int, limit: float) -> Bar:
    key = Key("ready after start", _TREASON, size)
    name = f"an idle daemon with {size:,} bans: resident memory"
    return Bar(name, limit, key, measure="memory", unit=1e6, suffix=" MB")


def _told(work: str, limit: float) -> Bar:
    return Bar(work, limit, Key(work, _TREASON, 10), unit=1e-3, suffix=" ms")


_APPENDED: Final = "from a line appended to an element in force"
_RESIDENT: Final = (
    _told("from a kernel message to an element in force", 3),
    _told(_APPENDED, 1),
    Bar(
        f"{_APPENDED}, beside 1,000,000 bans, to 10",
        1.3,
        Key(_APPENDED, _TREASON, 1_000_000),
        Key(_APPENDED, _TREASON, 10),
    ),
    Bar(
        f"{_APPENDED}, each commit 500 ms slower, to none slower",
        1.3,
        Key(_APPENDED, "each commit 500 ms slower", 10),
        Key(_APPENDED, _TREASON, 10),
    ),
    Bar(
        "10,000 offenders in a second: all in force after the last line",
        1,
        Key("10,000 offenders in a second", _TREASON, 10_000),
        suffix=" s",
    ),
    Bar(
        "an idle daemon: wake-ups in a minute",
        0,
        Key("at rest for a minute", "treason run", 1),
        measure="wakes",
    ),
    _memory(10, 22),
    _memory(100_000, 30),
    _memory(1_000_000, 60),
    Bar(
        "ready after start, 1,000,000 bans in force already",
        0.3,
        Key("ready after start", _TREASON, 1_000_000),
        suffix=" s",
    ),
)

_PEER: Final = Bar(
    "one offender, from a line in a log to the drop: fail2ban to treason",
    130,
    Key("one offender, all that wait", "fail2ban", 1),
    Key("one offender, all that wait", "treason run", 1),
    least=True,
)
_FLOOR: Final = Bar(
    "the same, to a program that does no more than commit the element",
    5,
    Key("one offender, all that wait", "treason run", 1),
    Key("one offender, all that wait", "no more than a commit", 1),
)
_FIGHT: Final = "a fight for ten seconds"


def _listener(who: str, limit: float) -> Bar:
    work = "bulk load beside a daemon"
    keys = Key(work, who, 100_000), Key(work, "no daemon", 100_000)
    return Bar(f"others load 100,000 elements by `nft -f` beside a daemon, {who}", limit, *keys)


def _fought(size: int) -> tuple[Bar, ...]:
    key, work = Key(_FIGHT, _TREASON, size), f"{size:,} bans flushed 100 times a second for 10 s"
    return (
        Bar(f"{work}: share of a core", 20, key, measure="cpu", unit=0.01, suffix=" %"),
        Bar(f"{work}: restored after the last flush", 1, key, suffix=" s"),
        Bar(f"{work}: `status` names it", 1, key, measure="named", least=True),
    )


_LISTENERS: Final = (_listener("events = false", 1.05), *_fought(100), *_fought(10_000))


def _endured(size: int, measure: str, limit: float) -> Bar:
    work = "a daemon that goes on"
    name = f"{measure} after {size:,} offences and {size // 10:,} repairs, to after 1,000"
    return Bar(name, limit, Key(work, _TREASON, size), Key(work, _TREASON, 1_000), measure)


_ENDURED: Final = (_endured(1_000_000, "memory", 1.1), _endured(1_000_000, "descriptors", 1))

BARS: Final = (
    *_REFLEXES,
    *_RESIDENT,
    _restored(100_000, 1.3),
    _restored(1_000_000, 1.3),
    _PEER,
    _FLOOR,
    *_LISTENERS,
    *_ENDURED,
)

GUARDS: Final = (
    *(evolve(bar, limit=5 * bar.limit) for bar in _REFLEXES),
    *(evolve(bar, limit=1.3 * bar.limit) for bar in (_memory(10, 22), _memory(100_000, 30))),
    evolve(_told(_APPENDED, 1), limit=20),
    evolve(_FLOOR, limit=5 * _FLOOR.limit),
    *(evolve(bar, limit=bar.limit if bar.least else 3 * bar.limit) for bar in _fought(100)),
    _endured(20_000, "memory", 1.25),
    _endured(20_000, "descriptors", 1),
    _restored(100_000, 2.6),
    evolve(_restored(100_000, 2.6), measure="cpu"),  # a busy machine adds to the waits of two
)
