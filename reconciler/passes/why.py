"""Why a network is dropped, or is not: what is stored, what exempts it, what the backends hold now.

`reconciler.passes.question` asks for all that.
"""

from enum import Enum
from functools import cached_property
from itertools import chain
from typing import Final

from attrs import frozen

from reconciler.asking import Decision, Held
from reconciler.feeding import HELD, FeedGroup
from reconciler.model import Answer, Ban, Offence
from reconciler.netlink.sockdiag import TcpSocket
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.passes.untaken import Untaken
from reconciler.planning.desired import collapse, subtract
from reconciler.planning.whitelist import Exemption
from reconciler.store.history import Event
from reconciler.store.listing import FEED
from reconciler.store.pauses import Pause
from reconciler.store.unconfirmed import Doubted
from reconciler.store.withheld import WithheldBan

MOST: Final = 5
"""How many of a kind are told: bans inside, networks of feeds, offences, messages, earlier bans."""


class Verdict(Enum):
    """What becomes of packets from a network on this machine."""

    DROPPED = "dropped"
    PASSED = "passed"
    PARTLY = "in part"
    UNKNOWN = "unknown"


@frozen
class Exempting:
    """An entry that exempts the network, or a part of it; ``listed``: by the whitelist."""

    entry: Exemption
    listed: bool


@frozen(eq=False)
class Naming:
    """What a feed says of the network: a group, with those of its networks that meet it."""

    feed: str
    group: FeedGroup

    @property
    def held(self) -> bool:
        """Whether it is to be dropped because of that."""
        return self.group.state == HELD

    def around(self, network: Network) -> list[Ban]:
        """Return what bans all of the network, the widest first."""
        group = self.group
        return [
            Ban(each, group.since, group.until, f"{FEED}{self.feed}", group.reason)
            for each in (*network.supernets, network)
            if each in group.networks
        ]


@frozen(eq=False)
class Standing:
    """What a backend holds of the network, and what the next pass will change of that.

    ``drops`` are the parts that its rules drop, ``doubtful`` those of which that cannot be told,
    if packets come to the rules. ``enforces`` says that this machine takes no packet from what it
    holds. ``error`` is why it could not be asked. ``add`` and ``remove`` are for the next pass.
    """

    backend: str
    enforces: bool
    held: Held | None = None
    drops: Networks = NOTHING
    doubtful: Networks = NOTHING
    error: str = ""
    add: Networks = NOTHING
    remove: Networks = NOTHING

    @property
    def dropped(self) -> Networks:
        """The parts whose packets are dropped, for certain."""
        return self.drops if self.enforces and self.held and self.held.reached else NOTHING

    @property
    def unclear(self) -> Networks:
        """The parts whose packets are dropped perhaps, or only on some ways."""
        if not self.enforces or self.held is None or self.held.reached is False:
            return NOTHING
        return self.doubtful if self.held.reached else self.doubtful | self.drops

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The rules that concern the network, in their order."""
        return self.held.decisions if self.held else ()


@frozen(eq=False)
class OpenSocket:
    """A socket whose far end is in the network, and what the source that judges says of it."""

    socket: TcpSocket
    answer: Answer | None = None


@frozen(eq=False, slots=False)
class Why:
    """All that explains what becomes of packets from a network, as it is ``now`` (epoch seconds).

    ``around`` are the stored bans that hold it, the widest first, ``inside`` the first of those of
    narrower networks; both have also those that have ended and are not removed yet. ``ignored`` are
    networks whose ban is not enforced, being too wide. ``feeds`` is what was taken of feeds, also
    what is not enforced, ``untaken`` what they name besides. ``wanted`` are the parts that are to
    be dropped, ``pending`` those that the daemon has in force and not stored yet; ``rests`` is why
    it changes nothing now, ``unasked`` why it could not be asked. ``blind`` is why the kernel does
    not tell of sockets. ``damage`` is what of the database cannot be read: then more may be stored
    than is told. While everything is ``paused`` nothing is wanted.
    """

    network: Network
    now: int
    observes: bool
    around: tuple[Ban, ...]
    inside: tuple[Ban, ...]
    ignored: Networks
    feeds: tuple[Naming, ...]
    untaken: tuple[Untaken, ...]
    exempting: tuple[Exempting, ...]
    wanted: Networks
    pending: Networks
    rests: str
    unasked: str
    standings: tuple[Standing, ...]
    offences: tuple[Offence, ...]
    withheld: tuple[WithheldBan, ...]
    doubted: tuple[Doubted, ...]
    endings: tuple[Event, ...]
    sockets: tuple[OpenSocket, ...]
    blind: str = ""
    damage: tuple[str, ...] = ()
    paused: Pause | None = None

    @cached_property
    def dropped(self) -> Networks:
        """The parts whose packets some backend drops now."""
        several = [one.dropped for one in self.standings if one.dropped]
        return collapse(several[0] if len(several) == 1 else chain.from_iterable(several))

    @property
    def passed(self) -> Networks:
        """The parts of which no backend is known to drop packets; there may be very many."""
        return subtract(Networks.of([self.network]), self.dropped)

    @cached_property
    def verdict(self) -> Verdict:
        """What becomes of its packets now."""
        if sum(map(_size, self.dropped)) == _size(self.network):
            return Verdict.DROPPED
        if self.dropped or any(one.unclear for one in self.standings):
            return Verdict.PARTLY
        failed = any(one.error and one.enforces for one in self.standings)
        return Verdict.UNKNOWN if failed else Verdict.PASSED

    @property
    def active(self) -> list[Ban]:
        """The bans around it that count, the widest first; of one network feeds' come before."""
        own = [ban for ban in self.around if not self.has_ended(ban) and self.counts(ban)]
        fed = [ban for each in self.feeds if each.held for ban in each.around(self.network)]
        return sorted([*fed, *own], key=lambda ban: ban.network.length)

    def has_ended(self, ban: Ban) -> bool:
        """Whether a ban does not count any more."""
        return ban.until is not None and ban.until <= self.now

    def counts(self, ban: Ban) -> bool:
        """Whether a ban is enforced as long as it lasts."""
        return ban.network not in self.ignored


def _size(network: Network) -> int:
    """Return how many addresses a network has."""
    return 1 << network.bits - network.length
