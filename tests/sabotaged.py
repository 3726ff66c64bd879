"""Backends and sources that break one promise each; test_contract.py runs the contracts on them."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from math import inf
from typing import Any, ClassVar

import pytest
from attrs import define, evolve, field

from reconciler import (
    Answer,
    BackendError,
    BackendUnreadable,
    Change,
    Connection,
    Damage,
    Decision,
    Desired,
    Finding,
    Held,
    Judgement,
    NearMiss,
    Network,
    Networks,
    Observed,
    Plan,
    Record,
    Seen,
    SourceUnreadable,
    Suspect,
)
from reconciler.testing import (
    AskableContract,
    BackendContract,
    ConfirmingContract,
    DiagnosingContract,
    FingerprintedContract,
    HeedingSourceContract,
    JudgingSourceContract,
    Memory,
    PolledReflexesContract,
    ReflexesContract,
    SourceContract,
    Table,
    WatchedContract,
    WitnessContract,
)
from reconciler.testing.memory import STEPS, MemoryReflexes


def _failing(contract: Any, step: str) -> AbstractContextManager[None]:
    made: AbstractContextManager[None] = contract.failing(step)
    return made


class MemoryContract(BackendContract, FingerprintedContract, ConfirmingContract):
    """The contract, on a firewall in memory."""

    kind: ClassVar[Callable[[], Memory]] = Memory
    beyond = 1_000
    many = 1_000

    @pytest.fixture
    def backend(self) -> Memory:
        """A firewall of the kind that is judged."""
        self.memory = type(self).kind()
        return self.memory

    @contextmanager
    def failing(self, step: str) -> Iterator[None]:
        """Let a step fail inside the block."""
        self.memory.faults = {step}
        yield
        self.memory.faults = set()

    def unreadable(self) -> Any:
        """Nothing can be read."""
        return self.failing("observe")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more fits."""
        self.memory.capacity = 10
        yield
        self.memory.capacity = None

    def foreign(self) -> Callable[[], object]:
        """A table of somebody else's."""
        self.memory.tables["other"] = Table(flags=frozenset({"theirs"}))
        return lambda: {k: v for k, v in self.memory.tables.items() if k != "treason"}

    def owned(self) -> object:
        """Our table."""
        return self.memory.tables.get("treason")

    def change(self, **what: Any) -> None:
        """Damage our table."""
        self.memory.tables["treason"] = evolve(self.memory.tables["treason"], **what)

    def held(self) -> AbstractSet[Any]:
        """What our table drops."""
        return self.memory.tables["treason"].banned

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "missing": lambda self: self.change(banned=frozenset(list(self.held())[1:])),
        "all missing": lambda self: self.change(banned=frozenset()),
        "extra": lambda self: self.change(banned=self.held() | {Network.parse("9.9.9.9")}),
        "wrong order": lambda self: self.change(rules=("drop banned", "pass whitelisted")),
        "wrong type": lambda self: self.change(kind="ports"),
        "foreign flag": lambda self: self.change(flags=frozenset({"dormant"})),
        "the table deleted": lambda self: self.memory.tables.clear(),
    }
    faults: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        step: partial(_failing, step=step) for step in STEPS
    }


class ForgetsARemoval(Memory):
    """Lifts nothing."""

    def apply(self, plan: Plan) -> None:
        """Add, and that is all."""
        super().apply(evolve(plan, banned=Change(plan.banned.add)))


class LiftsSomeOnly(Memory):
    """Lifts a hundred at most, and leaves the rest to the next pass."""

    def apply(self, plan: Plan) -> None:
        """Cut the removals."""
        remove = plan.banned.remove if len(plan.banned.remove) < 100 else plan.banned.remove[:99]
        super().apply(evolve(plan, banned=Change(plan.banned.add, remove)))


class LiftsNoIPv6(Memory):
    """Lifts what is IPv4."""

    def apply(self, plan: Plan) -> None:
        """Leave the other family out."""
        remove = [network for network in plan.banned.remove if network.version == 4]
        super().apply(evolve(plan, banned=Change(plan.banned.add, remove)))


class LiftsBeforeItAdds(Memory):
    """Makes two transactions, in the wrong order."""

    def apply(self, plan: Plan) -> None:
        """Lift, then add."""
        if plan.banned.remove:
            super().apply(evolve(plan, banned=Change((), plan.banned.remove), passed=Change()))
        super().apply(evolve(plan, banned=Change(plan.banned.add)))


class ReadsEmptyOnError(Memory):
    """Takes what it cannot read for empty."""

    def observe(self) -> Observed:
        """Return nothing, and no error."""
        try:
            return super().observe()
        except BackendUnreadable:
            return Observed()


class FlushesBeforeItAdds(Memory):
    """Empties the table, and fills it anew."""

    def apply(self, plan: Plan) -> None:
        """Do so in two transactions."""
        held = super().observe().banned
        super().apply(evolve(plan, banned=Change((), sorted(held))))
        super().apply(evolve(plan, banned=Change(sorted(plan.desired.banned)), passed=Change()))


