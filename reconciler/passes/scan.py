"""A pass over the sources: read each from its cursor, and store what follows.

One that fails does not stop the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from reconciler.detection.detect import RULES, Rule
from reconciler.detection.grounds import expected
from reconciler.detection.policy import Policy
from reconciler.errors import StoreError, TreasonError, describe, guarded, trace
from reconciler.host.clock import SURE, Clock
from reconciler.host.deadline import Run, limited
from reconciler.interfaces import NotingSource, Source, Spec, SuspectingSource
from reconciler.lines import counted, first_few
from reconciler.log import Log
from reconciler.model import Ban, Offence
from reconciler.networks import NOTHING, Networks, covered
from reconciler.passes.confirming import Confirming
from reconciler.passes.counting import Counting, guessed
from reconciler.passes.reading import SHOWN, Reading, Tally
from reconciler.passes.recognise import Recognition
from reconciler.store.store import Store

if TYPE_CHECKING:
    from reconciler.passes.again import Again

_log = Log("scan")
_BATCH: Final = 20_000
"""Offences that are decided on and stored together."""


@define(eq=False)
class Scanner:
    """Reads sources from their cursors; stores offences, bans and cursors if ``write``.

    ``force`` lifts the policy's ``max_new_bans``: a source that would bring the pass over it is
    refused as a whole, and read again next time. ``exempt`` (collapsed) are never dropped.
    ``timeout`` are the seconds that one source may take. Times that a ``clock`` in doubt told are
    not believed. Where nothing can be stored, and what the sources bring is ``enforced`` in this
    pass, it is decided on as without ``write``. ``made`` counts the new bans of the pass so far.
    Without ``confirming`` every message is believed. With ``again`` sources are read from their
    beginning, on purpose.
    """

    store: Store
    policy: Policy
    now: int
    write: bool
    recognition: Recognition = field(factory=Recognition)
    force: bool = False
    rules: Sequence[Rule] = RULES
    exempt: Networks = NOTHING
    timeout: float | None = None
    clock: Clock = SURE
    enforced: bool = False
    made: int = 0
    confirming: Confirming | None = None
    again: "Again | None" = None
    _counting: Counting = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._give_up()
        self._counting = Counting(
            self.store,
            self.policy,
            self.rules,
            self.now,
            exempt=self.exempt,
            nat64=self.recognition.nat64,
            again=self.again,
        )

    def scan(self, sources: Mapping[str, Callable[[], Source]]) -> Iterator[Reading]:
        """Read every source."""
        for name, make in sources.items():
            read = partial(limited, self.timeout, name, partial(self._read, name, make))
            reading: Reading = guarded(read, partial(_failed, name), name)
            _log.debug("%s: %d offences, %d new bans", name, reading.offences, reading.new)
            yield reading

    def _read(self, name: str, make: Callable[[], Source], run: Run) -> Reading:
        """Read a source; once more where it could not be stored, and is enforced all the same."""
        try:
            return self._read_once(name, make, run)
        except StoreError as error:
            if not (self.write and self.enforced):
                raise
            self.store.unwritten = error
            self._give_up()
            return self._read_once(name, make, run)

    def _give_up(self) -> None:
        """Write no more, where something that a pass can spare could not be written."""
        self.write = self.write and not (self.enforced and self.store.unwritten)
        if self.confirming is not None:
            self.confirming.write = self.write

    def _read_once(self, name: str, make: Callable[[], Source], run: Run) -> Reading:
        """Read a source, in batches: however much it brings, no more than one is held."""
        source = run(make)
        rules = [rule for rule in self.rules if is_for(rule, name)]
        if not rules:
            return Reading(name, notes=("not read: no rule applies to this source",))
        tally = Tally()
        cursor = None if self.again else self.store.cursors.get(name)
        if isinstance(source, SuspectingSource):
            known = self.store.attempt_to_read(partial(self.store.suspects.of, name, self._binds))
            run(partial(source.recall, known or []))
        records = source.read(cursor, [rule.needle for rule in rules])
        coming = self.recognition.offences(records, rules, tally)
        more = partial(run, lambda: [*islice(coming, _BATCH)])
        batch = more()  # often all: the database is not locked meanwhile
        before = dict(self._counting.bans)
        try:
            with self.store.transaction() if self.write else nullcontext():
                if batch or (self.confirming and self.confirming.waits(name)):
                    first = partial(self._sifted, name, tally, run, first=True)
                    self._take(name, batch, tally, first)
                while batch := more() if batch else []:
                    self._take(name, batch, tally, partial(self._sifted, name, tally, run))
                notes = (*run(partial(notes_of, name, source)), *tally.notes())
                notes += tuple(self.again.notes()) if self.again else ()
                if self.write:
                    self.store.cursors.move(name, run(source.cursor), self.now)
                    if isinstance(source, SuspectingSource):
                        suspects = run(lambda: [*source.suspects()])
                        self.store.suspects.keep(name, suspects, self._binds)
        except BaseException:
            self._counting.forget(name, before)
            raise
        self.made += tally.new
        return tally.reading(name, notes)

    def _binds(self, rule: str) -> bool:
        """Whether something follows from offences against a rule."""
        named = (each for each in self.rules if each.name == rule)
        return not self.policy.observes and any(not each.report_only for each in named)

    def _take(
        self,
        name: str,
        offences: list[Offence],
        tally: "Tally",
        sift: Callable[[list[Offence]], list[Offence]],
    ) -> None:
        """Decide on offences of a source, and store them with the bans that follow."""
        fresh = sift(self._fresh(name, offences, tally))
        tally.offences += sum(offence.count for offence in fresh)
        only = {rule.name for rule in self.rules if rule.report_only}
        reported = [offence for offence in fresh if offence.rule in only] if only else []
        tally.reported += sum(offence.count for offence in reported)
        tally.sightings += [o.evidence for o in reported[: SHOWN - len(tally.sightings)]]
        new, longer = self._counting.follow(fresh)
        bans = [*new, *longer]
        if self.policy.observes:
            enforced = [ban for ban in bans if not covered(ban.network, self.exempt)]
            self._withhold(name, fresh, enforced, tally)
            return
        tally.new += len(new)
        tally.bans |= {ban.network: ban for ban in bans}
        self._limit(name, tally)
        for ban in bans:
            _log.debug("%s: ban %s until %s: %s", name, ban.network, ban.until, ban.reason)
        if self.write:
            binding = [offence for offence in fresh if offence.rule not in only]
            closings = expected(binding, bans, self.now, self.policy)
            self.store.add_batch(name, fresh, bans, self.now, closings)
        else:
            self._counting.keep(name, fresh)

    def _fresh(self, name: str, offences: list[Offence], tally: "Tally") -> list[Offence]:
        """Return the offences that were not counted already, with the times that are believed."""
        fresh = self._counting.unknown(name, offences)
        if len(fresh) < len(offences):
            counted = sum(offence.count for offence in fresh)
            tally.known += sum(offence.count for offence in offences) - counted
        told = [offence.time is not None for offence in fresh]
        fresh = guessed([self._believed(offence) for offence in fresh], self.now)
        tally.undated += sum(
            o.count
            for o, dated in zip(fresh, told, strict=True)
            if not dated and o.when(self.now) == self.now
        )
        return fresh

    def _sifted(
        self, name: str, tally: "Tally", run: Run, offences: list[Offence], *, first: bool = False
    ) -> list[Offence]:
        """Return what is confirmed of the offences, if they are to be."""
        if self.confirming is None:
            return offences
        found = self.confirming.sift(name, offences, tally, run, first=first)
        if not self.write:
            self._counting.notice(name, self.confirming.left)
        return found

    def _withhold(self, name: str, fresh: list[Offence], bans: list[Ban], tally: "Tally") -> None:
        """Store the bans that are not made, and the offences."""
        tally.withheld |= {ban.network: ban for ban in bans}
        if self.write:
            counted = self._counting.numbers(fresh)
            self.store.add_withheld(name, fresh, bans, counted, self.now)
        else:
            self._counting.keep(name, fresh)

    def _believed(self, offence: Offence) -> Offence:
        """Return it without the time that a clock told which is not believed."""
        if self.clock.told_wrong(offence.time) or self.clock.told_wrong(offence.guess):
            return evolve(offence, time=None, guess=None)
        return offence

    def _limit(self, name: str, tally: "Tally") -> None:
        """Refuse a source that brings the pass over ``max_new_bans``."""
        limit = 0 if self.force else self.policy.max_new_bans
        if limit and self.made + tally.new > limit:
            before = f" after {self.made:,}" if self.made else ""
            raise TreasonError(
                f"{name}: refusing {counted(tally.new, 'new ban')}{before}: max_new_bans allows"
                f" {limit:,} in a pass ({first_few([*tally.bans])})",
                "nothing of this source was stored, and the next pass reads it again; raise"
                " max_new_bans in [policy], or use --force to store them all",
            )


def _failed(name: str, error: BaseException) -> Reading:
    return Reading(name, error=describe(error, name), trace=trace(error))


def notes_of(name: str, source: Source) -> tuple[str, ...]:
    """Return what the source has to say; if it fails in that, what it read counts all the same."""

    def ask() -> tuple[str, ...]:
        return tuple(map(str, source.notes())) if isinstance(source, NotingSource) else ()

    def failed(error: BaseException) -> tuple[str, ...]:
        return (f"its notes cannot be read: {describe(error, name).splitlines()[0]}",)

    return guarded(ask, failed, name)


def is_for(rule: Rule, source: str) -> bool:
    """Whether the rule is for the records of a source, which it may name with its argument."""
    return not rule.sources or not {source, Spec.parse(source).name}.isdisjoint(rule.sources)
