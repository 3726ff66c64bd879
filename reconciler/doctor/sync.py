"""Whether every backend holds what is desired, and packets come to it."""

from collections.abc import Iterator
from typing import Final

from attrs import evolve

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.errors import TreasonError
from reconciler.lines import counted
from reconciler.passes import resident
from reconciler.passes.enforce import Outcome, State, enforce
from reconciler.passes.run import Options, Pass
from reconciler.store.store import Store

_LOOKS: Final = 3
"""How often it is looked, before it is believed that a daemon leaves something as it is."""

_WHY: Final = "packets pass that are to be dropped, or are dropped that are to pass"


def check(machine: Machine) -> Iterator[Finding]:
    """Yield which of them differs, and which cannot do its work."""
    if machine.store is None:
        return
    outcomes: list[Outcome] = []
    for _ in range(_LOOKS):
        try:
            outcomes, beside = _compared(machine, machine.store)
        except TreasonError as error:
            yield Finding(error.what, "nothing can be enforced", error.hint)
            return
        if not (beside and any(each.state is State.DRIFT for each in outcomes)):
            break
    for outcome in outcomes:
        if outcome.state is State.DRIFT and outcome.plan is not None:
            plan = outcome.plan
            missing = len(plan.banned.add) + len(plan.passed.add)
            surplus = len(plan.banned.remove) + len(plan.passed.remove)
            parts = [f"{plan.repairs[0]}"] if plan.repairs else []
            parts += [f"{counted(missing, 'network')} missing"] if missing else []
            parts += [f"{counted(surplus, 'network')} too many"] if surplus else []
            yield Finding(
                f"{outcome.backend} differs from what is desired: {'; '.join(parts)}",
                _WHY,
                machine.command("reconcile", "--no-scan"),
            )
        for failure in filter(None, [outcome.error, *outcome.problems]):
            what, _, hint = failure.partition("\n")
            yield Finding(what, _WHY, hint.strip() or machine.command("reconcile", "-v"))


def _compared(machine: Machine, store: Store) -> tuple[list[Outcome], bool]:
    """Compare all of them; return also whether a daemon has answered."""
    backends = machine.setup.backends()
    beside = machine.resident if resident.beside(machine.setup, backends) else None
    pass_ = Pass(
        machine.setup,
        store,
        machine.clock.now,
        backends=backends,
        options=Options(check=True, write=False),
        clock=machine.clock,
        resident=beside,
    )
    goal = evolve(pass_.prepare().goal, guard=None)
    return [*enforce(backends, goal, check=True)], bool(beside and beside.met)