class IgnoresIPv6(Memory):
    """Knows one family."""

    def apply(self, plan: Plan) -> None:
        """Add what is IPv4."""
        add = [network for network in plan.banned.add if network.version == 4]
        super().apply(evolve(plan, banned=Change(add, plan.banned.remove)))


class TouchesForeignObjects(Memory):
    """Tidies up what is not its own."""

    def apply(self, plan: Plan) -> None:
        """Take others' flags away."""
        super().apply(plan)
        self.tables |= {name: evolve(t, flags=frozenset()) for name, t in self.tables.items()}


class AppliesNothing(Memory):
    """Reports success, always."""

    def apply(self, plan: Plan) -> None:
        """Do nothing."""


class SwallowsFaults(Memory):
    """Reports success when a step failed."""

    def apply(self, plan: Plan) -> None:
        """Hide the failure."""
        try:
            super().apply(plan)
        except BackendError:
            if not self.faults:
                raise


class DropsWhatDoesNotFit(Memory):
    """Takes what fits, and reports success."""

    def apply(self, plan: Plan) -> None:
        """Cut the plan to size."""
        add = plan.banned.add
        if self.capacity is not None:
            add = add[: self.capacity - len(self.tables["treason"].banned)]
        super().apply(evolve(plan, banned=Change(add, plan.banned.remove)))


class TakesNetworksForHosts(Memory):
    """Drops the first address of each network."""

    def apply(self, plan: Plan) -> None:
        """Add hosts only."""
        add = [Network.of(n.version, n.address, n.bits) for n in plan.banned.add]
        super().apply(evolve(plan, banned=Change(add, plan.banned.remove)))


class ForgetsTheWhitelist(Memory):
    """Passes nobody ahead."""

    def apply(self, plan: Plan) -> None:
        """Leave the passes out, when nothing else is to be done."""
        if plan.passed.remove:
            plan = evolve(plan, passed=Change())
        super().apply(plan)


class OverlooksOrder(Memory):
    """Sees its rules, but not their order."""

    def observe(self) -> Observed:
        """Return no damage of the rules."""
        observed = super().observe()
        damage = [each for each in observed.damage if each.subject != "rules"]
        return evolve(observed, damage=damage)


class LeavesItsTable(Memory):
    """Tears down what it likes."""

    def teardown(self) -> None:
        """Leave the networks of the table where they are, if there are many."""
        if len(self.tables.get("treason", Table()).banned) < 3:
            super().teardown()


class StumblesOverWidening(Memory):
    """Adds before it removes, so the kernel refuses a network over those that it holds."""

    def apply(self, plan: Plan) -> None:
        """Refuse wider networks that are to replace others."""
        if any(new < old <= new.end for new in plan.banned.add for old in plan.banned.remove):
            raise BackendError("overlaps")
        super().apply(plan)


@define
class CountsItsOwnChanges(Memory):
    """Does not notice what others do."""

    changes: int = 0

    def apply(self, plan: Plan) -> None:
        """Count."""
        super().apply(plan)
        self.changes += 1

    def fingerprint(self) -> str:
        """Return how many there were."""
        return str(self.changes)


class ConfirmsAnything(Memory):
    """Believes that all went well."""

    def confirm(self, plan: Plan) -> bool:
        """Do not look."""
        return True


class ShowsNothing(Memory):
    """Has no script to show."""

    def render(self, plan: Plan) -> str:
        """Return something."""
        return "a change"


class ChangesWhenShown(Memory):
    """Does what it is asked to show."""

    def render(self, plan: Plan) -> str:
        """Apply it."""
        self.apply(plan)
        return super().render(plan)


class NeverSettles(Memory):
    """Makes something of its own when there is nothing to hold."""

    def observe(self) -> Observed:
        """Return a damage that nobody can mend, where it drops nothing but has a table."""
        observed = super().observe()
        if "treason" in self.tables and not observed.banned and observed.passed:
            return evolve(observed, damage=[*observed.damage, *Memory().observe().damage])
        return observed


EXPECTED: Mapping[type[Memory], str] = {
    ForgetsARemoval: "test_remove",
    LiftsSomeOnly: "test_remove_several",
    LiftsNoIPv6: "test_remove_several",
    LiftsBeforeItAdds: "test_refusal_loses_nothing",
    ReadsEmptyOnError: "test_unreadable",
    FlushesBeforeItAdds: "test_refusal_loses_nothing",
    IgnoresIPv6: "test_both_families",
    TouchesForeignObjects: "test_foreign_objects",
    AppliesNothing: "test_add",
    SwallowsFaults: "test_fault_is_told",
    DropsWhatDoesNotFit: "test_capacity",
    TakesNetworksForHosts: "test_hosts_and_networks",
    ForgetsTheWhitelist: "test_whitelist_passed_ahead",
    OverlooksOrder: "test_damage",
    LeavesItsTable: "test_teardown",
    ShowsNothing: "test_render",
    ChangesWhenShown: "test_render",
    NeverSettles: "test_second_pass_does_nothing",
    StumblesOverWidening: "test_overlaps",
    CountsItsOwnChanges: "test_fingerprint",
    ConfirmsAnything: "test_confirm",
}
"""Each backend, and the one case of the contract that it fails."""

