"""A pass over the backends: let each of them hold what is desired.

Level-triggered: what a backend holds is read, or known because it has not changed since it was
verified; it is never deduced from what was sent. One that fails does not stop the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, evolve, field, frozen

from reconciler.errors import BackendError, BackendFailed, describe, guarded, trace
from reconciler.interfaces import Backend, ConfirmingBackend, DigestedBackend, FingerprintedBackend
from reconciler.log import Log
from reconciler.model import BOTH, Change, Desired, Plan
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.planning.desired import keeping
from reconciler.planning.guard import Guard
from reconciler.planning.ownership import Owner
from reconciler.planning.plan import plan

if TYPE_CHECKING:
    from reconciler.passes.marking import Marking

ROUNDS: Final = 3
"""How often a backend is read and corrected in one pass before it counts as not converging."""

_log = Log("enforce")


class State(Enum):
    """How a backend stands at the end of a pass."""

    IN_SYNC = "in sync"
    DRIFT = "drift"
    CHANGED = "changed"
    REMOVED = "removed"
    FAILED = "failed"


@frozen
class Outcome:
    """How a backend stands, and the plan that was needed; ``script`` is the plan as it is sent.

    ``notes`` are what the backend has to say besides. ``partly`` says that all was carried out
    but for what ``error`` names. ``problems`` keep packets from being dropped, and are not the
    backend's to mend. ``versions`` are the families (4, 6) held, ``desired`` is how many to drop.
    """

    backend: str
    state: State
    plan: Plan | None = None
    script: str = ""
    error: str = ""
    trace: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()
    partly: bool = False
    problems: tuple[str, ...] = ()
    versions: frozenset[int] = BOTH
    desired: int | None = None

    @property
    def failure(self) -> str:
        """All that is wrong, in words; empty if nothing is."""
        return "\n".join(filter(None, [self.error, *self.problems]))


@frozen(eq=False)
class Recalled:
    """What a backend is known to hold, without reading it.

    ``needed`` is the plan from there to what is desired, ``enforced`` counts what is dropped.
    """

    needed: Plan | None
    enforced: int


class Knowledge(Protocol):
    """What each backend was verified to hold, and under which fingerprint."""

    def recall(self, backend: str, fingerprint: str) -> Recalled | None:
        """Return what the backend holds if it has this fingerprint; None if it must be read."""

    def keep(self, backend: str, fingerprint: str, enforced: int, *, read: bool) -> None:
        """Remember that it holds what is desired; ``read`` says that all of it was read."""


@frozen(eq=False)
class Goal:
    """What every backend is to hold, and how to find out whether it does.

    ``whole`` is asked only when a backend must be read or made anew. ``full`` reads everything,
    before and after a change, whatever is known. ``render`` asks for the script of each plan.
    ``protected`` is never dropped, also where the guard keeps what else it holds enforced.
    ``owner`` is the database that the backends' objects are changed for; what was changed for
    another one last is changed only with ``takes_over``. ``marking`` tells whose those are that
    cannot tell it. A plan that is ``late`` does not matter: somebody else just adds that, say.
    With ``lifts`` nothing is to be dropped, so what keeps packets from it is no problem.
    """

    whole: Callable[[], Desired]
    guard: Guard | None = None
    knowledge: Knowledge | None = None
    full: bool = False
    render: bool = False
    protected: Sequence[Network] = ()
    owner: Owner | None = None
    takes_over: bool = False
    marking: "Marking | None" = None
    late: Callable[[Backend, Plan], bool] = lambda _backend, _plan: False
    lifts: bool = False


def enforce(
    backends: Mapping[str, Callable[[], Backend]], goal: Goal, *, check: bool
) -> Iterator[Outcome]:
    """Make every backend hold what is desired, and verify that it does.

    With ``check`` they are only compared.
    """
    step = _compare if check else _converge
    for name, make in backends.items():
        yield guarded(partial(step, name, goal, make), partial(_failed, name), name)


def teardown(
    backends: Mapping[str, Callable[[], Backend]], goal: Callable[[], Goal] | None = None
) -> Iterator[Outcome]:
    """Let every backend remove what it owns.

    The goal is asked for where a thing cannot tell whose it is: then somebody else's stays.
    """
    for name, make in backends.items():
        yield guarded(partial(_remove, name, goal, make), partial(_failed, name), name)


def _failed(name: str, error: BaseException) -> Outcome:
    return Outcome(name, State.FAILED, error=describe(error, name), trace=trace(error))


def _remove(name: str, goal: Callable[[], Goal] | None, make: Callable[[], Backend]) -> Outcome:
    backend = make()
    if goal is not None and isinstance(backend, DigestedBackend) and backend.digest() is not None:
        _read(name, goal(), backend)
    return Outcome(name, State.REMOVED, notes=tuple(backend.teardown() or ()))


@frozen(eq=False)
class _View:
    """What a backend holds, as far as it matters: what is needed, and how it is known.

    ``fingerprint`` is that of exactly this state, if it has one; ``read`` says that it was read.
    ``foreign``: last changed for another database. The rest is that of `Observed`.
    """

    needed: Plan | None
    enforced: int
    fingerprint: str | None = None
    read: bool = True
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    versions: frozenset[int] = BOTH
    foreign: bool = False


def _compare(name: str, goal: Goal, make: Callable[[], Backend]) -> Outcome:
    view = _look(name, goal, backend := make())
    state = State.FAILED if view.problems else State.IN_SYNC
    change = view.needed.banned if view.needed else Change()
    desired = None if view.read else view.enforced + len(change.add) - len(change.remove)
    outcome = Outcome(name, state, notes=view.notes, problems=view.problems, desired=desired)
    if view.needed is None or goal.late(backend, view.needed):
        return outcome
    removals, guard = _refused(goal, view), goal.guard
    error = guard.refusal(name, removals, view.enforced) if guard and removals else ""
    script = backend.render(view.needed) if goal.render else ""
    return evolve(outcome, state=State.DRIFT, plan=view.needed, script=script, error=error)


def _converge(name: str, goal: Goal, make: Callable[[], Backend]) -> Outcome:
    """Look, correct and look again, until nothing is left to correct."""
    backend = make()
    work = _Convergence(name, goal, backend, _look(name, goal, backend))
    work.hold_back()
    work.take_over()
    if goal.marking and work.view.needed is None:
        goal.marking.settle(backend)
    for _ in range(ROUNDS):
        if work.view.needed is None or work.stopped:
            break
        work.correct(work.view.needed)
        work.hold_back()
    return work.outcome()


@define(eq=False)
class _Convergence:
    """One backend on its way: what it holds, the first plan that was needed, what went wrong."""

    name: str
    goal: Goal
    backend: Backend
    view: _View
    first: Plan | None = None
    script: str = ""
    refusal: str = ""
    failure: str = ""
    stopped: bool = False

    def hold_back(self) -> None:
        """Keep enforced what the guard refuses to remove; all else goes ahead."""
        removals = _refused(self.goal, self.view)
        if self.goal.guard is None or not removals:
            return
        self.refusal = self.goal.guard.refusal(self.name, removals, self.view.enforced)
        _log.debug("%s: %d removals are held back", self.name, len(removals))
        whole, protected = self.goal.whole, self.goal.protected
        self.goal = evolve(self.goal, guard=None, knowledge=None)
        self.goal = evolve(self.goal, whole=lambda: keeping(whole(), removals, protected))
        self.view = _read(self.name, self.goal, self.backend)

    def take_over(self) -> None:
        """Note whose the objects are where nothing else is to be changed, if that is asked for."""
        if self.goal.takes_over and self.view.needed is None and self.view.foreign:
            nothing = Plan(Change(), Change(), (), self.goal.whole)
            self.view = evolve(self.view, needed=_owned(self.goal, nothing))

    def correct(self, needed: Plan) -> None:
        """Carry out the plan, and see what the backend holds now."""
        if self.first is None:
            self.first = needed
            self.script = self.backend.render(needed) if self.goal.render else ""
        _log.debug("%s: to correct: %s", self.name, needed)
        confirmed = None
        try:
            if self.goal.marking:
                self.goal.marking.announce(self.name, self.backend, needed)
            self.backend.apply(needed)
            self.failure = ""
            confirmed = None if self.goal.full else _confirmed(self.view, self.backend)
        except BackendFailed as error:
            self.failure = str(error)  # somebody may have changed it in between: read again
        except BackendError as error:
            self.failure, self.stopped = str(error), True  # a part may have been done
        self.view = confirmed or _read(self.name, self.goal, self.backend)

    def outcome(self) -> Outcome:
        """Return how the backend stands."""
        errors = [self.refusal]
        if self.view.needed and not self.goal.late(self.backend, self.view.needed):
            errors.append(
                self.failure
                or f"{self.name}: still differs after {ROUNDS} corrections\n"
                "  another program may be changing it; see: treason reconcile --check --diff"
            )
        elif self.stopped:
            errors.append(self.failure)
        else:
            _keep(self.name, self.goal, self.view)
        error = "\n".join(filter(None, errors))
        failed = bool(error or self.view.problems)
        return Outcome(
            self.name,
            State.FAILED if failed else State.CHANGED if self.first else State.IN_SYNC,
            self.first,
            self.script,
            error,
            notes=self.view.notes,
            partly=bool(failed and self.first and self.view.needed is None),
            problems=self.view.problems,
            versions=self.view.versions,
        )


def _refused(goal: Goal, view: _View) -> Networks:
    """Return the removals that the guard refuses."""
    if goal.guard is None or view.needed is None:
        return NOTHING
    return goal.guard.refused_removals(view.needed, view.enforced)


def _look(name: str, goal: Goal, backend: Backend) -> _View:
    """Return what the backend holds, without reading it if that is known."""
    if goal.knowledge is not None and not goal.full:
        fingerprint = _fingerprint(backend)
        if fingerprint is not None and (known := goal.knowledge.recall(name, fingerprint)):
            _log.debug("%s: not read: nothing has changed since it was verified", name)
            return _View(_owned(goal, known.needed), known.enforced, fingerprint, read=False)
    _log.debug("%s: read as a whole", name)
    return _read(name, goal, backend)


def _read(name: str, goal: Goal, backend: Backend) -> _View:
    before = _fingerprint(backend)
    observed = backend.observe()
    fingerprint = before if _fingerprint(backend) == before else None
    desired = goal.whole()  # later than what is held: what came in between is desired
    needed = _owned(goal, plan(desired, observed))
    other = goal.owner.contested(name, observed.owner) if goal.owner else None
    if needed and other and not goal.takes_over:
        raise other
    if goal.marking:
        goal.marking.check(name, backend, needed)
    return _View(
        needed,
        len(observed.banned),
        fingerprint,
        notes=observed.notes,
        problems=() if goal.lifts else tuple(map(str, observed.problems)),
        versions=observed.versions,
        foreign=other is not None,
    )


def _owned(goal: Goal, needed: Plan | None) -> Plan | None:
    """Let a change note whose the objects are."""
    return needed and evolve(needed, owner=goal.owner.note if goal.owner else "")


def _confirmed(view: _View, backend: Backend) -> _View | None:
    """Return what the backend holds after a change that it confirms; None if it must be read."""
    if not isinstance(backend, ConfirmingBackend) or view.needed is None:
        return None
    fingerprint = _fingerprint(backend)
    if not backend.confirm(view.needed):
        return None
    change = view.needed.banned
    enforced = view.enforced + len(change.add) - len(change.remove)
    return evolve(view, needed=None, enforced=enforced, fingerprint=fingerprint)


def _keep(name: str, goal: Goal, view: _View) -> None:
    """Remember what was verified, unless it is to be looked at each time."""
    if view.problems or view.foreign or (goal.guard and goal.guard.damaged()):
        return
    if goal.knowledge and view.fingerprint and view.versions == BOTH:
        goal.knowledge.keep(name, view.fingerprint, view.enforced, read=view.read)


def _fingerprint(backend: Backend) -> str | None:
    given: object = backend.fingerprint() if isinstance(backend, FingerprintedBackend) else None
    if given is None:
        return None
    if isinstance(given, str):
        return given.encode(errors="backslashreplace").decode()
    raise TypeError(f"the fingerprint {given!r} is not a text")
