"""Whom the kernel has told of: looked at now and then, until a read is worth while.

All of it is in memory, and bounded. What is judged, and kept, is the reader's (`source`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Final, NamedTuple, Protocol

from attrs import define, evolve, field

from reconciler import Network, Suspect
from reconciler.netlink import NetlinkError, Sockets, TcpSocket
from sources.sockets import suspicion
from sources.sockets.suspicion import ANEW, RULE

MOST: Final = 4096
"""Candidates that are held; of more the kernel's own brake knows nothing either."""

_SOON: Final = 0.005
"""Seconds between what the kernel tells and the first look: what a packet clears, is cleared."""

_AGAIN: Final = 10.0
"""Seconds for which what is settled is not looked at, however often the kernel tells of it."""

_ASIDE: Final = 60.0
"""Seconds for which it is left alone if it is none to be judged, as an own connection."""

_SILENT: Final = 150.0
"""Seconds after which the kernel would have told of it again: it waits 120 s at most
(TCP_RTO_MAX)."""

_AT_ONCE: Final = 100
"""Looks in one go, of some 20 µs each: whoever waits for the loop does not wait for long."""

_PAUSE: Final = 0.01
"""Seconds between two such goes."""

_BURST, _RATE = 4000.0, 400.0
"""Looks that may follow each other so, and how many each second in the long run."""


class Told(Protocol):
    """What the kernel tells of a socket."""

    @property
    def local(self) -> Network:
        """The machine's own address."""

    @property
    def local_port(self) -> int:
        """The machine's own port."""

    @property
    def peer(self) -> Network:
        """The peer's address."""

    @property
    def peer_port(self) -> int:
        """The peer's port."""

    @property
    def interface(self) -> int:
        """The index of the device that it is bound to; 0: none."""


class Where(NamedTuple):
    """What a socket is found by."""

    local: Network
    local_port: int
    peer: Network
    peer_port: int
    interface: int


@define(eq=False)
class Candidate:
    """A socket that the kernel has told of, or that a list has shown.

    Times are seconds of the reader's clock: when the kernel told of it last, when it is ``due`` for
    a look, until when nothing follows from looks.
    """

    where: Where
    heard: float
    due: float = inf
    suspect: Suspect | None = None
    settled: float = 0.0