for _kind in EXPECTED:
    _name = f"Test{_kind.__name__}"
    globals()[_name] = type(_name, (MemoryContract,), {"kind": _kind, "__doc__": _kind.__doc__})


class Askable(Memory):
    """The firewall in memory, asked about one network."""

    def holds(self, network: Network) -> Held:
        """Look among what it drops and passes."""
        seen = self.observe()
        both = ((seen.passed or Networks(), False), (seen.banned, True))
        return Held([Decision(each.meeting(network), drops, "rule") for each, drops in both])


class LooksForTheVeryNetwork(Askable):
    """Overlooks the networks around it and inside it."""

    def holds(self, network: Network) -> Held:
        """Return this one alone."""
        seen = self.observe()
        return Held([Decision(seen.banned & Networks.of([network]), True, "rule")])


class ForgetsWhoIsPassed(Askable):
    """Returns the drops alone."""

    def holds(self, network: Network) -> Held:
        """Leave out the others."""
        told = super().holds(network)
        return Held([each for each in told.decisions if each.drops])


class HoldsNothingInTheDark(Askable):
    """Takes what cannot be read for empty."""

    def holds(self, network: Network) -> Held:
        """Guess."""
        try:
            return super().holds(network)
        except BackendError:
            return Held()


class AskableMemoryContract(AskableContract):
    """The contract, on a firewall in memory that can be asked."""

    kind: ClassVar[Callable[[], Askable]] = Askable

    @pytest.fixture
    def backend(self) -> Askable:
        """A firewall of the kind that is judged."""
        self.memory = type(self).kind()
        return self.memory

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """Nothing can be read."""
        self.memory.faults = {"observe"}
        yield
        self.memory.faults = set()


EXPECTED_ASKED: Mapping[type[Askable], set[str]] = {
    LooksForTheVeryNetwork: {"test_holds"},
    ForgetsWhoIsPassed: {"test_holds"},
    HoldsNothingInTheDark: {"test_holds_unreadable"},
}
for _asked in EXPECTED_ASKED:
    _name = f"Test{_asked.__name__}"
    globals()[_name] = type(
        _name, (AskableMemoryContract,), {"kind": _asked, "__doc__": _asked.__doc__}
    )


@define
class Tape:
    """A carrier in memory, and the source that reads it; also what breaks a promise."""

    gullible: ClassVar[bool] = False
    messages: list[Record] = field(factory=list)
    broken: bool = False
    position: int = 0

    def write(self, *texts: str) -> None:
        """Append messages of the kernel."""
        self.messages += [Record(text, "tape", trusted=True, facility=0) for text in texts]

    def source(self) -> "Tape":
        """Read from the beginning."""
        return evolve(self, messages=self.messages, position=0)

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield what stands behind the cursor."""
        if self.broken:
            raise SourceUnreadable("the tape is torn")
        self.position = int(cursor) if cursor and cursor.isdecimal() else 0
        for record in self.messages[self.position :]:
            self.position += 1
            if any(needle in record.text for needle in needles):
                yield record

    def cursor(self) -> str | None:
        """Count what was read."""
        return str(self.position)


class TapeContract(SourceContract):
    """The contract, on messages in memory."""

    kind: ClassVar[type[Tape]] = Tape
    many = 100

    @pytest.fixture
    def carrier(self) -> Tape:
        """A tape of the kind that is judged."""
        self.tape = type(self).kind()
        return self.tape

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The tape is torn."""
        self.tape.broken = True
        yield

    def forge(self, text: str) -> None:
        """Write as a process."""
        self.tape.messages.append(Record(text, "tape", trusted=self.tape.gullible))


class ForgetsWhereItWas(Tape):
    """Reads all again."""

    def cursor(self) -> str | None:
        """Return the beginning."""
        return "0"


class SkipsOne(Tape):
    """Goes on one message too late."""

    def cursor(self) -> str | None:
        """Count one more than was read."""
        return str(self.position + 1)


class ReadsNothingOnError(Tape):
    """Takes what it cannot read for silence."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield nothing, and no error."""
        with suppress(SourceUnreadable):
            yield from super().read(cursor, needles)


class TrustsEverybody(Tape):
    """Vouches for what processes wrote."""

    gullible: ClassVar[bool] = True


class ReadsBackwards(Tape):
    """Yields the latest first."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Turn them round."""
        yield from reversed([*super().read(cursor, needles)])


