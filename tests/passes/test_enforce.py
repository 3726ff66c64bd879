"""The pass: what it does when sources and backends fail, lie or disagree."""

from collections.abc import Set as AbstractSet

import attrs
import pytest

from reconciler import (
    Backend,
    BackendFailed,
    BackendUnreadable,
    Damage,
    Desired,
    Network,
    Observed,
    Plan,
)
from reconciler.passes.enforce import ROUNDS, Goal, Outcome, State, enforce, teardown
from reconciler.planning.guard import Guard
from reconciler.planning.plan import Causes

A, B, C = (Network.parse(f"192.0.2.{i}") for i in (1, 2, 3))
NOW = 1_000_000


@attrs.define
class Memory:
    """A backend that holds what it is told."""

    banned: AbstractSet[Network] = frozenset()
    damage: tuple[Damage, ...] = ()
    applied: int = 0

    def observe(self) -> Observed:
        """Return what it holds."""
        return Observed(self.banned, frozenset(), self.damage)

    def render(self, plan: Plan) -> str:
        """Return the plan as text."""
        return f"{len(plan.banned.add)} to add"

    def apply(self, plan: Plan) -> None:
        """Hold what is desired."""
        self.applied += 1
        self.banned = plan.desired.banned
        self.damage = ()

    def teardown(self) -> None:
        """Hold nothing."""
        self.banned = frozenset()


def pass_(backend: Backend, desired: Desired, guard: Guard | None = None, **how: bool) -> Outcome:
    """Enforce on one backend."""
    check, render = how.get("check", False), how.get("render", False)
    goal = Goal(lambda: desired, guard, render=render)
    [outcome] = enforce({"it": lambda: backend}, goal, check=check)
    return outcome


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

    class Wrong(Memory):
        def observe(self) -> Observed:
            return Observed(["192.0.2.1"])  # type: ignore[list-item]  # that is the mistake

    def unmade() -> Memory:
        raise OSError("no such cloud")

    good = Memory()
    outcomes = list(
        enforce(
            {"a": Unreadable, "b": Buggy, "e": Wrong, "f": unmade, "c": lambda: good},
            Goal(lambda: Desired(frozenset({A}))), check=False,
        )
    )  # fmt: skip
    assert [o.state for o in outcomes] == [State.FAILED] * 4 + [State.CHANGED]
    assert outcomes[0].error == "no permission\n  be root"
    assert not outcomes[0].trace
    assert "ZeroDivisionError" in outcomes[1].error
    assert "1 // 0" in outcomes[1].trace
    assert good.banned == {A}


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_the_program_is_no_failure_of_a_backend(kind: type[BaseException]) -> None:
    """It ends the pass, whichever backend was at work; any other exception does not."""

    class Ends(Memory):
        def apply(self, plan: Plan) -> None:
            raise kind

    class Odd(Memory):
        def apply(self, plan: Plan) -> None:
            raise BaseException("odd")  # noqa: TRY002 - plugins raise whatever they like

    goal = Goal(lambda: Desired(frozenset({A})))
    outcomes = enforce({"odd": Odd, "it": Ends}, goal, check=False)
    assert "BaseException: odd" in next(outcomes).error
    with pytest.raises(kind):
        next(outcomes)


def test_unexplained_removals_are_refused_and_nothing_is_applied() -> None:
    """Losing the database must not open the gates; an explanation or force does."""
    held = frozenset(Network.of(4, i, 32) for i in range(20))
    backend = Memory(held)
    outcome = pass_(backend, Desired(), Guard(0.3, Causes))
    assert outcome.state is State.FAILED
    assert "refusing to remove 20 of 20" in outcome.error
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
    assert "refusing to remove" in outcome.error


def test_teardown_of_one_goes_on_after_another_failed() -> None:
    """Each backend is taken down by itself."""

    class Stuck(Memory):
        def teardown(self) -> None:
            raise BackendFailed("busy")

    backend = Memory(frozenset({A}))
    states = [o.state for o in teardown({"a": Stuck, "b": lambda: backend})]
    assert states == [State.FAILED, State.REMOVED]
    assert backend.banned == frozenset()