@define(eq=False)
class Candidates:
    """Looks at candidates three times within ``lasting`` seconds; those that stay so are ripe.

    Only sockets of the local ``ports`` are (none: all). ``full`` says that there were more than are
    held, so that nobody knows of some.
    """

    lasting: float
    ports: Collection[int] = ()
    full: bool = field(default=False, init=False)
    ripe: dict[Where, Candidate] = field(factory=dict, init=False)
    _held: dict[Where, Candidate] = field(factory=dict, init=False)
    _times: list[tuple[float, int, Candidate]] = field(factory=list, init=False)
    _numbers: Iterator[int] = field(factory=count, init=False)
    _looks: float = field(default=_BURST, init=False)
    _filled: float = field(default=0.0, init=False)
    _sifted: float = field(default=0.0, init=False)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def times(self) -> int:
        """How many times are kept at which somebody is, or was, to be looked at."""
        return len(self._times)

    def hear(self, told: Iterable[Told], now: float) -> None:
        """Take what the kernel tells."""
        for one in told:
            where = Where(one.local, one.local_port, one.peer, one.peer_port, one.interface)
            known = self._held.get(where)
            if known is not None:
                again = known.heard + _AGAIN <= now
                if known.settled and again:
                    self._at(known, now + _SOON)
                if again or not known.settled:
                    known.heard = now
            elif self._is_meant(where) and self._has_room(now):
                self._hold(Candidate(where, now), now + _SOON)

    def adopt(self, suspects: Iterable[Suspect], now: float) -> None:
        """Take what a list has shown; what is judged may turn out not to be stored (`recall`)."""
        for suspect in sorted(suspects, key=lambda each: each.judged):
            one = suspicion.named(suspect.thing)
            interface = int.from_bytes(one.identity[36:40], "little")
            where = Where(one.local, one.local_port, one.peer, one.peer_port, interface)
            known = self._held.get(where)
            if known is not None and known.suspect is not None:
                continue
            if known is None:
                if not self._has_room(now):
                    return
                known = Candidate(where, now)
                self._held[where] = known
            known.suspect = suspect
            if suspect.judged:
                known.settled, known.due = suspect.since + ANEW, inf
            else:
                self._at(known, max(now, suspect.since + self.lasting))

    def look(self, sockets: Callable[[], Sockets], now: float) -> None:
        """Look at those that are due. Raise `NetlinkError`; the one it was about stays due."""
        self._looks = min(_BURST, self._looks + _RATE * (now - self._filled))
        self._filled = now
        left = min(_AT_ONCE, int(self._looks))
        while left and (each := self._next(now)) is not None:
            left -= 1
            self._looks -= 1
            try:
                self._look_at(each, sockets(), now)
            except NetlinkError:
                self._at(each, now)
                raise

    def wait(self, now: float) -> float:
        """Return after how many seconds the next one is to be looked at; inf: none is."""
        while self._times and self._times[0][2].due != self._times[0][0]:
            heappop(self._times)
        if not self._times:
            return inf
        due = self._times[0][0] - now
        if due > 0:
            return due
        return _PAUSE if self._looks >= 1 else _AT_ONCE / _RATE

    def worth_a_look(self) -> list[Candidate]:
        """Return the ripe ones, with the others of the same peers: company is judged together."""
        if not self.ripe:
            return []
        peers = {each.where.peer for each in self.ripe.values()}
        return [each for each in self.seen() if each.where.peer in peers]

    def seen(self) -> Iterator[Candidate]:
        """Yield those that were found so, and are not settled."""
        return (each for each in [*self._held.values()] if each.suspect and not each.settled)

    def known(self) -> dict[str, Suspect]:
        """Return what is suspected, by the names of the sockets."""
        return {each.suspect.thing: each.suspect for each in self.seen() if each.suspect}

    def settle(
        self,
        looked: Iterable[Candidate],
        found: Mapping[str, Suspect],
        aside: Collection[str],
        now: float,
    ) -> None:
        """Take what a read has ``found`` of those that it looked at, and which it put ``aside``."""
        for each in looked:
            if self._held.get(each.where) is not each:  # dropped meanwhile; another may be there
                continue
            self.ripe.pop(each.where, None)
            thing = each.suspect.thing if each.suspect else ""
            suspect = found.get(thing)
            if suspect is not None and not suspect.judged:
                each.suspect = suspect
                self._at(each, max(now + self.lasting / 2, suspect.since + self.lasting))
            elif suspect is not None:
                each.suspect, each.due = suspect, inf
                each.settled = suspect.since + ANEW
            elif thing in aside:
                each.settled, each.due = now + _ASIDE, inf
            else:  # the window is open, or it is gone
                self._drop(each)

    def recall(self, stored: Mapping[str, Suspect]) -> None:
        """Take what is ``stored``: what is not judged there is not settled."""
        for each in self._held.values():
            if each.suspect and each.suspect.judged:
                known = stored.get(each.suspect.thing)
                if known is None or not known.judged:
                    each.suspect, each.settled = evolve(each.suspect, judged=False), 0.0
                    self.ripe[each.where] = each

    def forget(self) -> None:
        """Forget all of them."""
        self._held.clear()
        self._times.clear()
        self.ripe.clear()
        self.full = False

    def _is_meant(self, where: Where) -> bool:
        if self.ports and where.local_port not in self.ports:
            return False
        return not suspicion.is_loopback(where.peer)

    def _has_room(self, now: float) -> bool:
        """Whether one more can be held; those that the kernel tells of no more make room."""
        if len(self._held) >= MOST and self._sifted + 1 <= now:
            self._sifted = now
            for each in [*self._held.values()]:
                if each.settled and each.heard + _SILENT < now:
                    self._drop(each)
        self.full = len(self._held) >= MOST
        return not self.full

    def _hold(self, each: Candidate, due: float) -> None:
        self._held[each.where] = each
        self._at(each, due)

    def _drop(self, each: Candidate) -> None:
        each.due = inf
        self._held.pop(each.where, None)
        self.ripe.pop(each.where, None)

    def _at(self, each: Candidate, due: float) -> None:
        each.due = due
        heappush(self._times, (due, next(self._numbers), each))
        if len(self._times) > 4 * MOST:  # most of these were dropped, or are due at another time
            self._times = [one for one in self._times if one[2].due == one[0]]
            heapify(self._times)

    def _next(self, now: float) -> Candidate | None:
        """Return one that is due, once."""
        while self._times and self._times[0][0] <= now:
            due, _, each = heappop(self._times)
            if each.due == due:
                each.due = inf
                return each
        return None

    def _look_at(self, each: Candidate, sockets: Sockets, now: float) -> None:
        one = _found(sockets, each)
        if one is None or not one.is_over:
            self._drop(each)
            return
        same = each.suspect is not None and each.suspect.thing == suspicion.name_of(one)
        if each.settled and same and now < each.settled:
            return
        each.settled = 0.0
        known = each.suspect if same else None
        each.suspect = suspicion.suspected(one, RULE, now, known, looks=1)
        seconds = max(now - each.suspect.since, one.waited)
        if suspicion.open_because(each.suspect, seconds, self.lasting, one.waited):
            half, whole = self.lasting / 2, self.lasting
            left = [each.suspect.since + span for span in (half, whole)]
            self._at(each, min((due for due in left if due > now), default=now + half))
        else:
            self.ripe[each.where] = each


def _found(sockets: Sockets, each: Candidate) -> TcpSocket | None:
    where = each.where
    ends = where.local, where.local_port, where.peer, where.peer_port
    return sockets.find(*ends, interface=where.interface)