class KnowsOneNeedle(Tape):
    """Looks for the first needle only."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Leave the others out."""
        yield from super().read(cursor, needles[:1])


class StopsAtStrangeTexts(Tape):
    """Ends at what it cannot print."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield up to there."""
        for record in super().read(cursor, ("",)):
            if not record.text.isprintable():
                return
            if any(needle in record.text for needle in needles):
                yield record


class RefusesNoCursor(Tape):
    """Takes a cursor that means nothing for the end."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield nothing then."""
        if cursor is None or cursor.isdecimal():
            yield from super().read(cursor, needles)


class SpeaksOneWord(Tape):
    """Returns its notes as one text, which would be told letter by letter."""

    def notes(self) -> str:
        """Forget the list."""
        return "lost"


class HearsNothing(Tape):
    """Reports silence, whatever was said."""

    def silence(self) -> str | None:
        """Do not listen."""
        return "nothing here"


EXPECTED_SOURCES: Mapping[type[Tape], set[str]] = {
    ForgetsWhereItWas: {"test_cursor", "test_cursor_stays"},
    SkipsOne: {"test_cursor"},
    ReadsNothingOnError: {"test_unreadable"},
    TrustsEverybody: {"test_forged"},
    ReadsBackwards: {"test_in_order", "test_cursor", "test_cursor_of_another", "test_needles",
                     "test_many"},
    KnowsOneNeedle: {"test_needles"},
    StopsAtStrangeTexts: {"test_strange_texts"},
    SpeaksOneWord: {"test_words"},
    HearsNothing: {"test_words"},
    RefusesNoCursor: {"test_cursor_of_another"},
}  # fmt: skip
"""Each source, and the cases of the contract that it fails."""

for _source in EXPECTED_SOURCES:
    _name = f"Test{_source.__name__}"
    globals()[_name] = type(_name, (TapeContract,), {"kind": _source, "__doc__": _source.__doc__})


@define
class Watch:
    """A scene in memory and the source that looks at it, twice; also what breaks a promise."""

    acts: list[int] = field(factory=list)
    near: bool = False
    broken: bool = False
    known: dict[str, Suspect] = field(factory=dict)
    seen: dict[str, Suspect] = field(factory=dict)

    def offend(self) -> None:
        """Let one more offend."""
        self.acts.append(len(self.acts) + 1)

    def behave(self) -> None:
        """Let one come near."""
        self.near = True

    def wait(self) -> None:
        """Wait for nothing: looks are counted."""

    def source(self) -> "Watch":
        """Look anew."""
        return evolve(self, acts=self.acts, known={}, seen={})

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Take what was suspected."""
        self.known = {suspect.thing: suspect for suspect in suspects}

    def read(self, _cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Judge what is seen a second time."""
        if self.broken:
            raise SourceUnreadable("it is dark")
        for act in self.acts:
            address = Network.of(4, 0xC0000200 + act, 32)
            suspect = self.known.get(f"{act}") or Suspect(f"{act}", "act", address, 0.0, 0)
            suspect = evolve(suspect, looks=suspect.looks + 1)
            if suspect.looks == 2:
                yield self.judged(address)
            self.seen[suspect.thing] = suspect

    def judged(self, address: Network) -> Record:
        """Return the record."""
        return Record(f"{address} acts", "watch", trusted=True, judgement=Judgement("act", address))

    def cursor(self) -> str | None:
        """Return none."""
        return None

    def suspects(self) -> list[Suspect]:
        """Return what was seen."""
        return [*self.seen.values()]

    def near_misses(self) -> list[NearMiss]:
        """Return who came near."""
        return [NearMiss("act", "192.0.2.99", "it only looked")] * self.near


class WatchContract(JudgingSourceContract):
    """The contract, on a scene in memory."""

    kind: ClassVar[type[Watch]] = Watch

    @pytest.fixture
    def scene(self) -> Watch:
        """A scene of the kind that is judged."""
        self.watch = type(self).kind()
        return self.watch

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """It is dark."""
        self.watch.broken = True
        yield


class JudgesAgain(Watch):
    """Forgets what was judged."""

    def suspects(self) -> list[Suspect]:
        """Leave out whom it has judged."""
        return [suspect for suspect in super().suspects() if suspect.looks < 2]


class NeverJudges(Watch):
    """Remembers nothing, so that each look is the first."""

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Take nothing."""


class JudgesTheHonest(Watch):
    """Takes what comes near for an offence."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Judge it, too."""
        yield from super().read(cursor, needles)
        if self.near:
            yield self.judged(Network.parse("192.0.2.99"))


class KeepsEverything(Watch):
    """Goes on suspecting what is gone."""

    def suspects(self) -> list[Suspect]:
        """Return what was known as well."""
        return [*(self.known | self.seen).values()]


class SeesPeaceInTheDark(Watch):
    """Takes what it cannot look at for peace."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield nothing, and no error."""
        with suppress(SourceUnreadable):
            yield from super().read(cursor, needles)


