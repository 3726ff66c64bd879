"""One offender's line in a log until the kernel drops its packets: everybody who waits for it.

All are watched in the same way, by the kernel's own events. Between two lines passes a time by
chance, since those that poll are found at any moment of their pause.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Final

from bench.inputs import more
from bench.life import life
from bench.measure import Sample
from bench.peers import Peer
from bench.peers.crowdsec import Engine
from bench.peers.fail2ban import Fail2ban
from bench.peers.resident import Floor, Resident
from bench.results import Key, Series
from bench.run import Bench, Subject
from bench.station import Station
from reconciler.errors import TreasonError

ONE: Final = "one offender, all that wait"
TREASON: Final = "treason run"
FLOOR: Final = "no more than a commit"
FAIL2BAN: Final = "fail2ban"
_SELDOM: Final = "crowdsec, each 10 s"
_OURS: Final[dict[str, Callable[[Station], Peer]]] = {FLOOR: Floor, TREASON: Resident}
_PEERS: Final[dict[str, Callable[[Station], Peer]]] = {
    FAIL2BAN: Fail2ban,
    "fail2ban, polling": partial(Fail2ban, backend="polling"),
    "crowdsec, each 100 ms": partial(Engine, update="100ms"),
    _SELDOM: partial(Engine, update="10s"),
}
"""How often crowdsec's bouncer asks stands behind its name: 10 s as it is packaged. Less than
100 ms gains nothing, as the engine itself hands over once a second."""

REST: Final = "at rest for a minute"
_QUIET, _REST = 15.0, 60.0
"""Seconds until all have done what the last offenders left to do, and those that are measured."""

_SIZE: Final = 1
_ROUNDS, _APART = 21, 1.0
_SELDOM_ROUNDS, _SELDOM_APART = 7, 10.0
"""How many lines each gets, and for how many seconds at most before each nothing happens."""


def measure(bench: Bench) -> None:
    """Let all take turns, those that ask seldom after the others; of a quick run only ours."""
    with ExitStack() as stack:
        standing = dict(_standing(bench, stack, _OURS if bench.quick else {**_OURS, **_PEERS}))
        tell = partial(_tell, count(), random.Random(20260101))  # noqa: S311 - no secrets
        apart = 0.05 if bench.quick else _APART
        often = [_subject(*each, tell, apart) for each in standing.items() if each[0] != _SELDOM]
        bench.compare(ONE, often, rounds=_ROUNDS, seconds=300)
        if _SELDOM in standing:
            seldom = _subject(_SELDOM, standing[_SELDOM], tell, _SELDOM_APART)
            bench.compare(ONE, [seldom], rounds=_SELDOM_ROUNDS, seconds=300)
        if not bench.quick:
            _rest(bench, standing)


def _subject(name: str, peer: Peer, tell: Callable[[Peer, float], Sample], apart: float) -> Subject:
    against = (FLOOR if name == TREASON else TREASON, _SIZE)
    turn = partial(tell, peer, apart)
    return Subject(name, _SIZE, turn, None if name == FLOOR else against)


def _rest(bench: Bench, standing: Mapping[str, Peer]) -> None:
    """Let all rest at the same time; measure what each keeps, and how often it wakes."""
    bench.tell(f"{REST}: {_QUIET + _REST:.0f} s")
    time.sleep(_QUIET)
    before = {name: [*map(life, peer.pids())] for name, peer in standing.items()}
    time.sleep(_REST)
    for name, peer in standing.items():
        samples = [
            {
                "cpu": after.cpu - then.cpu,
                "wakes": after.wakes - then.wakes,
                "memory": after.memory,
            }
            for then, after in zip(before[name], map(life, peer.pids()), strict=True)
        ]
        total = {measure: sum(each[measure] for each in samples) for measure in samples[0]}
        against = None if name == TREASON else Key(REST, TREASON, _SIZE)
        bench.results.add(Series(Key(REST, name, _SIZE), [total], against))


def _standing(
    bench: Bench, stack: ExitStack, makers: Mapping[str, Callable[[Station], Peer]]
) -> Iterator[tuple[str, Peer]]:
    """Start everybody, and let each ban somebody, as the first may take longer."""
    for number, (name, make) in enumerate(makers.items()):
        peer = make(stack.enter_context(Station(bench.directory)))
        stack.callback(peer.close)
        try:
            peer.start()
            peer.ban(more(60_000 + number, 1))
        except TreasonError as error:
            bench.note(f"{ONE}: {name}: {error}")
        else:
            yield name, peer


def _tell(fresh: Iterator[int], chance: random.Random, peer: Peer, apart: float) -> Sample:
    time.sleep(chance.uniform(0, apart))
    return peer.ban(more(next(fresh), 1))
