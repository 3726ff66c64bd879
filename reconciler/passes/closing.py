"""Close the connections of peers whose drop was verified: a drop alone leaves them their memory.

Each is looked at again by its cookie right before it is closed. Nobody exempt is touched, nor a
socket that listens or only waits for its time to be over, nor another network namespace.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Final

from attrs import define, field, frozen

from reconciler.config.tables import Config
from reconciler.host import clock, orphans
from reconciler.lines import counted
from reconciler.log import Log
from reconciler.model import Closing, Ground
from reconciler.netlink import Missing, NetlinkError, NotPermitted, addresses
from reconciler.netlink.sockdiag import (
    FIN_WAIT2,
    HOLDING,
    SYN_RECV,
    SYN_SENT,
    Sockets,
    TcpSocket,
)
from reconciler.network import Network
from reconciler.networks import Networks, covered
from reconciler.store.store import Store

FOLLOWED: Final = 1800
"""Seconds for which connections of a banned peer are looked for: a server may write late."""

_CONNECTED: Final = (*HOLDING, SYN_SENT, SYN_RECV, FIN_WAIT2)
_TIME_WAIT: Final = 3  # the timer of one that only waits, which also stands for FIN_WAIT2
_RANKS: Final = (Ground.SPARED, Ground.TOLD, Ground.SEEN, Ground.EVERY)
"""What closes more comes later."""
_APART: Final = 0.005
"""Seconds between two looks at a connection of a peer that is not banned."""

_IMMORTAL: Final = "closed by the server already: this kernel would keep them for ever"
_UNTRIED: Final = (
    "closed by the server already: no loopback connection could be made to try whether this kernel"
    " ends them (the service may, if its unit is made with the source sockets)"
)
_LOOPBACKS: Final = Networks.of(map(Network.parse, ("127.0.0.0/8", "::1")))
_log = Log("closing")


@frozen
class Closed:
    """The connections of a network that were closed, and the bytes of kernel memory they held."""

    network: Network
    connections: int
    memory: int

    def __str__(self) -> str:
        return f"{counted(self.connections, 'connection')}, {counted(self.memory, 'byte')}"


@frozen
class ClosingResult:
    """What was closed; ``notes`` tell what was left, and why."""

    closed: tuple[Closed, ...] = ()
    notes: tuple[str, ...] = ()


def allowed(config: Config, closing: Closing) -> bool:
    """Whether the configuration lets these connections be closed."""
    by_hand = closing.ground is Ground.EVERY
    return not config.policy.observes and (config.treason.close_connections or by_hand)


@define(eq=False)
class Closer:
    """Closes what is expected, as far as it may.

    Peers of ``versions`` (4, 6) are verifiably dropped; ``exempt`` (collapsed) are never touched.
    What the configuration does not allow is not made up for later. Where nothing can be stored,
    ``write`` is False.
    """

    store: Store
    now: int
    versions: Collection[int]
    exempt: Networks
    allows: Callable[[Closing], bool] = bool
    write: bool = True
    open_sockets: Callable[[], Sockets] = Sockets
    pause: Callable[[float], None] = time.sleep
    _notes: Counter[str] = field(factory=Counter, init=False)
    _gone: defaultdict[Network, list[int]] = field(factory=lambda: defaultdict(list), init=False)

    def close(self, expected: Iterable[Closing]) -> ClosingResult:
        """Close what is expected, and settle it; what cannot be closed yet is expected on."""
        every = [*expected]
        banned = self.store.bans.ends({each.network for each in every}, self.now)
        wanted = [
            each
            for each in every
            if self.allows(each) and (each.ground is Ground.SPARED or each.network in banned)
        ]
        ready = [each for each in wanted if self._is_dropped(each)]
        settled = [*filter(self._is_over, ready), *({*every} - {*wanted})]
        refused = []
        try:
            if ready:
                self._close(_Targets.of(ready))
        except NetlinkError as error:
            settled, refused = [], [_refused(error)]
        result = self._result(*refused)
        if self.write and (settled or result.closed):
            self.store.attempt(lambda: self._settle(settled, result.closed))
        return result

    def _settle(self, settled: Iterable[Closing], closed: Iterable[Closed]) -> None:
        with self.store.transaction():
            self.store.closings.settle(settled)
            self.store.closings.note([(each.network, str(each)) for each in closed], self.now)

    def _is_dropped(self, each: Closing) -> bool:
        return each.ground is Ground.SPARED or each.network.version in self.versions

    def _is_over(self, each: Closing) -> bool:
        return each.ground is Ground.SPARED or not 0 <= self.now - each.since < FOLLOWED

    def _close(self, targets: "_Targets") -> None:
        """Look at every connection once, and close those of the targets."""
        sockets = self.open_sockets()
        own = frozenset(addresses())
        by_closing: defaultdict[Closing, list[TcpSocket]] = defaultdict(list)
        for one in _dumped(sockets, _CONNECTED if targets.every else HOLDING, targets.peers):
            peer = one.peer
            closing = targets.of_peer(peer)
            if closing is None or one.timer == _TIME_WAIT or peer in own:
                continue
            if not (covered(peer, _LOOPBACKS) or covered(peer, self.exempt)):
                by_closing[closing].append(one)
        if any(each.ground is Ground.SPARED for each in by_closing):
            self.pause(_APART)
        ends = cache(partial(self._orphans_end, sockets))
        for closing, found in by_closing.items():
            for one in self._due(sockets, closing.ground, found):
                if orphans.is_orphan(one) and not ends():
                    self._notes[_UNTRIED if ends() is None else _IMMORTAL] += 1
                elif sockets.destroy(one):
                    _log.debug("closed %s:%d", one.peer, one.peer_port)
                    self._gone[closing.network].append(one.memory)

    def _due(
        self, sockets: Sockets, ground: Ground, found: Iterable[TcpSocket]
    ) -> Iterator[TcpSocket]:
        """Yield those that are to be closed, as they are at a second look."""
        looks = [(one, sockets.exact(one)) for one in found]
        again = [
            (before, one) for before, one in looks if one is not None and _is_same(before, one)
        ]
        if ground is Ground.TOLD and not any(one.is_over and one.waited for _, one in again):
            return
        for before, one in again:
            if ground is Ground.SPARED:
                due = before.is_over and one.is_over
            else:
                due = ground is Ground.EVERY or one.unacknowledged > 0
            if due:
                yield one

    def _orphans_end(self, sockets: Sockets) -> bool | None:
        """Return whether this kernel ends orphans, None if that cannot be tried; once in a boot."""
        boot = clock.look().boot
        known = self.store.closings.orphans_end(boot)
        if known is None:
            tried = orphans.end(sockets)
            if tried is not None and self.write:
                self.store.attempt(
                    lambda: self.store.closings.remember_probe(boot, orphans_end=tried)
                )
            known = tried
        return known

    def _result(self, *notes: str) -> ClosingResult:
        closed = [
            Closed(network, len(memory), sum(memory))
            for network, memory in sorted(self._gone.items())
        ]
        left = [
            f"{counted(number, 'connection')} left, {why}" for why, number in self._notes.items()
        ]
        return ClosingResult(tuple(closed), (*left, *notes))


@frozen(eq=False)
class _Targets:
    """What is expected, found by a peer's address."""

    rows: Mapping[Network, Closing]
    lengths: Mapping[int, Collection[int]]
    every: bool

    @classmethod
    def of(cls, closings: Iterable[Closing]) -> "_Targets":
        """Keep of each network the ground that closes most."""
        rows = {each.network: each for each in sorted(closings, key=_rank)}
        lengths: dict[int, set[int]] = {4: set(), 6: set()}
        for network in rows:
            lengths[network.version].add(network.length)
        every = any(each.ground is Ground.EVERY for each in rows.values())
        return cls(rows, {version: sorted(found) for version, found in lengths.items()}, every)

    @property
    def peers(self) -> Collection[Network]:
        """The peers, where each is a single address; else none, which stands for any."""
        return self.rows if all(network.is_host for network in self.rows) else ()

    def of_peer(self, peer: Network) -> Closing | None:
        """Return what closes most of all that is expected of the networks that hold a peer."""
        found = []
        for length in self.lengths[peer.version]:
            spare = peer.bits - length
            network = Network.of(peer.version, peer.address >> spare << spare, length)
            found += [self.rows[network]] if network in self.rows else []
        return max(found, key=_rank, default=None)


def _rank(closing: Closing) -> int:
    return _RANKS.index(closing.ground)


def _dumped(
    sockets: Sockets, states: Sequence[int], peers: Collection[Network]
) -> Iterator[TcpSocket]:
    try:
        yield from sockets.dump(states=states, peers=peers)
    except Missing as error:
        raise NetlinkError(error.code, "it tells of no TCP sockets", "modprobe tcp_diag") from None


def _is_same(before: TcpSocket, one: TcpSocket) -> bool:
    """Whether it is the same connection, and still one."""
    return before.identity == one.identity and one.state in _CONNECTED and one.timer != _TIME_WAIT


def _refused(error: NetlinkError) -> str:
    """Return why nothing more could be closed."""
    if isinstance(error, NotPermitted):
        return f"connections were not closed: {error.what}; {error.hint}"
    hint = error.hint or "it needs CONFIG_INET_DIAG_DESTROY; [treason] close_connections = false"
    return f"connections were not closed, this kernel refuses it: {error.what}; {hint}"
