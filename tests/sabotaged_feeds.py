"""Feeds that break one promise each; test_feed_contract.py runs the contracts on them."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pytest
from attrs import define, evolve, field

from reconciler import (
    FeedBan,
    FeedChange,
    FeedLift,
    FeedSnapshot,
    FeedUnreadable,
    Network,
    Networks,
)
from reconciler.testing import (
    EpochFeedContract,
    FeedContract,
    NotingFeedContract,
    PublishingFeedContract,
    WakingFeedContract,
)


@define(eq=False)
class Gossip:
    """Somebody who talks, in memory, and what was told to others."""

    kind: type["Listener"]
    journal: list[FeedChange] = field(factory=list)
    now: Networks = field(default=Networks())
    name: str = "gossip"
    odd: bool = False
    broken: bool = False
    told: list[Network] = field(factory=list)
    listeners: list["Waker"] = field(factory=list)

    def says(self, *networks: str) -> None:
        """Add what is different from before to the journal."""
        wanted = Networks.of(map(self.kind.parse, networks))
        for change, made in ((self.now - wanted, FeedLift), (wanted - self.now, FeedBan)):
            if change:
                self.journal.append(made(change))
        self.now = wanted
        for listener in self.listeners:
            listener.ring()

    def feed(self) -> Any:
        """Make a listener of the kind that is judged."""
        return self.kind(self)

    def heard(self) -> Collection[str]:
        """Return what was told."""
        return [*map(str, self.told)]


class Listener:
    """The feed: its cursor is how much of the journal it has brought."""

    patience: ClassVar[float] = 10.0

    @staticmethod
    def parse(text: str) -> Network:
        """Return the network that is meant."""
        return Network.parse(text)

    def __init__(self, gossip: Gossip) -> None:
        self.gossip = gossip
        self.position = 0

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield what stands behind the cursor."""
        if self.gossip.broken:
            raise FeedUnreadable("nobody talks")
        changes = [*self.since(cursor)]
        self.position = len(self.gossip.journal)
        yield from changes

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Return what came, or all of it."""
        if cursor is not None and cursor.isdecimal():
            return self.gossip.journal[int(cursor) :]
        return self.all()

    def all(self) -> Sequence[FeedChange]:
        """Return all that is said."""
        return [FeedSnapshot.BEGIN, FeedBan(self.gossip.now), FeedSnapshot.END]

    def cursor(self) -> str | None:
        """Return how much was brought."""
        return str(self.position)


class Posters(Listener):
    """Brings all there is each time; it has no cursor."""

    def since(self, _cursor: str | None) -> Iterable[FeedChange]:
        """Return all."""
        return self.all()

    def cursor(self) -> None:
        """Return none."""


class GossipContract(FeedContract):
    """The contract, on a feed in memory."""

    kind: ClassVar[type[Listener]] = Listener
    many = 1_000

    @pytest.fixture
    def speaker(self) -> Gossip:
        """Somebody who says nothing yet."""
        self.gossip = Gossip(type(self).kind)
        return self.gossip

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Nobody talks, or listens."""
        self.gossip.broken = True
        yield
        self.gossip.broken = False

    faults: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"broken": lambda self: self.broken()}


class OverlooksSmallNetworks(Listener):
    """Knows no network of four addresses."""

    def all(self) -> Sequence[FeedChange]:
        """Leave it out."""
        now = [each for each in self.gossip.now if each.length != 30]
        return [FeedSnapshot.BEGIN, FeedBan(now), FeedSnapshot.END]


class YieldsALog(Listener):
    """Mixes texts with changes."""

    def all(self) -> Any:
        """Add how many there are."""
        return [*super().all(), f"{len(self.gossip.now)} networks"]


class PacksAsItLikes(Listener):
    """Hands on packed networks in the order in which they came."""

    def all(self) -> Sequence[FeedChange]:
        """Turn the order round."""
        four = b"".join(each.to_bytes(5) for each in reversed(self.gossip.now.family(4)))
        ban = FeedBan(Networks(four, self.gossip.now.packed(6)))
        return [FeedSnapshot.BEGIN, ban, FeedSnapshot.END]


