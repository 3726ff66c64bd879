"""The pass: what it does when sources and backends fail, lie or disagree."""

import sys
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import attrs
import pytest

from reconciler import (
    Backend,
    BackendFailed,
    BackendUnreadable,
    Damage,
    Desired,
    Network,
    Networks,
    Observed,
    Plan,
    Record,
    SourceUnreadable,
)
from reconciler.loop import ROUNDS, Guard, Outcome, State, Wish, enforce, teardown
from reconciler.model import Ban
from reconciler.plan import Causes
from reconciler.policy import Policy
from reconciler.scanner import Reading, Scanner
from reconciler.store import Store, open_store

A, B, C = (Network.parse(f"192.0.2.{i}") for i in (1, 2, 3))
NOW = 1_000_000


def shrunk(address: str, *, trusted: bool = True) -> Record:
    """Make the record of an offence."""
    text = f"Peer {address}:1/2 unexpectedly shrunk window 3:4 (repaired)"
    return Record(text=text, carrier="kmsg", trusted=trusted)


@attrs.define
class Memory:
    """A backend that holds what it is told."""

    banned: AbstractSet[Network] = frozenset()
    damage: tuple[Damage, ...] = ()
    applied: int = 0

    def observe(self) -> Observed:
        """Tell what it holds."""
        return Observed(self.banned, frozenset(), self.damage)

    def render(self, plan: Plan) -> str:
        """Tell the plan."""
        return f"{len(plan.banned.add)} to add"

    def apply(self, plan: Plan) -> None:
        """Hold what is desired."""
        self.applied += 1
        self.banned = plan.desired.banned
        self.damage = ()

    def teardown(self) -> None:
        """Hold nothing."""
        self.banned = frozenset()