class WritesLines(Watch):
    """Yields texts that a pattern would have to be held against."""

    def judged(self, address: Network) -> Record:
        """Leave out the judgement."""
        return evolve(super().judged(address), judgement=None)


class SaysNoReason(Watch):
    """Names who came near, and not why it is none."""

    def near_misses(self) -> list[NearMiss]:
        """Leave out the reason."""
        return [evolve(near, why="") for near in super().near_misses()]


@define
class Eyewitness(Watch):
    """A trial in memory and the witness that looks at it, twice; also what breaks a promise."""

    there: list[Connection] = field(factory=list)
    bad: list[Connection] = field(factory=list)

    def connected(self) -> Connection:
        """Let one more peer connect."""
        self.there.append(Connection(Network.of(4, 0xC6336400 + len(self.there), 32), 4000, 80))
        return self.there[-1]

    def confirm(self, connections: Collection[Connection]) -> dict[Connection, Answer]:
        """Look once more."""
        if self.broken:
            raise SourceUnreadable("it is dark")
        return {each: Answer(self.looked(each), "as it was seen") for each in connections}

    def looked(self, each: Connection) -> Seen:
        """Look at one."""
        if each not in self.there:
            return Seen.NOTHING
        if each not in self.bad:
            return Seen.OPEN
        known = self.known.get(f"{each}") or Suspect(f"{each}", "act", each.peer, 0.0, 0)
        self.seen[known.thing] = evolve(known, looks=known.looks + 1)
        return Seen.SHOWN if self.seen[known.thing].looks >= 2 else Seen.OPEN

    def blindness(self) -> str | None:
        """Return None: it sees."""
        return None


class EyewitnessContract(WitnessContract):
    """The contract, on a trial in memory."""

    kind: ClassVar[type[Eyewitness]] = Eyewitness

    @pytest.fixture
    def trial(self) -> Any:
        """A trial of the kind that is judged."""
        self.witness = type(self).kind()
        return _Trial(self.witness)

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """It is dark."""
        self.witness.broken = True
        yield


@define
class _Trial:
    """Who connects, and who offends, before a witness."""

    witness: Eyewitness

    def behave(self) -> Connection:
        """Let one more connect."""
        return self.witness.connected()

    def offend(self) -> Connection:
        """Let one more connect, and offend."""
        self.witness.bad.append(self.witness.connected())
        return self.witness.bad[-1]

    def wait(self) -> None:
        """Wait for nothing: looks are counted."""

    def source(self) -> Eyewitness:
        """Look anew."""
        return evolve(self.witness, known={}, seen={})


class BelievesThatOneIsThere(Eyewitness):
    """Takes that a connection exists for a proof."""

    def looked(self, each: Connection) -> Seen:
        """Look no further."""
        return Seen.SHOWN if each in self.there else Seen.NOTHING


class ForgetsPorts(Eyewitness):
    """Looks at the peer alone."""

    def looked(self, each: Connection) -> Seen:
        """Look at any connection of the peer."""
        return super().looked(next((one for one in self.there if one.peer == each.peer), each))


class SeesNothingInTheDark(Eyewitness):
    """Takes what it cannot look at for nothing."""

    def confirm(self, connections: Collection[Connection]) -> dict[Connection, Answer]:
        """Raise no error."""
        try:
            return super().confirm(connections)
        except SourceUnreadable:
            return dict.fromkeys(connections, Answer(Seen.NOTHING, "nothing was seen"))


EXPECTED_WITNESSES: Mapping[type[Eyewitness], set[str]] = {
    BelievesThatOneIsThere: {"test_shown"},
    ForgetsPorts: {"test_other_ports"},
    SeesNothingInTheDark: {"test_unreadable"},
}
for _witness in EXPECTED_WITNESSES:
    _name = f"Test{_witness.__name__}"
    _said = {"kind": _witness, "__doc__": _witness.__doc__}
    globals()[_name] = type(_name, (EyewitnessContract,), _said)

EXPECTED_JUDGING: Mapping[type[Watch], set[str]] = {
    JudgesAgain: {"test_once"},
    NeverJudges: {"test_judged", "test_once", "test_suspects_are_stored"},
    JudgesTheHonest: {"test_peace"},
    KeepsEverything: {"test_strange_suspects"},
    SeesPeaceInTheDark: {"test_unreadable"},
    WritesLines: {"test_judged", "test_once"},
    SaysNoReason: {"test_near_misses"},
}
"""Each source that judges by itself, and the cases of the contract that it fails."""

for _watch in EXPECTED_JUDGING:
    _name = f"Test{_watch.__name__}"
    globals()[_name] = type(_name, (WatchContract,), {"kind": _watch, "__doc__": _watch.__doc__})


