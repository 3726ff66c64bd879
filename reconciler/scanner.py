"""A pass over the sources: read each from its cursor, and store what follows.

One that fails does not stop the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from reconciler.detect import RULES, Rule, detect
from reconciler.errors import TreasonError, describe, trace
from reconciler.interfaces import Noting, Source
from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.policy import Policy, decide
from reconciler.store import Store

_SHOWN: Final = 10


@frozen
class Reading:
    """What one source brought.

    ``offences`` counts messages, ``refused`` those that nobody vouches for; ``examples`` are a
    few of the refused ones. ``notes`` are what the source has to say besides. ``error`` is empty
    unless it could not be read.
    """

    source: str
    offences: int = 0
    refused: int = 0
    examples: tuple[str, ...] = ()
    bans: tuple[Ban, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    trace: str = field(default="", repr=False)


@define
class Scanner:
    """Reads sources from their cursors; stores offences, bans and cursors if ``write``.

    ``userspace`` believes records that the kernel did not write. A source that would bring the
    pass over ``max_new_bans`` (0: no limit) is refused as a whole, and read again next time.
    """

    store: Store
    policy: Policy
    now: int
    write: bool
    userspace: bool = False
    max_new_bans: int = 0
    rules: Sequence[Rule] = RULES
    _offences: list[Offence] = field(factory=list, init=False)
    _bans: dict[Network, int | None] = field(factory=dict, init=False)

    def scan(self, sources: Mapping[str, Callable[[], Source]]) -> Iterator[Reading]:
        """Read every source."""
        for name, make in sources.items():
            yield self._guarded(name, make)

    def _guarded(self, name: str, make: Callable[[], Source]) -> Reading:
        try:
            return self._read(name, make())
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises
            return Reading(name, error=describe(error, name), trace=trace(error))

    def _read(self, name: str, source: Source) -> Reading:
        offences: list[Offence] = []
        examples: list[str] = []
        refused = 0
        needles = [rule.needle for rule in self.rules]
        for record in source.read(self.store.cursor(name), needles):
            offence = detect(record, self.rules)
            if offence is None:
                continue
            if offence.trusted or self.userspace:
                offences.append(offence)
            else:
                refused += offence.count
                examples += [offence.evidence] if len(examples) < _SHOWN else []
        notes = tuple(map(str, source.notes())) if isinstance(source, Noting) else ()
        bans = self._decide(offences)
        if self.max_new_bans and len(self._bans) + len(bans) > self.max_new_bans:
            raise TreasonError(
                f"{name}: refused: {len(bans)} new bans after {len(self._bans)},"
                f" max_new_bans allows {self.max_new_bans} in a pass ({bans[0].network}, ...)",
                "nothing of it was stored, it is read again next time; --force stores it",
            )
        if self.write:
            self.store.remember(name, source.cursor(), offences, bans, self.now)
        else:
            self._offences += offences
        self._bans |= {ban.network: ban.until for ban in bans}
        counted = sum(offence.count for offence in offences)
        return Reading(name, counted, refused, tuple(examples), tuple(bans), notes)

    def _decide(self, offences: Sequence[Offence]) -> list[Ban]:
        """Decide, and leave out what adds nothing: a longer ban is never shortened.

        What is not stored, because nothing is, counts as if it were.
        """
        addresses = {offence.address for offence in offences}
        earlier: list[Offence] = []
        if offences and self.policy.threshold > 1:
            first = min(self.now if o.time is None else o.time for o in offences)
            earlier = self.store.offences(addresses, first - self.policy.window)
            earlier += [o for o in self._offences if o.address in addresses]
        known = self.store.until(addresses, self.now) | self._bans
        return [
            ban
            for ban in decide(offences, earlier, self.policy, self.now)
            if ban.network not in known or _later(ban.until, known[ban.network])
        ]


def _later(until: int | None, known: int | None) -> bool:
    return known is not None and (until is None or until > known)