@attrs.define
class Fixed:
    """A source of given records."""

    records: Sequence[Record]
    position: str | None = "1"

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield them all, once."""
        return iter(self.records if cursor is None else ())

    def cursor(self) -> str | None:
        """Tell the position."""
        return self.position


def pass_(backend: Backend, desired: Desired, guard: Guard | None = None, **how: bool) -> Outcome:
    """Enforce on one backend."""
    check, render = how.get("check", False), how.get("render", False)
    wish = Wish(lambda: desired, guard, render=render)
    [outcome] = enforce({"it": lambda: backend}, wish, check=check)
    return outcome


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "db", write=True) as opened:
        yield opened


def test_a_pass_converges_and_the_next_does_nothing() -> None:
    """Changed, then in sync without a further apply."""
    backend, desired = Memory(), Desired(frozenset({A}))
    assert pass_(backend, desired).state is State.CHANGED
    assert pass_(backend, desired).state is State.IN_SYNC
    assert backend.applied == 1


def test_a_check_changes_nothing() -> None:
    """Drift is told with its plan, and nothing is applied."""
    backend = Memory(damage=(Damage("it", "is broken"),))
    outcome = pass_(backend, Desired(frozenset({A})), check=True, render=True)
    assert outcome.state is State.DRIFT
    assert outcome.plan is not None
    assert outcome.script == "1 to add"
    assert backend.applied == 0


def test_success_is_read_back_not_believed() -> None:
    """A backend that reports success without applying fails the pass."""

    class Liar(Memory):
        def apply(self, plan: Plan) -> None:
            self.applied += 1

    backend = Liar()
    outcome = pass_(backend, Desired(frozenset({A})))
    assert outcome.state is State.FAILED
    assert "still differs" in outcome.error
    assert backend.applied == ROUNDS


def test_a_change_by_somebody_else_in_between_is_planned_again() -> None:
    """A refused transaction is read and planned anew, within the same pass."""

    class Contended(Memory):
        def apply(self, plan: Plan) -> None:
            if not self.applied:
                self.applied, self.banned = 1, frozenset({C})
                raise BackendFailed("somebody was faster")
            super().apply(plan)

    backend = Contended(frozenset({B}))
    assert pass_(backend, Desired(frozenset({A}))).state is State.CHANGED
    assert backend.banned == {A}


def test_one_failing_backend_does_not_stop_the_next() -> None:
    """Unreadable, and a bug in a plugin, are told; the good backend still converges."""

    class Unreadable(Memory):
        def observe(self) -> Observed:
            raise BackendUnreadable("no permission", "be root")

    class Buggy(Memory):
        def observe(self) -> Observed:
            return 1 // 0  # type: ignore[return-value]  # that is the bug

    class Exits(Memory):
        def apply(self, plan: Plan) -> None:
            sys.exit(0)

    class Wrong(Memory):
        def observe(self) -> Observed:
            return Observed(["192.0.2.1"])  # type: ignore[list-item]  # that is the mistake

    def unmade() -> Memory:
        raise OSError("no such cloud")

    good = Memory()
    outcomes = list(
        enforce(
            {"a": Unreadable, "b": Buggy, "d": Exits, "e": Wrong, "f": unmade, "c": lambda: good},
            Wish(lambda: Desired(frozenset({A}))), check=False,
        )
    )  # fmt: skip
    assert [o.state for o in outcomes] == [State.FAILED] * 5 + [State.CHANGED]
    assert outcomes[0].error == "no permission\n  be root"
    assert not outcomes[0].trace
    assert "ZeroDivisionError" in outcomes[1].error
    assert "1 // 0" in outcomes[1].trace
    assert good.banned == {A}


def test_unexplained_removals_are_refused_and_nothing_is_applied() -> None:
    """Losing the database must not open the gates; an explanation or force does."""
    held = frozenset(Network.of(4, i, 32) for i in range(20))
    backend = Memory(held)
    outcome = pass_(backend, Desired(), Guard(0.3, Causes))
    assert outcome.state is State.FAILED
    assert "refused to lift 20 of 20" in outcome.error
    assert "--force" in outcome.error
    assert backend.banned == held
    assert pass_(backend, Desired(), Guard(0.3, lambda: Causes(held))).state is State.CHANGED
    backend.banned = held
    assert pass_(backend, Desired()).state is State.CHANGED


def test_what_is_refused_holds_nothing_else_back() -> None:
    """Repairs, new bans and explained removals go ahead; the pass still fails."""
    held = frozenset(Network.of(4, i, 32) for i in range(20))
    backend = Memory(held | {A}, (Damage("it", "is broken"),))
    outcome = pass_(backend, Desired(frozenset({B})), Guard(0.3, lambda: Causes(frozenset({A}))))
    assert (outcome.state, "20 of 21" in outcome.error) == (State.FAILED, True)
    assert (backend.banned, backend.damage) == (held | {B}, ())


def test_a_few_removals_need_no_explanation() -> None:
    """The guard counts from ten networks up, and allows its share."""
    nine = Memory(frozenset(Network.of(4, i, 32) for i in range(9)))
    assert pass_(nine, Desired(), Guard(0.3, Causes)).state is State.CHANGED
    ten = Memory(frozenset(Network.of(4, i, 32) for i in range(10)))
    kept = Desired(frozenset(Network.of(4, i, 32) for i in range(7)))
    assert pass_(ten, kept, Guard(0.3, Causes)).state is State.CHANGED


def test_a_check_tells_that_a_pass_would_be_refused() -> None:
    """The refusal is part of the drift."""
    backend = Memory(frozenset(Network.of(4, i, 32) for i in range(20)))
    outcome = pass_(backend, Desired(), Guard(0.3, Causes), check=True)
    assert outcome.state is State.DRIFT
    assert "refused to lift" in outcome.error


def test_teardown_of_one_goes_on_after_another_failed() -> None:
    """Each backend is taken down by itself."""

    class Stuck(Memory):
        def teardown(self) -> None:
            raise BackendFailed("busy")

    backend = Memory(frozenset({A}))
    states = [o.state for o in teardown({"a": Stuck, "b": lambda: backend})]
    assert states == [State.FAILED, State.REMOVED]
    assert backend.banned == frozenset()


def scan(store: Store, source: object, **how: object) -> Reading:
    """Scan one source."""
    options = {"policy": Policy(), "now": NOW, "write": True} | how
    [reading] = Scanner(store, **options).scan({"it": lambda: source})  # type: ignore[arg-type, dict-item, return-value]  # options by name
    return reading


def test_a_scan_bans_once_and_remembers_where_it_was(store: Store) -> None:
    """Offences, bans and cursor are stored; the next scan finds nothing new."""
    source = Fixed([shrunk("192.0.2.1"), shrunk("192.0.2.1"), shrunk("192.0.2.2")])
    reading = scan(store, source)
    assert (reading.offences, [ban.network for ban in reading.bans]) == (3, [A, B])
    assert len(store.offences([A, B], 0)) == 3
    assert store.cursor("it") == "1"
    assert scan(store, source) == Reading("it")


def test_a_scan_without_writing_leaves_no_trace(store: Store) -> None:
    """The bans are told, but neither they nor the cursor are stored."""
    reading = scan(store, Fixed([shrunk("192.0.2.1")]), write=False)
    assert [ban.network for ban in reading.bans] == [A]
    assert store.banned(NOW) == (Networks(), [])
    assert store.cursor("it") is None


def test_untrusted_records_are_refused_unless_userspace_is_believed(store: Store) -> None:
    """Refused offences are counted and shown, never stored."""
    forged = Fixed([shrunk("192.0.2.1", trusted=False)] * 12, position=None)
    reading = scan(store, forged)
    assert (reading.offences, reading.refused, len(reading.examples)) == (0, 12, 10)
    assert store.offences([A], 0) == []
    assert [ban.network for ban in scan(store, forged, userspace=True).bans] == [A]


def test_a_known_ban_is_not_made_again_but_made_longer(store: Store) -> None:
    """A permanent ban is never shortened; a temporary one gives way to a later end."""
    source = Fixed([shrunk("192.0.2.1")], position=None)
    short, long_ = Policy(ban_for=60), Policy(ban_for=3600)
    assert [b.until for b in scan(store, source, policy=short).bans] == [NOW + 60]
    assert [b.until for b in scan(store, source, policy=long_).bans] == [NOW + 3600]
    assert scan(store, source, policy=short).bans == ()
    assert [b.until for b in scan(store, source).bans] == [None]
    assert scan(store, source, policy=long_).bans == ()


def test_the_threshold_is_reached_across_passes(store: Store) -> None:
    """Stored offences count in the next scan."""
    policy = Policy(threshold=2)
    other = "Peer 192.0.2.1:9/2 unexpectedly shrunk window 3:4 (repaired)"
    assert scan(store, Fixed([shrunk("192.0.2.1")], position=None), policy=policy).bans == ()
    second = Fixed([Record(text=other, carrier="kmsg", trusted=True)], position=None)
    assert [ban.network for ban in scan(store, second, policy=policy).bans] == [A]


def test_sources_of_one_pass_add_up_in_a_check_as_well(store: Store) -> None:
    """What one source told helps to reach the threshold in the next, stored or not."""
    other = "Peer 192.0.2.1:9/2 unexpectedly shrunk window 3:4 (repaired)"
    sources = {
        "a": lambda: Fixed([shrunk("192.0.2.1")], position=None),
        "b": lambda: Fixed([Record(text=other, carrier="x", trusted=True)] * 2, position=None),
        "c": lambda: Fixed([shrunk("192.0.2.1")], position=None),
    }
    for write in (False, True):
        readings = list(Scanner(store, Policy(threshold=2), NOW, write).scan(sources))
        assert [len(reading.bans) for reading in readings] == [0, 1, 0]


def test_too_many_new_bans_are_refused_as_a_whole(store: Store) -> None:
    """Over all sources of a pass; nothing of the refused source is stored, its cursor stays."""
    first = Fixed([shrunk("192.0.2.1")])
    second = Fixed([shrunk("192.0.2.2"), shrunk("192.0.2.3")])
    scanner = Scanner(store, Policy(), NOW, write=True, max_new_bans=2)
    fine, refused = scanner.scan({"a": lambda: first, "b": lambda: second})
    assert len(fine.bans) == 1
    assert "2 new bans after 1, max_new_bans allows 2" in refused.error
    assert store.banned(NOW) == (Networks.of([A]), [])
    assert store.cursor("b") is None


def test_many_offences_of_one_address_are_decided_soon(store: Store) -> None:
    """Time grows with the offences, not with their square."""
    many = [
        Record(text=shrunk("192.0.2.1").text, carrier="x", trusted=True, time=i * 700.0)
        for i in range(50_000)
    ]
    reading = scan(store, Fixed(many, position=None), policy=Policy(threshold=2), write=False)
    assert (reading.offences, reading.bans) == (50_000, ())


def test_a_ban_that_was_lifted_and_made_again_explains_nothing(store: Store) -> None:
    """Only a lift that is the last event of its network does."""
    store.ban([Ban(A, NOW, None, "x"), Ban(B, NOW, None, "x")])
    store.unban([A, B], NOW)
    store.ban([Ban(A, NOW, None, "x")])
    assert store.last_events(NOW) == (Networks.of([B]), Networks.of([A]))


def test_an_unreadable_source_stops_no_other_and_stores_nothing(store: Store) -> None:
    """What was read before the failure is read again next time."""

    class Failing(Fixed):
        def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
            yield shrunk("192.0.2.1")
            raise SourceUnreadable("gone", "bring it back")

    good = Fixed([shrunk("192.0.2.2")])
    scanner = Scanner(store, Policy(), NOW, write=True)
    bad, fine = scanner.scan({"bad": lambda: Failing([]), "good": lambda: good})
    assert bad.error == "gone\n  bring it back"
    assert [ban.network for ban in fine.bans] == [B]
    assert store.banned(NOW) == (Networks.of([B]), [])