@define
class Alarm:
    """A scene in memory and the source that its bell wakes; also what breaks a promise.

    Who acts for ten seconds of the scene's clock is judged.
    """

    acts: list[int] = field(factory=list)
    clock: list[float] = field(factory=lambda: [0.0])
    bells: list[int] = field(factory=list)
    bell: int = -1
    since: dict[int, float] = field(factory=dict)
    known: dict[str, Suspect] = field(factory=dict)
    seen: dict[str, Suspect] = field(factory=dict)

    def offend(self) -> None:
        """Let one more act."""
        self.acts.append(len(self.acts) + 1)
        for bell in self.bells:
            os.eventfd_write(bell, 1)

    def behave(self) -> None:
        """Let one do nothing."""

    def wait(self) -> None:
        """Let some seconds pass by."""
        self.clock[0] += 5

    def source(self) -> "Alarm":
        """Look anew."""
        return evolve(self, bell=-1, since={}, known={}, seen={})

    def fileno(self) -> int:
        """Return the bell."""
        if self.bell < 0:
            self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.bells.append(self.bell)
        return self.bell

    def close(self) -> None:
        """Return it to the kernel."""
        if self.bell >= 0:
            self.bells.remove(self.bell)
            os.close(self.bell)
            self.bell = -1

    def heed(self) -> float:
        """Take what rang, and see how long everybody has acted."""
        self.quieten()
        left = [10 - self.lasted(act) for act in self.heard() if not self.is_judged(act)]
        return max(0.0, min(left, default=inf))

    def quieten(self) -> None:
        """Take it."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fileno())

    def heard(self) -> list[int]:
        """Return who acts."""
        return self.acts

    def lasted(self, act: int) -> float:
        """Return for how long one has."""
        return self.clock[0] - self.since.setdefault(act, self.clock[0])

    def is_judged(self, act: int) -> bool:
        """Whether one was judged, as far as is stored."""
        known = self.known.get(f"{act}") or self.seen.get(f"{act}")
        return known is not None and known.judged

    def way(self) -> str:
        """Return how it sees."""
        return "bell"

    def insists(self) -> bool:
        """Return that it need not."""
        return False

    def due(self) -> float:
        """Return when a pass would look again."""
        return 5.0

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Take what is stored."""
        self.known, self.seen = {suspect.thing: suspect for suspect in suspects}, {}

    def read(self, _cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Judge who has acted for long enough."""
        for act in self.acts:
            address = Network.of(4, 0xC0000200 + act, 32)
            lasted, judged = self.lasted(act), self.is_judged(act)
            if lasted >= 10 and not judged:
                who = Judgement("act", address)
                yield Record(f"{address} acts", "alarm", trusted=True, judgement=who)
                judged = True
            self.seen[f"{act}"] = Suspect(f"{act}", "act", address, 0.0, 1, judged=judged)

    def cursor(self) -> str | None:
        """Return none."""
        return None

    def suspects(self) -> list[Suspect]:
        """Return who acts."""
        return [*self.seen.values()]


class AlarmContract(HeedingSourceContract):
    """The contract, on a scene in memory."""

    kind: ClassVar[type[Alarm]] = Alarm

    @pytest.fixture
    def scene(self) -> Alarm:
        """A scene of the kind that is judged."""
        return type(self).kind()


class RingsOn(Alarm):
    """Leaves its bell ringing."""

    def quieten(self) -> None:
        """Take nothing."""


class OverlooksThePast(Alarm):
    """Heeds only who acts from then on."""

    def fileno(self) -> int:
        """Count who acts already."""
        self.since.setdefault(0, len(self.acts))
        return super().fileno()

    def heard(self) -> list[int]:
        """Leave these out."""
        return [act for act in self.acts if act > self.since[0]]


class ForgetsTheOthers(Alarm):
    """Suspects only whom it has just judged."""

    def suspects(self) -> list[Suspect]:
        """Leave out who was judged before."""
        return [each for each in super().suspects() if each.thing == f"{len(self.acts)}"]


class TrustsItself(Alarm):
    """Remembers what it has judged, whether it was stored or not."""

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Add it to what was known."""
        super().recall([*(self.known | self.seen).values(), *suspects])


class KeepsItsBell(Alarm):
    """Closes nothing."""

    def close(self) -> None:
        """Leave it open."""


class NamesNoWay(Alarm):
    """Leaves the administrator in the dark."""

    def way(self) -> str:
        """Return no words."""
        return ""


EXPECTED_HEEDING: Mapping[type[Alarm], set[str]] = {
    RingsOn: {"test_judged", "test_one_by_one", "test_what_was_not_stored_is_judged_again"},
    OverlooksThePast: {"test_there_before"},
    ForgetsTheOthers: {"test_one_by_one"},
    TrustsItself: {"test_what_was_not_stored_is_judged_again"},
    KeepsItsBell: {"test_descriptor"},
    NamesNoWay: {"test_is_heeding"},
}
"""Each source that is woken by what it judges later, and the cases that it fails."""

for _alarm in EXPECTED_HEEDING:
    _name = f"Test{_alarm.__name__}"
    globals()[_name] = type(_name, (AlarmContract,), {"kind": _alarm, "__doc__": _alarm.__doc__})


def _told(contract: Any, damage: Callable[[Any], object]) -> None:
    damage(contract)
    contract.memory.tell(4242)


class MemoryReflexesContract(ReflexesContract):
    """The contract of reflexes, on a firewall in memory that tells of changes."""

    kind: ClassVar[type[MemoryReflexes]] = MemoryReflexes
    patience = quiet = 0.01  # in memory all is told at once
    memory: Memory
    change = MemoryContract.change
    held = MemoryContract.held

    @pytest.fixture
    def backend(self) -> Memory:
        """A firewall with reflexes of the kind that is judged."""
        kind = type(self).kind

        class Judged(Memory):
            def reflexes(self) -> MemoryReflexes:
                return kind(self)

        self.memory = Judged()
        return self.memory

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        name: partial(_told, damage=damage) for name, damage in MemoryContract.damages.items()
    }

    def elsewhere(self) -> None:
        """Another table."""
        self.memory.tables["other"] = Table()


