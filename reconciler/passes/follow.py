"""Rules on what a source sees from now on, told as it happens: ``test-rule --sockets --follow``.

The source is read as the daemon reads it: when it wakes, or when it is due. Nothing is stored.
"""

import select
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from math import inf
from typing import Final

from attrs import define, evolve, field, frozen

from reconciler.config.setup import Setup
from reconciler.detection.detect import detect
from reconciler.errors import SourceUnreadable
from reconciler.host import listeners
from reconciler.host.deadline import Run, limited
from reconciler.interfaces import (
    ExplainingSource,
    NotingSource,
    PacedSource,
    Source,
    SuspectingSource,
    WakingSource,
    WitnessSource,
)
from reconciler.model import Connection, NearMiss, Offence, Record, Seen, Suspect
from reconciler.network import Network
from reconciler.passes import trial_run
from reconciler.passes.counting import guessed
from reconciler.passes.trial import Trial
from reconciler.passes.verdicts import Verdict, verdicts

_RESTING: Final = 10.0
"""Seconds between two looks where the source does not say when it is due."""

_LEAST: Final = 0.2
"""Seconds between two looks at least, however often the source wakes."""

_KEPT: Final = 1_000
"""Offences that are kept, to count with those that follow; so many notes are told once."""

_OFF: Final = "its rule is not among those that are tried"


@frozen
class Began:
    """How the source is followed: ``why`` it does not wake, with a hint; empty where it does."""

    rules: tuple[str, ...]
    why: str = ""
    hint: str = ""

    @property
    def wakes(self) -> bool:
        """Whether the source tells by itself that there is something to see."""
        return not self.why


@frozen
class Looked:
    """The end of a look, whether it was ``woken``, and what it has found in so many seconds."""

    woken: bool
    suspects: int
    near: int
    seconds: float


@frozen
class Suspected:
    """Something that may be an offence if it lasts, and was not suspected before."""

    suspect: Suspect


@frozen
class Missed:
    """What came near an offence, and why it is none, or not yet."""

    near: NearMiss


@frozen
class Judged:
    """An offence, and what would follow, if it were not only a trial; ``refused``: why nothing."""

    offence: Offence
    verdict: Verdict | None = None
    refused: str = ""


@frozen
class Cleared:
    """Something is not suspected any more: it is over, or not so any more."""

    suspect: Suspect


@frozen
class Noted:
    """What the source says besides, or what the verdicts could not take into account."""

    text: str


@frozen
class Failed:
    """A look that could not be made; the next one may be."""

    what: str
    hint: str


@frozen
class _Found:
    """What one look has found."""

    records: list[Record]
    suspects: list[Suspect]
    near: list[NearMiss]
    notes: list[str]


Event = Began | Looked | Suspected | Missed | Judged | Cleared | Noted | Failed


def follow(
    setup: Setup, trial: Trial, name: str, readers: Callable[[], Collection[int]] = tuple
) -> Generator[Event, None, None]:
    """Yield what happens, as it happens, until one of the descriptors of ``readers`` is hung up.

    These are asked for once plugins are loaded. The rules are those of ``trial``, and whom to
    believe, and whether ports count; it takes nothing itself.
    Raise `SourceUnreadable` if the source cannot be read at first.
    """
    follower = Follower(setup, trial, name)
    with closing(follower):
        yield follower.begin()
        yield from follower.look(woken=False)  # what cannot be read at first is an error
        waiting, until = select.poll(), readers()
        for descriptor in until:
            waiting.register(descriptor, 0)  # poll(2) tells POLLERR and POLLHUP all the same
        while True:
            woken = follower.wait(waiting)
            if not woken.isdisjoint(until):
                return
            yield from follower.attempt(woken=bool(woken))