class NumbersItsMembers(Listener):
    """Has numbers for members."""

    member: ClassVar[Any] = 7

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Name them."""
        for change in super().since(cursor):
            if isinstance(change, FeedSnapshot):
                yield change
            else:
                yield evolve(change, member=self.member)


class ColoursItsMembers(NumbersItsMembers):
    """Has names for members that are not for people."""

    member = "\x1b[31mred"


class KeepsMappedAddresses(Listener):
    """Takes IPv4 in IPv6 for another address."""

    @staticmethod
    def parse(text: str) -> Network:
        """Return the network that is written."""
        return Network.exact(text)


class NeverEnds(Listener):
    """Does not end what it begins."""

    def all(self) -> Sequence[FeedChange]:
        """Leave out the end."""
        return super().all()[:-1]


class BeginsTwice(Listener):
    """Begins a snapshot inside another."""

    def all(self) -> Sequence[FeedChange]:
        """Begin again."""
        return [FeedSnapshot.BEGIN, *super().all(), FeedSnapshot.END]


class LiftsInside(Listener):
    """Lifts what it does not ban, inside a snapshot."""

    def all(self) -> Sequence[FeedChange]:
        """Lift somebody first."""
        begin, *rest = super().all()
        return [begin, FeedLift([Network.parse("192.0.2.99")]), *rest]


class BringsOneAtATime(Listener):
    """Takes the first of each batch."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Cut each ban, but those of a snapshot."""
        came = [*super().since(cursor)]
        return came if FeedSnapshot.BEGIN in came else [*map(self.cut, came)]

    def cut(self, change: FeedChange) -> FeedChange:
        """Leave one network of a ban."""
        return FeedBan(change.networks[:1]) if isinstance(change, FeedBan) else change


class ForgetsToLift(Listener):
    """Bans, and that is all."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Leave out the rest."""
        return [each for each in super().since(cursor) if not isinstance(each, FeedLift)]


class LiftsWhatIsInside(Listener):
    """Lifts with a network those that lie in it."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Lift whatever it meets."""
        for change in super().since(cursor):
            if isinstance(change, FeedLift):
                inside = [self.gossip.now.meeting(each) for each in change.networks]
                yield evolve(change, networks={*change.networks}.union(*inside))
            else:
                yield change


class LiftsFirst(Listener):
    """Sorts what came by its kind."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Lift, then ban; a snapshot cannot be sorted."""
        came = super().since(cursor)
        marks = any(isinstance(each, FeedSnapshot) for each in came)
        return came if marks else sorted(came, key=lambda each: isinstance(each, FeedBan))


class FallsSilent(Listener):
    """Brings nothing once nobody is to be dropped."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Bring something, or nothing at all."""
        return super().since(cursor) if self.gossip.now else ()


class RepeatsItself(Listener):
    """Brings all again where nothing came."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Bring something."""
        return [*super().since(cursor)] or self.all()


class LosesItsCursor(Listener):
    """Has no position where nothing came."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Remember whether something came."""
        self.came = [*super().since(cursor)]
        return self.came

    def cursor(self) -> str | None:
        """Return a position behind something."""
        return super().cursor() if self.came else None


class CountsInNumbers(Listener):
    """Has a number for a cursor."""

    def since(self, cursor: Any) -> Iterable[FeedChange]:
        """Take the number."""
        return super().since(str(cursor) if isinstance(cursor, int) else cursor)

    def cursor(self) -> Any:
        """Return it."""
        return self.position


class TellsOnce(Listener):
    """Goes on from where it was, whatever it is asked."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Skip what was told."""
        if cursor is not None and cursor.isdecimal():
            return super().since(str(max(int(cursor), self.position)))
        return super().since(cursor)


class IsStillReading(Listener):
    """Believes that whoever began to read goes on with it."""

    reading = False

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield nothing to a second one."""
        for change in () if self.reading else super().changes(cursor):
            self.reading = True
            yield change
        self.reading = False


class ListensFromNowOn(Listener):
    """Misses what was said before it was made."""

    def __init__(self, gossip: Gossip) -> None:
        super().__init__(gossip)
        self.first = len(gossip.journal)

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Begin where it is."""
        if cursor is not None and cursor.isdecimal():
            return super().since(str(max(int(cursor), self.first)))
        return super().since(cursor)


class RemembersTheLifted(Listener):
    """Brings all that was ever said."""

    def all(self) -> Sequence[FeedChange]:
        """Search the journal."""
        bans = [each for each in self.gossip.journal if isinstance(each, FeedBan)]
        return [FeedSnapshot.BEGIN, *bans, FeedSnapshot.END]


