"""The reflexes: what is added at once, and what is put back at once when somebody took it away.

A resident process has them. They never take a single element away: where one is too many, a pass
compares all of them.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from attrs import frozen

from backends.nftables import layout, structure
from backends.nftables.change import made, mended, rehashed
from backends.nftables.comparing import Told, compared
from backends.nftables.damage import damage
from backends.nftables.errors import raising
from backends.nftables.events import Events
from backends.nftables.generations import Generations
from backends.nftables.holding import Contents, Holding
from backends.nftables.ruleset import HEAVY
from backends.nftables.statements import NOTE, TABLE, NewNote, Statement
from backends.nftables.structure import Structure
from reconciler import BackendFailed, BackendUnreadable, Damage, Desired, Networks
from reconciler.netlink import (
    AnswerLost,
    Connection,
    Full,
    Missing,
    NetlinkError,
    NotPermitted,
    Stale,
    TooLong,
)

_CONDITIONAL: Final = 10
"""How often a change is made for the generation that was looked at. Busy neighbours forestall a
heavy one each time; then it is made for any: whatever happened meanwhile is looked at again."""

_ATTEMPTS: Final = 20
"""How often it is tried to put something back that others change meanwhile."""

_HINT: Final = "treason reconcile compares all of it; `nft monitor` shows who changes what"


@frozen
class _Look:
    """What is wrong with the table, what puts it right, and what additions cannot put right."""

    flaws: list[Damage]
    repair: list[Statement]
    surplus: list[Damage]


class NftablesReflexes:
    """Keeps the table ``inet treason`` as it is held, in the network namespace of the caller."""

    def __init__(self) -> None:
        """Raise `BackendUnreadable` where the kernel tells nothing."""
        with raising(BackendUnreadable):
            self._connection = Connection()
            self._events: Told = Events(self._connection.port)
        self._holding: Holding | None = None
        self._right: Structure | None = None  # as it was found without a flaw

    def fileno(self) -> int:
        """Return a descriptor that is readable once somebody else may have changed the table."""
        return self._events.fileno()

    def stop_listening(self) -> None:
        """Go by the number of the ruleset's generation from now on, instead of events."""
        self._events.close()
        self._events = Generations(self._connection)

    def hold(self, desired: Desired, owner: str) -> None:
        """Take all that is to be held, laid out as the table is; nothing is changed."""
        with raising(BackendUnreadable):
            if self._events.listen():
                self._events.ring()  # for what happened before
            found = self._structure()
            ready = found is not None and not self._flaws(found)
            shape = layout.shape_of(found) if ready else layout.shape_for(desired)
            self._holding = Holding(desired, owner, shape)
            self._events.filled = set()  # a pass has compared all

    def add(self, networks: Networks) -> None:
        """Drop these networks, too: one transaction, in force when it returns."""
        with raising(BackendFailed):
            self._keep_up()
            additions = self._held.additions(networks)
            crowded = self._held.crowded(additions)
            if additions and not crowded and self._is_added(additions):
                self._held.take(additions)
            elif additions:
                self._held.take(additions)
                growth = self._grown(crowded, additions) if crowded else None
                self._until_done(lambda: _Look([], growth, []) if growth else self._look(additions))

    def let_pass(self, networks: Networks) -> None:
        """Pass these networks ahead, too: one transaction, in force when it returns."""
        with raising(BackendFailed):
            self._keep_up()
            additions = self._held.passing(networks)
            if additions:
                added = self._is_added(additions)
                self._held.take(additions)
                if not added:
                    self._until_done(lambda: self._look(additions))

    def changed(self) -> Collection[int]:
        """Return the port ids of those who changed the table, 0 for somebody unknown.

        When they do much, no more is heard until `repair` or `hold`.
        """
        with raising(BackendUnreadable):
            return self._events.others()

    def repair(self) -> Sequence[Damage]:
        """Put back what is missing, in one transaction, and return what was.

        Elements are compared by their number in each set, and one by one in small sets into which
        others have put some. Raise `BackendFailed` where something is to be taken away, once all
        else is put right, and where the table is of another database now: that is for a pass.
        """
        with raising(BackendFailed):
            self._events.listen()
            look = self._until_done(self._look)
            self._events.forget()
            if look.surplus:
                told = "; ".join(map(str, look.surplus))
                raise BackendFailed(f"nftables: {told}", _HINT)
            return look.flaws

    def close(self) -> None:
        """Close the descriptors; what is held stays in force."""
        self._events.close()
        self._connection.close()

    @property
    def _held(self) -> Holding:
        if self._holding is None:
            raise BackendFailed("nftables: nothing is held yet", "hold first what a pass has made")
        return self._holding

    def _keep_up(self) -> None:
        """Take in that the sets may be others by now."""
        if self._events.are_waiting():
            self._follow(self._structure())

    def _is_added(self, additions: Sequence[Contents]) -> bool:
        """Add what is not held; return whether that is certain."""
        for _ in range(_ATTEMPTS):
            with suppress(Stale):
                try:
                    self._commit(additions, self._connection.generation())
                except (Missing, Full, AnswerLost):
                    return False
                return True
        return False

    def _grown(self, versions: Collection[int], additions: Sequence[Contents]) -> list[Statement]:
        """Make the hashes of these families anew, with room for twice as many as are held.

        Return what does so, with the ``additions`` to other sets.
        """
        old, desired = self._held.shape, self._held.desired()
        held = Holding(desired, self._held.owner, layout.grown(old, desired, versions))
        names = [each.name for version in versions for each in held.shape.hosts(version)]
        self._holding = held
        others = [
            each for each in additions if each.set.interval or each.set.version not in versions
        ]
        return [*rehashed(old, held.shape, versions), *held.contents(names), *others]

    def _until_done(self, look: Callable[[], _Look]) -> _Look:
        """Look, and carry out what is to be; return the first look. Others may forestall it."""
        first: _Look | None = None
        for attempt in range(_ATTEMPTS):
            with suppress(Stale, Missing, AnswerLost):
                generation = self._connection.generation()
                seen = look()
                first = first or seen
                condition = generation if attempt < _CONDITIONAL else 0
                try:
                    self._commit(seen.repair, condition)
                except (Stale, AnswerLost, NotPermitted, TooLong):
                    raise
                except NetlinkError:  # a set is full, or what is strange there is used by something
                    self._commit(self._anew(), condition)
                return first
        raise BackendFailed("nftables: other programs keep changing the ruleset", _HINT)

    def _look(self, additions: Sequence[Contents] = ()) -> _Look:
        """Look at structure and counts; ``additions`` are to be sent in any case."""
        self._events.begin()
        found = self._structure()
        flaws = self._flaws(found)
        self._judge_owner(found)
        repair = mended(flaws, self._held.shape)
        if found is None or repair is None or not self._are_all_there(found, flaws):
            return _Look(flaws, self._anew(), [])
        self._follow(found)
        lost, surplus = compared(self._connection, self._held, found, self._events)
        repair += self._held.contents([each.subject.removeprefix("set ") for each in lost])
        if found.note is None and self._held.owner:
            repair.append(NewNote(self._held.owner))
            lost.append(Damage(f"set {NOTE}", "is missing"))
        sets = self._held.shape.sets
        repair += [each for each in additions if each.set in sets]  # or they were laid out anew
        return _Look([*flaws, *lost], repair, surplus)

    def _flaws(self, found: Structure | None) -> list[Damage]:
        if found is not None and found == self._right:
            return []
        flaws = [*damage(found, _untold)]
        self._right = None if flaws else found
        return flaws

    def _are_all_there(self, found: Structure, flaws: Sequence[Damage]) -> bool:
        """Whether the sets are there in which all is held; without flaws they may be others."""
        return not flaws or all(each.name in found.sets for each in self._held.shape.sets)

    def _judge_owner(self, found: Structure | None) -> None:
        if found is not None and found.note is not None and found.owner != self._held.owner:
            raise BackendFailed(
                f"nftables: the table {TABLE} was changed for another database", _HINT
            )

    def _follow(self, found: Structure | None) -> None:
        """Lay out what is held as the table is, which a pass may have made anew."""
        shape, held = layout.shape_of(found), self._held
        if self._flaws(found) or shape == held.shape:
            return
        if shape.spread == held.shape.spread:
            held.shape = shape
        else:
            self._holding = held.relaid(shape)

    def _anew(self) -> list[Statement]:
        held = self._held
        return made(held.shape, held.contents(), held.owner)

    def _structure(self) -> Structure | None:
        for _ in range(_ATTEMPTS):
            with suppress(Stale):  # a list that somebody's commit interrupts is asked for again
                return structure.read(self._connection, layout.CHAIN)
        return structure.read(self._connection, layout.CHAIN)

    def _commit(self, statements: Sequence[Statement], generation: int) -> None:
        """Carry them out in one transaction; 0 stands for any generation.

        While a heavy one is made, we do not listen: the kernel tells a listener of each element,
        be it our own.
        """
        messages = [message for each in statements for message in each.messages()]
        if not messages:
            return
        heavy = sum(len(each.body) for each in messages) > HEAVY
        if heavy:
            self._events.deaf()
        try:
            self._connection.commit(messages, lambda: generation)
        finally:
            if heavy:
                self._events.listen()
        self._events.committed(generation)
        if heavy and self._connection.generation() != generation + 1:
            self._events.ring()


def _untold(_chain: str) -> dict[int, str]:
    """Leave the rules of others untold: to ask nft takes longer than to replace them."""
    return {}