@define(eq=False)
class Follower:
    """Reads a source again and again; what a look has found, the next is compared with."""

    setup: Setup
    trial: Trial
    name: str
    _make: Callable[[], Source] = field(init=False)
    _waking: WakingSource | None = field(default=None, init=False)
    _cursor: str | None = field(default=None, init=False)
    _due: float | None = field(default=_RESTING, init=False)
    _rested: float = field(default=0.0, init=False)
    _recalled: bool = field(default=False, init=False)
    _suspects: dict[str, Suspect] = field(factory=dict, init=False)
    _gone: set[str] = field(factory=set, init=False)
    _asked: float = field(default=0.0, init=False)
    _near: set[tuple[str, str, str]] = field(factory=set, init=False)
    _unread: list[str] = field(factory=list, init=False)
    _told: deque[str] = field(factory=partial(deque, maxlen=_KEPT), init=False)
    _offences: list[Offence] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._make = self.setup.sources((self.name,))[self.name]

    def begin(self) -> Began:
        """Wait for the source, if it can be waited for; tell how it is followed."""
        rules = tuple(rule.name for rule in self.trial.rules)
        source = self._make()
        if not isinstance(source, WakingSource):
            return Began(rules, "the source cannot be waited for")
        try:
            source.fileno()
        except SourceUnreadable as error:
            return Began(rules, error.what, error.hint)
        self._recall(source)
        self._waking = source
        return Began(rules)

    def close(self) -> None:
        """Wait for the source no more."""
        if self._waking is not None:
            self._waking.close()

    def wait(self, waiting: select.poll) -> set[int]:
        """Return which descriptors are ready: of ``waiting``, of the source; none: a look is due.

        A look that takes long is followed by as long a rest.
        """
        rest = self._rested - time.monotonic()
        if rest > 0 and (ready := waiting.poll(rest * 1000)):
            return {descriptor for descriptor, _ in ready}
        own = -1 if self._waking is None else self._waking.fileno()
        if own >= 0:
            waiting.register(own, select.POLLIN)
        try:
            milliseconds = None if self._due is None else max(0.0, self._due - max(rest, 0)) * 1000
            return {descriptor for descriptor, _ in waiting.poll(milliseconds)}
        finally:
            if own >= 0:
                waiting.unregister(own)

    def attempt(self, *, woken: bool) -> Iterator[Event]:
        """Look; tell what went wrong where that cannot be done now."""
        try:
            yield from self.look(woken=woken)
        except SourceUnreadable as error:
            self._due = _RESTING
            yield Failed(error.what, error.hint)

    def look(self, *, woken: bool) -> Iterator[Event]:
        """Read the source once, and yield what is new. Raise `SourceUnreadable`."""
        begun = time.monotonic()
        found = limited(self.setup.config.treason.pass_timeout, self.name, self._read)
        seconds = time.monotonic() - begun
        self._rested = time.monotonic() + max(_LEAST, seconds)
        yield from self._compared(found)
        yield from self._judged(found.records)
        yield from self._noted(found.notes)
        yield Looked(woken, len(self._suspects), len(self._near), seconds)

    def _read(self, run: Run) -> _Found:
        return run(self._read_once)

    def _read_once(self) -> _Found:
        source = self._waking or self._fresh()
        records = [*source.read(self._cursor, [""])]
        self._cursor = source.cursor() or self._cursor
        self._due = None if self._waking else _RESTING
        if isinstance(source, PacedSource):
            self._due = due if (due := source.due()) < inf else None
        suspects = self._suspected(source) if isinstance(source, SuspectingSource) else ()
        near = source.near_misses() if isinstance(source, ExplainingSource) else ()
        notes = source.notes() if isinstance(source, NotingSource) else ()
        return _Found(records, [*suspects], [*near], [*map(str, notes)])

    def _suspected(self, source: SuspectingSource) -> Iterator[Suspect]:
        """Yield whom the source suspects, without connections that are gone.

        One that is woken lists them for longer than people wait; so it is asked, now and then.
        """
        every = {each.thing: each for each in source.suspects()}
        self._gone &= every.keys()
        left = {thing: each for thing, each in every.items() if thing not in self._gone}
        if left and self._waking and time.monotonic() > self._asked + _RESTING:
            self._asked = time.monotonic()
            self._gone |= _gone(self._make(), left)
        if self._waking and left.keys() - self._gone:
            self._due = min(self._due or inf, _RESTING)
        yield from (each for thing, each in left.items() if thing not in self._gone)

    def _fresh(self) -> Source:
        """Make the source of one look, which is given what the last one suspected."""
        source = self._make()
        if not self._recalled:
            self._recall(source)
        elif isinstance(source, SuspectingSource):
            source.recall([*self._suspects.values()])
        return source

    def _recall(self, source: Source) -> None:
        """Let the source have what the last pass suspected, so far as that can be read."""
        self._cursor, self._unread = trial_run.recalled(self.setup, self.name, source)
        self._recalled = True

    def _compared(self, found: _Found) -> Iterator[Event]:
        """Yield what is suspected now and was not, and the reverse; and what came near."""
        tried = {rule.name for rule in self.trial.rules}
        ripening = (each.suspect for each in found.near if each.suspect)
        every = {each.thing: each for each in (*ripening, *found.suspects) if each.rule in tried}
        before, self._suspects = self._suspects, every
        for thing, suspect in self._suspects.items():
            if thing not in before:
                yield Suspected(suspect)
        for thing, suspect in before.items():
            if thing not in self._suspects:
                yield Cleared(suspect)
        known, self._near = self._near, {_said(near) for near in found.near if near.rule in tried}
        for near in found.near:
            if _said(near) in self._near and _said(near) not in known:
                yield Missed(near)

    def _judged(self, records: Iterable[Record]) -> Iterator[Event]:
        """Yield each offence, with what would follow from all that were since the beginning."""
        taken = [self._taken(record) for record in records]
        counting = [each.offence for each in taken if isinstance(each, Judged) and not each.refused]
        told: dict[Network, Verdict] = {}
        if counting:
            now, notes = int(time.time()), list[str]()
            self._offences = [*self._offences, *guessed(counting, now)][-_KEPT:]
            every = Trial(self.trial.rules)
            every.offences = self._offences
            policy, facts = trial_run.facts(self.setup, every, now, notes)
            told = {each.address: each for each in verdicts(every, policy, facts, now)}
            yield from self._noted(notes)
        for each in taken:
            if isinstance(each, Judged) and not each.refused:
                yield evolve(each, verdict=told.get(each.offence.address))
            elif each is not None:
                yield each

    def _taken(self, record: Record) -> Judged | Missed | None:
        """Return what the rules make of a record; None where it is none of their business."""
        ports = None if self.trial.ports is None else listeners.ports()
        one = Trial(self.trial.rules, (), self.trial.userspace, ports)
        one.take(record)
        if offence := detect(record, one.rules):
            refused = one.results[offence.rule].refused.first
            return Judged(offence, refused=refused[0].why if refused else "")
        judgement = record.judgement
        return Missed(NearMiss(judgement.rule, record.text, _OFF)) if judgement else None

    def _noted(self, notes: Iterable[str]) -> Iterator[Event]:
        for note in (*self._unread, *notes):
            if note not in self._told:
                self._told.append(note)
                yield Noted(note)
        self._unread = []


def _said(near: NearMiss) -> tuple[str, str, str]:
    return near.rule, near.text, near.why


def _gone(source: Source, suspects: Mapping[str, Suspect]) -> set[str]:
    """Return those of the suspects whose connections are not there any more."""
    if not isinstance(source, WitnessSource):
        return set()
    ends = {
        thing: Connection(each.address, each.peer_port, each.local_port)
        for thing, each in suspects.items()
        if each.peer_port is not None and each.local_port is not None
    }
    answers = source.confirm({*ends.values()})
    return {thing for thing, end in ends.items() if answers[end].seen == Seen.NOTHING}