class MakesNoSnapshot(Listener):
    """Brings all at first without saying that it is all."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Leave out the marks."""
        return [FeedBan(self.gossip.now)] if cursor is None else super().since(cursor)


class TakesItForTheEnd(Listener):
    """Brings nothing behind a cursor that means nothing."""

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Bring something behind the others."""
        return super().since(cursor) if cursor is None or cursor.isdecimal() else ()


class TurnsOnePage(Listener):
    """Takes the first page for all."""

    def all(self) -> Sequence[FeedChange]:
        """Cut it."""
        return [FeedSnapshot.BEGIN, FeedBan(self.gossip.now[:500]), FeedSnapshot.END]


class WaitsForMore(Listener):
    """Holds the line."""

    patience = 0.2

    def since(self, cursor: str | None) -> Iterable[FeedChange]:
        """Wait where nothing came."""
        came = [*super().since(cursor)]
        if not came:
            time.sleep(self.patience * 2)
        return came


class HearsNobody(Listener):
    """Takes silence for a list of nobody."""

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield an empty snapshot."""
        if self.gossip.broken:
            yield from (FeedSnapshot.BEGIN, FeedSnapshot.END)
        else:
            yield from super().changes(cursor)


class HearsNothingNew(Listener):
    """Takes silence for nothing new."""

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield nothing, and no error."""
        with suppress(FeedUnreadable):
            yield from super().changes(cursor)


class GivesNoReason(Listener):
    """Fails without a word."""

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Raise an error that is empty."""
        if self.gossip.broken:
            raise FeedUnreadable("")
        yield from super().changes(cursor)


class RaisesWhatItMeets(Listener):
    """Hands on the errors of others."""

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Raise one."""
        if self.gossip.broken:
            raise ConnectionError("reset")
        yield from super().changes(cursor)


class StaysDeaf(Listener):
    """Does not try again."""

    deaf = False

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Fail for ever after."""
        self.deaf |= self.gossip.broken
        if self.deaf:
            raise FeedUnreadable("nobody talks")
        yield from super().changes(cursor)


class HidesItsEpoch(Listener):
    """Has an epoch, and is judged as a feed without."""

    def epoch(self) -> str:
        """Return it."""
        return "now"


class Named(Listener):
    """A feed that tells who talks."""

    def epoch(self) -> str:
        """Return the name."""
        return self.gossip.name


class NamedContract(GossipContract, EpochFeedContract):
    """The contract, on a feed in memory that tells who talks."""

    kind: ClassVar[type[Named]] = Named

    def another(self) -> None:
        """Let another one talk."""
        self.gossip.name = "another"


class NamesEachObject(Named):
    """Has a name of its own."""

    def epoch(self) -> str:
        """Return it."""
        return f"{id(self)}"


class NamesNobody(Named):
    """Has no name for who talks."""

    def epoch(self) -> str:
        """Return nothing."""
        return ""


class KnowsOneName(Named):
    """Takes everybody for the same."""

    def epoch(self) -> str:
        """Return one name."""
        return "somebody"


class KeepsTheFirstName(Named):
    """Asks for the name once."""

    def __init__(self, gossip: Gossip) -> None:
        super().__init__(gossip)
        self.name = gossip.name

    def epoch(self) -> str:
        """Return what it was."""
        return self.name


class Noter(Listener):
    """A feed that notes what means nothing."""

    def notes(self) -> Iterable[str]:
        """Return a line about it."""
        return ["one entry means nothing"] * self.gossip.odd


class NoterContract(GossipContract, NotingFeedContract):
    """The contract, on a feed in memory that notes what means nothing."""

    kind: ClassVar[type[Noter]] = Noter

    def odd(self) -> None:
        """Let something mean nothing."""
        self.gossip.odd = True


class NotesNothing(Noter):
    """Keeps it to itself."""

    def notes(self) -> Iterable[str]:
        """Return nothing."""
        return []


class StopsAtWhatIsOdd(Noter):
    """Brings what stands before it."""

    def all(self) -> Sequence[FeedChange]:
        """Leave out the rest."""
        return [
            each for each in super().all() if not (self.gossip.odd and isinstance(each, FeedBan))
        ]