class PolledMemoryReflexesContract(PolledReflexesContract, MemoryReflexesContract):
    """The contract of reflexes that are asked, on a firewall in memory."""


class RepairsNothing(MemoryReflexes):
    """Looks, and that is all."""

    def repair(self) -> Sequence[Damage]:
        """Do nothing."""
        return ()


class ForgetsWhatItAdded(MemoryReflexes):
    """Adds, and does not hold it."""

    def add(self, networks: Networks) -> None:
        """Hold what was held before."""
        held = self._desired
        super().add(networks)
        self.hold(held, "")


class LetsNobodyPass(MemoryReflexes):
    """Leaves it to a pass."""

    def let_pass(self, networks: Networks) -> None:
        """Do nothing."""


class NamesNobody(MemoryReflexes):
    """Wakes, and does not say why."""

    def changed(self) -> Sequence[int]:
        """Name nobody."""
        super().changed()
        return ()


class HoldsTheFirst(MemoryReflexes):
    """Takes what is to be held once."""

    def hold(self, desired: Desired, owner: str) -> None:
        """Take no second."""
        if not self._desired.banned:
            super().hold(desired, owner)


class AddsNothingAround(MemoryReflexes):
    """Leaves out what would overlap with what is held."""

    def add(self, networks: Networks) -> None:
        """Leave it out."""
        held = self._desired.banned
        apart = [each for each in networks if not any(each <= one <= each.end for one in held)]
        super().add(Networks.of(apart))


class HearsItself(MemoryReflexes):
    """Takes its own changes for those of others."""

    def add(self, networks: Networks) -> None:
        """Wake, too."""
        super().add(networks)
        self._told(1)


class HearsTooMuch(MemoryReflexes):
    """Is always awake."""

    def changed(self) -> Sequence[int]:
        """Stay awake."""
        others = super().changed()
        os.eventfd_write(self.fileno(), 1)
        return others

    def hold(self, desired: Desired, owner: str) -> None:
        """Wake."""
        super().hold(desired, owner)
        self.changed()


class LeavesNothing(MemoryReflexes):
    """Takes everything away when it ends."""

    def close(self) -> None:
        """Remove the table."""
        super().close()
        self._memory.teardown()


EXPECTED_REFLEXES: Mapping[type[MemoryReflexes], set[str]] = {
    RepairsNothing: {"test_reflex_damage", "test_reflex_damage_of_what_was_added"},
    ForgetsWhatItAdded: {"test_reflex_add", "test_reflex_add_many", "test_reflex_add_around",
                         "test_reflex_damage_of_what_was_added"},
    LetsNobodyPass: {"test_reflex_let_pass"},
    NamesNobody: {"test_reflex_damage"},
    HoldsTheFirst: {"test_reflex_hold"},
    AddsNothingAround: {"test_reflex_add_around"},
    HearsItself: {"test_reflex_add"},
    HearsTooMuch: {"test_reflex_nothing_is_wrong", "test_reflex_elsewhere"},
    LeavesNothing: {"test_reflex_close"},
}  # fmt: skip
"""Each kind of reflexes, and the cases of the contract that it fails."""

for _reflexes in EXPECTED_REFLEXES:
    _name = f"Test{_reflexes.__name__}"
    globals()[_name] = type(
        _name, (MemoryReflexesContract,), {"kind": _reflexes, "__doc__": _reflexes.__doc__}
    )


class TellsOnce(MemoryReflexes):
    """Asked again before the repair, takes all for well."""

    def changed(self) -> Sequence[int]:
        """Forget what is told."""
        others = [*super().changed()]
        self._others.clear()
        return others


