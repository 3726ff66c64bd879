"""A log that is read anew on purpose: what is stored of it already counts again, once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field

from reconciler.lines import counted, first_few
from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.store.offences import StoredOffence
from reconciler.store.store import Store

_PERIOD: Final = 900
"""Seconds after which another time may be told of the same line: zones are apart by a multiple."""

_NEVER: Final = float("-inf")

Place = tuple[object, ...]


@define(eq=False)
class _Stored:
    """What is stored, by what a record must have in common with it; each is taken once.

    However many are alike, those that may be the record are found without going through the others.
    """

    _at: dict[Place, list[StoredOffence]] = field(factory=lambda: defaultdict(list), init=False)
    _taken: set[int] = field(factory=set, init=False)

    def add(self, stored: StoredOffence) -> None:
        """Take one up."""
        offence, told = stored.offence, stored.seen.told
        stamped = offence.micros is not None
        places: list[Place] = [(), ("time", told and round(told) % _PERIOD, stamped)]
        places += [("stamp", offence.micros)] if stamped else []
        for place in places:
            self._at[(*_essence(offence), *place)].append(stored)

    def take(self, offence: Offence, source: str) -> Offence | None:
        """Return what is stored of a record that a source brings, and was not taken yet."""
        for place in self._places(offence):
            alike = self._at.get((*_essence(offence), *place), [])
            while alike and alike[-1].number in self._taken:
                alike.pop()
            for each in reversed(alike):
                if each.number not in self._taken and each.is_of(offence, source):
                    self._taken.add(each.number)
                    return each.offence
        return None

    def _places(self, offence: Offence) -> Iterator[Place]:
        """Yield where the same record may be, the surest first."""
        stamped = offence.micros is not None
        if stamped:
            yield ("stamp", offence.micros)
        elif offence.time is None:
            yield ()
            return
        near = [] if offence.time is None else [round(offence.time) + n for n in (0, -1, 1)]
        for among in (False,) if stamped else (False, True):
            yield from (("time", second % _PERIOD, among) for second in near)
            yield ("time", None, among)


def _essence(offence: Offence) -> Place:
    return offence.address, offence.rule, offence.evidence, offence.count


@define(eq=False)
class Again:
    """What is stored of the records that come, which counts again.

    ``known`` is what the records are that came last, and are stored. Bans that were lifted by hand,
    or only observed, settle nothing; those that ended by themselves do.
    """

    store: Store
    known: list[Offence] = field(factory=list, init=False)
    _last: int = field(init=False)
    _stored: _Stored = field(factory=_Stored, init=False)
    _looked_up: set[Network] = field(factory=set, init=False)
    _lifted: list[Network] = field(factory=list, init=False)

    @_last.default
    def _(self) -> int:
        return self.store.offences.last_id

    def unknown(self, source: str, offences: Sequence[Offence]) -> list[Offence]:
        """Return what is not stored; each stored offence is one of the records, no more."""
        new = {each.address for each in offences} - self._looked_up
        self._looked_up |= new
        for stored in self.store.offences.stored_of(new, self._last):
            self._stored.add(stored)
        self.known, fresh = [], []
        for each in offences:
            if known := self._stored.take(each, source):
                self.known.append(known)
            else:
                fresh.append(each)
        return fresh

    def settled(self, networks: Iterable[Network], now: int) -> Mapping[Network, float]:
        """Return when a ban of each of these networks ended last by itself."""
        return self.store.history.lifts(networks, now, by_hand=False)

    def without_known(self, offences: Iterable[Offence]) -> list[Offence]:
        """Leave out what came with the last records, and counts with them."""
        return [*(Counter(offences) - Counter(self.known)).elements()]

    def note(self, bans: Iterable[Ban], now: int) -> None:
        """Note who of these was unbanned by hand before."""
        networks = {ban.network for ban in bans}
        if networks:
            lifts, ended = self.store.history.lifts(networks, now), self.settled(networks, now)
            self._lifted += sorted(
                each for each, time in lifts.items() if time > ended.get(each, _NEVER)
            )

    def notes(self) -> Iterable[str]:
        """Yield whom somebody had unbanned by hand."""
        if self._lifted:
            number = counted(len(self._lifted), "network")
            some = first_few(self._lifted)
            yield f"{number} banned again, though unbanned by hand: {some}"