class SpeaksOneWord(Noter):
    """Returns its notes as one text, which would be told letter by letter."""

    def notes(self) -> str:
        """Forget the list."""
        return "odd"


class PassesOnColours(Noter):
    """Notes what it read as it is."""

    def notes(self) -> Iterable[str]:
        """Return control characters."""
        return [f"\x1b[31m{note}" for note in super().notes()]


class PilesUpNotes(Noter):
    """Forgets no note."""

    def __init__(self, gossip: Gossip) -> None:
        super().__init__(gossip)
        self.noted: list[str] = []

    def notes(self) -> Iterable[str]:
        """Return all there ever were."""
        self.noted += super().notes()
        return self.noted


class Teller(Listener):
    """A feed that tells others as well."""

    def publish(self, changes: Sequence[FeedBan | FeedLift]) -> None:
        """Publish all, or nothing."""
        if self.gossip.broken:
            raise FeedUnreadable("nobody listens")
        for change in changes:
            self.tell(change)

    def tell(self, change: FeedBan | FeedLift) -> None:
        """Publish one."""
        told, networks = self.gossip.told, change.networks
        if isinstance(change, FeedBan):
            told += [each for each in networks if each not in told]
        else:
            told[:] = [each for each in told if each not in networks]


class TellerContract(GossipContract, PublishingFeedContract):
    """The contract, on a feed in memory that tells others as well."""

    kind: ClassVar[type[Teller]] = Teller
    refusals = GossipContract.faults


class TellsBansOnly(Teller):
    """Keeps their ends to itself."""

    def tell(self, change: FeedBan | FeedLift) -> None:
        """Leave them out."""
        if not isinstance(change, FeedLift):
            super().tell(change)


class TellsAnew(Teller):
    """Takes what it tells first for all there is."""

    def __init__(self, gossip: Gossip) -> None:
        super().__init__(gossip)
        gossip.told.clear()


class TellsLiftsFirst(Teller):
    """Sorts what it tells by its kind."""

    def publish(self, changes: Sequence[FeedBan | FeedLift]) -> None:
        """Lift, then ban."""
        super().publish(sorted(changes, key=lambda change: isinstance(change, FeedBan)))


class TellsTwice(Teller):
    """Does not look whether it has told it."""

    def tell(self, change: FeedBan | FeedLift) -> None:
        """Add to what was told."""
        if isinstance(change, FeedBan):
            self.gossip.told += change.networks
        else:
            super().tell(change)


class TellsTheWall(Teller):
    """Does not look whether anybody listens."""

    def publish(self, changes: Sequence[FeedBan | FeedLift]) -> None:
        """Raise nothing."""
        with suppress(FeedUnreadable):
            super().publish(changes)


class Waker(Listener):
    """A feed that can be waited for."""

    bell: int | None = None

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when somebody talks."""
        if self.bell is None:
            self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self.gossip.listeners.append(self)
        return self.bell

    def ring(self) -> None:
        """Become readable."""
        if self.bell is not None:
            os.eventfd_write(self.bell, 1)

    def take(self) -> None:
        """Be readable no more."""
        if self.bell is not None:
            with suppress(BlockingIOError):
                os.eventfd_read(self.bell)

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Take what woke, first."""
        self.take()
        yield from super().changes(cursor)

    def close(self) -> None:
        """Close the descriptor."""
        if self.bell is not None:
            self.gossip.listeners.remove(self)
            os.close(self.bell)
            self.bell = None


class WakerContract(GossipContract, WakingFeedContract):
    """The contract, on a feed in memory that can be waited for."""

    kind: ClassVar[type[Waker]] = Waker


class SleepsOn(Waker):
    """Is woken by bans alone."""

    patience = 2.0

    def ring(self) -> None:
        """Listen to what was said last."""
        if isinstance(self.gossip.journal[-1], FeedBan):
            super().ring()


class StaysAwake(Waker):
    """Is readable ever after."""

    def take(self) -> None:
        """Take nothing."""


