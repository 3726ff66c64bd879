"""From log line to kernel: treason, the script that it replaces, and its peers.

Each reads the messages in a shape that it understands; crowdsec is handed decisions instead. How
soon those that wait drop a single offender is measured by `offender`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import Final, TypeVar

from bench.inputs import addresses, more
from bench.measure import Sample
from bench.peers import Peer
from bench.peers.crowdsec import Crowdsec
from bench.peers.fail2ban import Fail2ban
from bench.peers.scripts import Original, Treason
from bench.run import Bench, Subject
from bench.station import Station

Maker = Callable[[Station], Peer]
P = TypeVar("P", bound=Peer)

WORK = "from log to kernel"
AGAIN = "the same log again"
ONE = "one offender, a pass"
TREASON: Final = "treason"
_SCRIPTS: Final[dict[str, Callable[[Station], Treason | Original]]] = {
    TREASON: Treason,
    "original script, iptables-nft": partial(Original, variant="nft"),
    "original script, iptables-legacy": partial(Original, variant="legacy"),
}
_DAEMONS: Final[dict[str, Maker]] = {"fail2ban": Fail2ban, "crowdsec": Crowdsec}
_STANDING: Final = 1_000
"""How many are banned when one more comes."""


def measure(bench: Bench) -> None:
    """From nothing; then again, and one more, on top of what is in force."""
    everybody: dict[str, Maker] = {**_SCRIPTS, **_DAEMONS}
    for size in (10, _STANDING):
        _compare(bench, everybody, size, 150)
    _compare(bench, {TREASON: Treason, **_DAEMONS}, 5_000, 50)
    with ExitStack() as stack:
        scripts = {
            name: stack.enter_context(_started(bench, make)) for name, make in _SCRIPTS.items()
        }
        for script in scripts.values():
            script.ban(addresses(_STANDING))
        subjects = [_subject(name, _STANDING, peer.again) for name, peer in scripts.items()]
        bench.compare(AGAIN, subjects, rounds=3)
        fresh = count()
        subjects = [
            _subject(name, _STANDING, partial(_ban_one, script, fresh))
            for name, script in scripts.items()
        ]
        bench.compare(ONE, subjects, rounds=7)


def _compare(bench: Bench, peers: Mapping[str, Maker], size: int, seconds: float) -> None:
    subjects = [
        _subject(name, size, partial(_from_nothing, bench, make, size))
        for name, make in peers.items()
    ]
    bench.compare(WORK, subjects, rounds=3, seconds=seconds)


def _ban_one(peer: Peer, fresh: Iterator[int]) -> Sample:
    return peer.ban(more(next(fresh), 1))


def _subject(name: str, size: int, turn: Callable[[], Sample]) -> Subject:
    return Subject(name, size, turn, None if name == TREASON else (TREASON, size))


def _from_nothing(bench: Bench, make: Maker, size: int) -> Sample:
    with _started(bench, make) as peer:
        return peer.ban(addresses(size))


@contextmanager
def _started(bench: Bench, make: Callable[[Station], P]) -> Iterator[P]:
    with Station(bench.directory) as station:
        peer = make(station)
        try:
            peer.start()
            yield peer
        finally:
            peer.close()
