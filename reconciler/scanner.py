"""A pass over the sources: read each from its cursor, and store what follows.

One that fails does not stop the others.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Final

from attrs import define, field, frozen

from reconciler import listeners
from reconciler.detect import RULES, Rule, detect
from reconciler.errors import TreasonError, describe, trace
from reconciler.interfaces import Noting, Source
from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.policy import Past, Policy, decide, later
from reconciler.store import Store

_SHOWN: Final = 10
_BATCH: Final = 20_000
"""Offences that are decided on and stored together."""


@frozen
class Reading:
    """What one source brought.

    ``offences`` counts messages, among them ``reported`` those of rules that only report, and
    ``sightings`` are a few of these. ``refused`` counts those that nobody vouches for, and
    ``examples`` are a few. ``known`` counts those that another source brought before, and
    ``outbound`` those about connections that this machine made: neither is an offence again.
    ``notes`` are what the source has to say besides. ``error`` is empty unless it could not be
    read.
    """

    source: str
    offences: int = 0
    reported: int = 0
    refused: int = 0
    known: int = 0
    outbound: int = 0
    sightings: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    bans: tuple[Ban, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    trace: str = field(default="", repr=False)


@define
class Scanner:
    """Reads sources from their cursors; stores offences, bans and cursors if ``write``.

    ``userspace`` believes records that the kernel did not write. ``force`` lifts the policy's
    ``max_new_bans``: a source that would bring the pass over it is refused as a whole, and read
    again next time. ``listening`` gives the ports that count with ``listeners_only``.
    """

    store: Store
    policy: Policy
    now: int
    write: bool
    userspace: bool = False
    force: bool = False
    rules: Sequence[Rule] = RULES
    listening: Callable[[], Collection[int]] = listeners.ports
    _offences: list[Offence] = field(factory=list, init=False)
    _stamps: set[tuple[int, str]] = field(factory=set, init=False)
    _bans: dict[Network, int | None] = field(factory=dict, init=False)
    _made: int = field(default=0, init=False)

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
        """Read a source, in batches: however much it brings, no more than one is held."""
        rules = [rule for rule in self.rules if _is_for(rule, name)]
        if not rules:
            return Reading(name, notes=("not read: no rule is for it",))
        tally = _Tally()
        coming = self._recognised(source, name, rules, tally)
        batch = [*islice(coming, _BATCH)]  # often all: the database is not locked meanwhile
        with self.store.transaction() if self.write else nullcontext():
            while batch:
                self._take(name, batch, tally)
                batch = [*islice(coming, _BATCH)]
            notes = _notes(name, source)
            if self.write:
                self.store.remember(name, source.cursor(), (), (), self.now)
        self._bans |= {ban.network: ban.until for ban in tally.bans.values()}
        self._made += len(tally.new)
        self._stamps |= tally.stamps
        return Reading(
            name, tally.offences, tally.reported, tally.refused, tally.known, tally.outbound,
            tuple(tally.sightings), tuple(tally.examples), tuple(tally.bans.values()), notes,
        )  # fmt: skip

    def _recognised(
        self, source: Source, name: str, rules: Sequence[Rule], tally: "_Tally"
    ) -> Iterator[Offence]:
        """Read the source; yield what counts, and tally what does not."""
        ports = self.listening() if self.policy.listeners_only else None
        for record in source.read(self.store.cursor(name), [rule.needle for rule in rules]):
            offence = detect(record, rules)
            if offence is None:
                continue
            if not (offence.trusted or self.userspace):
                tally.refused += offence.count
                if len(tally.examples) < _SHOWN:
                    tally.examples.append(offence.evidence)
            elif ports is None or offence.local_port is None or offence.local_port in ports:
                yield offence
            else:
                tally.outbound += offence.count

    def _take(self, name: str, offences: list[Offence], tally: "_Tally") -> None:
        """Decide on offences of a source, and store them with the bans that follow."""
        fresh = self._unknown(name, offences)
        counted = sum(offence.count for offence in fresh)
        tally.offences += counted
        tally.known += sum(offence.count for offence in offences) - counted
        only = {rule.name for rule in self.rules if rule.report_only}
        reported = [offence for offence in fresh if offence.rule in only]
        tally.reported += sum(offence.count for offence in reported)
        tally.sightings += [o.evidence for o in reported[: _SHOWN - len(tally.sightings)]]
        bans = self._decide(fresh, tally.bans)
        tally.new += self._new(bans, tally.bans)
        tally.bans |= {ban.network: ban for ban in bans}
        limit = 0 if self.force else self.policy.max_new_bans
        if limit and self._made + len(tally.new) > limit:
            raise TreasonError(
                f"{name}: refused: {len(tally.new)} new bans after {self._made},"
                f" max_new_bans allows {limit} in a pass ({tally.new[0]}, ...)",
                "nothing of it was stored, it is read again next time; --force stores it",
            )
        if self.write:
            self.store.remember(name, None, fresh, bans, self.now)
        else:
            self._offences += fresh if self._counting else []
            tally.stamps |= {(o.micros, o.evidence) for o in fresh if o.micros is not None}

    def _unknown(self, name: str, offences: list[Offence]) -> list[Offence]:
        """Leave out the records that another source has brought already."""
        known = self.store.offences.elsewhere(name, offences) | self._stamps
        if not known:
            return offences
        return [o for o in offences if o.micros is None or (o.micros, o.evidence) not in known]

    def _decide(self, offences: Sequence[Offence], bans: Mapping[Network, Ban]) -> list[Ban]:
        """Decide, and leave out what adds nothing: a longer ban is never shortened.

        What is not stored, because nothing is, counts as if it were.
        """
        own = {rule.name: rule.policy for rule in self.rules if rule.policy is not None}
        of = self.policy.subject
        offences = self._banning(offences)
        known = self.store.until({of(offence.address) for offence in offences}, self.now)
        known |= self._bans | {network: ban.until for network, ban in bans.items()}
        for_good = {network for network, until in known.items() if until is None}
        offences = [offence for offence in offences if of(offence.address) not in for_good]
        past = self._past(offences, {of(offence.address) for offence in offences})
        return [
            ban
            for ban in decide(offences, past, self.policy, self.now, own)
            if ban.network not in known or later(ban.until, known[ban.network])
        ]

    def _new(self, bans: Sequence[Ban], known: Collection[Network]) -> list[Network]:
        """Give the networks that were not banned; others are only banned for longer."""
        held = self.store.until([ban.network for ban in bans], self.now)
        return [
            ban.network
            for ban in bans
            if not (ban.network in held or ban.network in self._bans or ban.network in known)
        ]

    def _banning(self, offences: Sequence[Offence]) -> list[Offence]:
        """Leave out those of rules that only report, or that there are no more."""
        banning = {rule.name for rule in self.rules if not rule.report_only}
        return [offence for offence in offences if offence.rule in banning]

    def _past(self, offences: Sequence[Offence], subjects: Collection[Network]) -> Past:
        """Give what is stored of these networks, as far as a policy asks for it."""
        earlier: list[Offence] = []
        if offences and self._counting:
            first = min(offence.when(self.now) for offence in offences)
            since = first - max(policy.window for policy in self._policies)
            earlier = self._banning(self.store.offences.of(subjects, since) + self._offences)
        escalating = any(policy.escalate > 1 for policy in self._policies)
        return Past(earlier, self.store.endings(subjects, self.now) if escalating else {})

    @property
    def _policies(self) -> list[Policy]:
        return [self.policy, *(rule.policy for rule in self.rules if rule.policy is not None)]

    @property
    def _counting(self) -> bool:
        """Whether what was stored before can matter."""
        return any(policy.threshold > 1 for policy in self._policies)


@define
class _Tally:
    """What a source has brought so far; see `Reading`."""

    offences: int = 0
    reported: int = 0
    refused: int = 0
    known: int = 0
    outbound: int = 0
    sightings: list[str] = field(factory=list)
    examples: list[str] = field(factory=list)
    bans: dict[Network, Ban] = field(factory=dict)
    new: list[Network] = field(factory=list)
    stamps: set[tuple[int, str]] = field(factory=set)


def _notes(name: str, source: Source) -> tuple[str, ...]:
    """Give what the source has to say; if it fails in that, what it read counts all the same."""
    try:
        return tuple(map(str, source.notes())) if isinstance(source, Noting) else ()
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises
        return (f"no notes: {describe(error, name).splitlines()[0]}",)


def _is_for(rule: Rule, source: str) -> bool:
    """Whether the rule is for the records of a source, which it may name with its argument."""
    return not rule.sources or source in rule.sources or source.partition(":")[0] in rule.sources