class TakesAfterwards(Waker):
    """Takes what woke when it has read, and with it what came meanwhile."""

    patience = 2.0

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Read, then take."""
        yield from Listener.changes(self, cursor)
        self.take()


class LeavesItsDescriptor(Waker):
    """Is not closed."""

    def close(self) -> None:
        """Do nothing."""


class IsInherited(Waker):
    """Leaves its descriptor to other programs."""

    def fileno(self) -> int:
        """Let it be inherited."""
        os.set_inheritable(super().fileno(), True)
        return super().fileno()


class SleepsForEver(Waker):
    """Does not wake after it was closed."""

    patience = 2.0
    closed = False

    def close(self) -> None:
        """Remember it."""
        super().close()
        self.closed = True

    def ring(self) -> None:
        """Stay silent."""
        if not self.closed:
            super().ring()


class TriesAgainAtOnce(Waker):
    """Is readable where it could not be read."""

    def take(self) -> None:
        """Take it, and ring."""
        super().take()
        if self.gossip.broken:
            self.ring()


SABOTAGED: Mapping[type[GossipContract], Mapping[type[Any], set[str]]] = {
    GossipContract: {
        OverlooksSmallNetworks: {"test_brings"},
        YieldsALog: {"test_values"},
        PacksAsItLikes: {"test_values"},
        NumbersItsMembers: {"test_values"},
        ColoursItsMembers: {"test_values"},
        KeepsMappedAddresses: {"test_spellings"},
        NeverEnds: {"test_snapshot"},
        BeginsTwice: {"test_snapshot"},
        LiftsInside: {"test_snapshot"},
        BringsOneAtATime: {"test_adds"},
        ForgetsToLift: {"test_lifts", "test_in_order", "test_nobody"},
        LiftsWhatIsInside: {"test_lifts"},
        LiftsFirst: {"test_in_order"},
        FallsSilent: {"test_nobody"},
        RepeatsItself: {"test_nothing_new"},
        LosesItsCursor: {"test_nothing_new"},
        CountsInNumbers: {"test_cursor"},
        TellsOnce: {"test_cursor_again", "test_broken_off"},
        IsStillReading: {"test_broken_off"},
        ListensFromNowOn: {"test_goes_on"},
        RemembersTheLifted: {"test_all_there_is"},
        MakesNoSnapshot: {"test_all_there_is"},
        TakesItForTheEnd: {"test_cursor_of_another"},
        TurnsOnePage: {"test_many"},
        WaitsForMore: {"test_does_not_wait"},
        HearsNobody: {"test_unreadable"},
        HearsNothingNew: {"test_unreadable"},
        GivesNoReason: {"test_unreadable"},
        RaisesWhatItMeets: {"test_unreadable", "test_readable_again"},
        StaysDeaf: {"test_readable_again"},
        HidesItsEpoch: {"test_kinds"},
    },
    NamedContract: {
        NamesEachObject: {"test_epoch", "test_epoch_of_another"},
        NamesNobody: {"test_epoch", "test_epoch_of_another"},
        KnowsOneName: {"test_epoch_of_another"},
        KeepsTheFirstName: {"test_epoch_of_another"},
    },
    NoterContract: {
        NotesNothing: {"test_notes"},
        StopsAtWhatIsOdd: {"test_notes"},
        SpeaksOneWord: {"test_notes_are_lines"},
        PassesOnColours: {"test_notes_are_lines"},
        PilesUpNotes: {"test_notes_are_of_the_last_look"},
    },
    TellerContract: {
        TellsBansOnly: {"test_publish", "test_publish_in_order", "test_publish_again"},
        TellsAnew: {"test_publish", "test_publish_again"},
        TellsLiftsFirst: {"test_publish_in_order"},
        TellsTwice: {"test_publish_again"},
        TellsTheWall: {"test_publish_refused"},
    },
    WakerContract: {
        SleepsOn: {"test_wakes"},
        StaysAwake: {"test_wakes"},
        TakesAfterwards: {"test_wakes_for_what_comes_meanwhile"},
        LeavesItsDescriptor: {"test_descriptor"},
        IsInherited: {"test_descriptor"},
        SleepsForEver: {"test_closed"},
        TriesAgainAtOnce: {"test_unreadable_does_not_wake_without_end"},
    },
}
"""For each contract the feeds that break a promise, and the cases that they fail."""

EXPECTED = {kind: cases for each in SABOTAGED.values() for kind, cases in each.items()}

for _contract, _expected in SABOTAGED.items():
    for _kind in _expected:
        _said = {"kind": _kind, "patience": _kind.patience, "__doc__": _kind.__doc__}
        globals()[f"Test{_kind.__name__}"] = type(f"Test{_kind.__name__}", (_contract,), _said)