class AskedHearsItself(MemoryReflexes):
    """Takes its own changes for those of others, when it is asked."""

    def add(self, networks: Networks) -> None:
        """Remember it as a change."""
        super().add(networks)
        self._others.append(1)


EXPECTED_POLLED: Mapping[type[MemoryReflexes], set[str]] = {
    TellsOnce: {"test_reflex_damage", "test_reflex_tells_until_the_repair"},
    AskedHearsItself: {"test_reflex_add"},
}
for _reflexes in EXPECTED_POLLED:
    _name = f"Test{_reflexes.__name__}"
    globals()[_name] = type(
        _name, (PolledMemoryReflexesContract,), {"kind": _reflexes, "__doc__": _reflexes.__doc__}
    )


class MemoryWatcher:
    """Waits for `Memory.tell`, and for what is applied."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._bell = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        memory.listeners.append(self.ring)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._bell

    def changed(self) -> bool:
        """Return whether it was rung."""
        with suppress(BlockingIOError):
            return os.eventfd_read(self._bell) > 0
        return False

    def close(self) -> None:
        """Close the descriptor."""
        self._memory.listeners.remove(self.ring)
        os.close(self._bell)

    def ring(self, _port: int) -> None:
        """Wake whoever waits."""
        os.eventfd_write(self._bell, 1)


class MemoryWatchedContract(WatchedContract):
    """The contract of backends that are waited for, on a firewall in memory."""

    kind: ClassVar[type[MemoryWatcher]] = MemoryWatcher
    patience = 0.1  # in memory all is told at once
    memory: Memory
    change = MemoryContract.change
    held = MemoryContract.held
    damages = MemoryReflexesContract.damages

    @pytest.fixture
    def backend(self) -> Memory:
        """A firewall with a watcher of the kind that is judged."""
        kind = type(self).kind

        class Judged(Memory):
            def watcher(self) -> MemoryWatcher:
                return kind(self)

        self.memory = Judged()
        return self.memory


class WakesNobody(MemoryWatcher):
    """Does not hear."""

    def ring(self, _port: int) -> None:
        """Do nothing."""


class TellsNoChange(MemoryWatcher):
    """Wakes, and tells of nothing but the first."""

    def changed(self) -> bool:
        """Return True at the beginning alone."""
        first, self.first = getattr(self, "first", True), False
        return super().changed() and first


class KeepsItsDescriptor(MemoryWatcher):
    """Is not closed."""

    def close(self) -> None:
        """Do nothing."""


EXPECTED_WATCHED: Mapping[type[MemoryWatcher], set[str]] = {
    WakesNobody: {"test_watched_damage", "test_watched_damage_again"},
    TellsNoChange: {"test_watched_damage"},
    KeepsItsDescriptor: {"test_watched_close"},
}
for _watcher in EXPECTED_WATCHED:
    _name = f"Test{_watcher.__name__}"
    globals()[_name] = type(
        _name, (MemoryWatchedContract,), {"kind": _watcher, "__doc__": _watcher.__doc__}
    )


class Patient:
    """Knows of a flaw in memory."""

    def __init__(self) -> None:
        self.ill = False
        self.asked = 0

    def diagnose(self) -> list[Finding]:
        """Return it."""
        return [Finding("it is ill", "it does not work", "heal it")] if self.ill else []


class PatientContract(DiagnosingContract):
    """The contract, on a patient in memory."""

    kind: ClassVar[type[Patient]] = Patient
    flaws: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "illness": lambda self: setattr(self.patient, "ill", True)
    }

    @pytest.fixture
    def diagnosing(self) -> Any:
        """One of the kind that is judged."""
        self.patient = type(self).kind()
        return self.patient


class SaysNothing(Patient):
    """Finds no flaw."""

    def diagnose(self) -> list[Finding]:
        """Return nothing."""
        return []


class CriesWolf(Patient):
    """Finds a flaw where there is none."""

    def diagnose(self) -> list[Finding]:
        """Return it always."""
        return [Finding("it is ill", "it does not work", "heal it")]


class TellsItOnce(Patient):
    """Finds a flaw the first time only."""

    def diagnose(self) -> list[Finding]:
        """Return it once."""
        self.asked += 1
        return super().diagnose() if self.asked == 1 else []


class HelpsNobody(Patient):
    """Finds a flaw, and does not tell what mends it."""

    def diagnose(self) -> list[Finding]:
        """Return it without a remedy."""
        return [Finding(each.what, each.why, "") for each in super().diagnose()]


EXPECTED_PATIENTS: Mapping[type[Patient], set[str]] = {
    SaysNothing: {"test_flaw"},
    CriesWolf: {"test_all_is_well"},
    TellsItOnce: {"test_flaw"},
    HelpsNobody: {"test_flaw"},
}
for _patient in EXPECTED_PATIENTS:
    _name = f"Test{_patient.__name__}"
    globals()[_name] = type(
        _name, (PatientContract,), {"kind": _patient, "__doc__": _patient.__doc__}
    )
