"""Asks for all that explains why a network is dropped, or is not.

Nothing is changed, and nothing is read as a whole where it can be asked for by its key.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain, groupby
from typing import Final, ParamSpec, TypeVar

from attrs import field, frozen

from reconciler.asking import AskableBackend, Decision, Held
from reconciler.config.setup import Setup
from reconciler.errors import BackendUnreadable, describe, guarded
from reconciler.interfaces import Backend, Spec, WitnessSource
from reconciler.model import Answer, Ban, Connection, Observed
from reconciler.netlink import Missing, NetlinkError
from reconciler.netlink.sockdiag import (
    FIN_WAIT2,
    HOLDING,
    SYN_RECV,
    SYN_SENT,
    Sockets,
    TcpSocket,
)
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.passes import access, traces
from reconciler.passes.resident import Resident
from reconciler.passes.untaken import Untaken, untaken
from reconciler.passes.why import MOST, Exempting, Naming, OpenSocket, Standing, Why
from reconciler.planning.desired import collapse, subtract
from reconciler.store.bans import UNGUARDED
from reconciler.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")

_SOCKETS: Final = 10
_OPEN: Final = (*HOLDING, SYN_SENT, SYN_RECV, FIN_WAIT2)


@frozen(eq=False)
class Question:
    """Who asks: with which set-up and store, about which backends, beside which daemon."""

    setup: Setup
    store: Store
    now: int
    backends: Mapping[str, Callable[[], Backend]]
    resident: Resident | None = None
    open_sockets: Callable[[], Sockets] = field(default=Sockets)

    def ask(self, network: Network) -> Why:
        """Return why the network is dropped, or is not. Raise `TreasonError`."""
        traces.check_whitelist(self.setup, self.store)
        stored, read = self.store.lookup, self._read
        pending = self.resident.pending().meeting(network) if self.resident else NOTHING
        around, exempting = read(stored.around, network), [*self._exempting(network)]
        ignored = Networks.of(ban.network for ban in around if not self._counts(ban))
        feeds = read(self._feeds, network)
        fed = chain.from_iterable(each.group.networks for each in feeds if each.held)
        paused = self.store.attempt_to_read(partial(self.store.pauses.active, self.now))
        wanted = NOTHING if paused else self._wanted(network, [*pending, *fed], exempting)
        sockets, blind = self._sockets(network)
        return Why(
            network=network,
            now=self.now,
            observes=self.setup.config.policy.observes,
            around=around,
            inside=read(stored.inside, network, MOST + 1),
            ignored=ignored,
            feeds=feeds,
            untaken=read(self._untaken, network, feeds),
            exempting=tuple(exempting),
            wanted=wanted,
            pending=pending,
            rests=self.resident.resting() if self.resident else "",
            unasked=self.resident.silence if self.resident else "",
            standings=tuple(self._standing(name, network, wanted) for name in self.backends),
            offences=read(stored.offences, network, MOST),
            withheld=read(stored.withheld, network),
            doubted=read(stored.unconfirmed, network, MOST),
            endings=read(stored.endings, network, MOST),
            sockets=tuple(sockets),
            blind=blind,
            damage=tuple(self.store.damage),
            paused=paused,
        )

    def _read(
        self, look: Callable[P, Iterable[T]], *given: P.args, **more: P.kwargs
    ) -> tuple[T, ...]:
        """Return what is stored; nothing where it cannot be read, which `Store.damage` tells."""
        return tuple(self.store.attempt_to_read(partial(look, *given, **more)) or ())

    def _counts(self, ban: Ban) -> bool:
        allows = self.setup.config.treason.min_prefix.allows
        return ban.origin != UNGUARDED or allows(ban.network)

    def _exempting(self, network: Network) -> Iterable[Exempting]:
        clients = self._read(self.store.clients.active, self.now)
        banned = self._read(access.teredo, self.store, self.now) if network.version == 6 else ()
        protected = access.protection(self.setup, clients, banned)
        holding = [entry for entry in self.setup.whitelist if entry.holds(self.now)]
        for entries, listed in ((holding, True), (protected, False)):
            yield from (Exempting(x, listed) for x in entries if x.network.meets(network))

    def _feeds(self, network: Network) -> list[Naming]:
        """Return what feeds say of it."""
        found = self.store.feeds.meeting(network, self.now)
        return [Naming(feed, group) for feed, groups in found.items() for group in groups]

    def _untaken(self, network: Network, feeds: Iterable[Naming]) -> list[Untaken]:
        """Return what feeds say of it besides."""
        if not self.setup.feeds:
            return []
        taken: dict[str, Networks] = {}
        for each in feeds:
            taken[each.feed] = taken.get(each.feed, NOTHING) | each.group.networks
        states = self.store.feeds.states()
        return [*untaken(self.setup.feeds.values(), states, network, taken)]

    def _wanted(
        self, network: Network, besides: Iterable[Network], exempting: Iterable[Exempting]
    ) -> Networks:
        """Return the parts that are to be dropped: what is banned, without what is exempt."""
        banned = self._read(self._banned, network)
        exempt = collapse(each.entry.network for each in exempting)
        return subtract(_within(network, [*banned, *besides]), exempt)

    def _banned(self, network: Network) -> list[Network]:
        """Return the networks that are banned and share an address with it."""
        allows = self.setup.config.treason.min_prefix.allows
        if self.store.bans.holds(network, self.now, allows):
            return [network]
        untidy = self.store.bans.exceptions(self.now, allows).untidy
        inside = self.store.bans.inside(network, self.now)
        counting = [each for each, origin in inside if origin != UNGUARDED or allows(each)]
        return [*counting, *Networks.of(untidy).meeting(network)]

    def _standing(self, name: str, network: Network, wanted: Networks) -> Standing:
        plugin = self.setup.plugins.backends[Spec.parse(name).name]
        enforces = plugin.drops_packets
        asked: Callable[[], Held | str] = partial(_asked, self.backends[name], network)
        held = guarded(asked, lambda error: describe(error, name), name)
        if isinstance(held, str):
            return Standing(name, enforces, error=held)
        drops, doubtful = _evaluated(held.decisions, network)
        return Standing(
            backend=name,
            enforces=enforces,
            held=held,
            drops=drops,
            doubtful=doubtful,
            add=subtract(wanted, drops),
            remove=subtract(drops, wanted),
        )

    def _sockets(self, network: Network) -> tuple[list[OpenSocket], str]:
        """Return the open sockets, or why the kernel does not tell of them."""
        peers = [network] if network.is_host else []
        try:
            dumped = self.open_sockets().dump(states=_OPEN, peers=peers)
            found = [one for one in dumped if one.peer.meets(network)]
        except Missing:
            return [], "the kernel tells of no TCP sockets: modprobe tcp_diag"
        except NetlinkError as error:
            return [], str(error)
        shown = found[:_SOCKETS]
        ends = {_connection(one) for one in shown if one.state in HOLDING}
        answers = guarded(partial(self._judged, ends), lambda _: {}, "sockets") if ends else {}
        return [OpenSocket(one, answers.get(_connection(one))) for one in shown], ""

    def _judged(self, connections: set[Connection]) -> Mapping[Connection, Answer]:
        make, _configured = self.setup.witness()
        witness = make() if make else None
        return witness.confirm(connections) if isinstance(witness, WitnessSource) else {}


def _connection(one: TcpSocket) -> Connection:
    return Connection(one.peer, one.peer_port, one.local_port)


def _asked(make: Callable[[], Backend], network: Network) -> Held:
    """Ask a backend; one that cannot be asked so is read as a whole."""
    backend = make()
    if isinstance(backend, AskableBackend):
        return backend.holds(network)
    seen: Observed = backend.observe()
    flaws = [*map(str, (*seen.problems, *seen.damage))]
    lists = ((seen.passed or NOTHING, False), (seen.banned, True))
    if network.version not in seen.versions:
        raise BackendUnreadable(f"what it holds of IPv{network.version} cannot be read")
    return Held(
        [
            Decision(found, drops=drops, rule="its list")
            for networks, drops in lists
            if (found := networks.meeting(network))
        ],
        reached=None if flaws else True,
        unreached=flaws[0] if flaws else "",
        damage=seen.damage,
        problems=seen.problems,
    )


def _evaluated(decisions: Iterable[Decision], network: Network) -> tuple[Networks, Networks]:
    """Return the parts that are dropped, and those of which that cannot be told."""
    decided = doubtful = dropped = NOTHING
    for drops, several in groupby(decisions, key=lambda each: each.drops):
        inside = _within(network, chain.from_iterable(each.networks for each in several))
        left = subtract(inside, decided)
        if drops is None:
            doubtful = collapse(doubtful | left)
            continue
        decided = collapse(decided | inside)
        if drops:
            dropped |= left
    return subtract(collapse(dropped), doubtful), doubtful


def _within(network: Network, others: Iterable[Network]) -> Networks:
    """Return what the others, which share an address with the network, have of it."""
    return collapse(max(network, each) for each in others)  # of two that meet, the narrower one
