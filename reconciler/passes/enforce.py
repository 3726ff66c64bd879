"""A pass over the backends: let each of them hold what is desired.

Level-triggered: what a backend holds is read, or known because it has not changed since it was
verified; it is never deduced from what was sent. One that fails does not stop the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Final, Protocol

from attrs import evolve, field, frozen

from reconciler.errors import BackendFailed, StoreError, describe, trace
from reconciler.interfaces import Backend, Confirming, Marked
from reconciler.model import Desired, Plan
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.planning.desired import keeping
from reconciler.planning.plan import GUARDED_FROM, Causes, plan, unexplained

ROUNDS: Final = 3
"""How often a backend is read and corrected in one pass before it counts as not converging."""

_SHOWN: Final = 10


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

    ``notes`` are what the backend has to say besides.
    """

    backend: str
    state: State
    plan: Plan | None = None
    script: str = ""
    error: str = ""
    trace: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()


@frozen
class Guard:
    """Refuses plans that lift too much without a known cause.

    ``share`` is the largest part of what is enforced that may go unexplained; ``causes`` is asked
    only when it matters.
    """

    share: float
    causes: Callable[[], Causes]

    def lost(self, plan: Plan, enforced: int) -> Networks:
        """Give the removals without a known cause, if they are too many of what is enforced."""
        limit = self.share * enforced
        if enforced < GUARDED_FROM or len(plan.banned.remove) <= limit:
            return NOTHING
        networks = unexplained(plan, self.causes())
        return networks if len(networks) > limit else NOTHING


def _refusal(name: str, lost: Sequence[Network], enforced: int) -> str:
    some = ", ".join(map(str, lost[:3])) + (", ..." if lost[3:] else "")
    return (
        f"{name}: refused to lift {len(lost)} of {enforced} networks that nobody unbanned or"
        f" whitelisted ({some})\n"
        "  is the database the right one? `treason list` shows it; --force lifts them anyway"
    )


@frozen
class Known:
    """What a backend is known to hold, without reading it.

    ``needed`` is the plan from there to what is desired, ``enforced`` counts what is dropped.
    """

    needed: Plan | None
    enforced: int


class Memory(Protocol):
    """Remembers what each backend was verified to hold, and under which fingerprint."""

    def recall(self, backend: str, fingerprint: str) -> Known | None:
        """Give what the backend holds if it still has this fingerprint; None: it must be read."""

    def keep(self, backend: str, fingerprint: str, enforced: int, *, read: bool) -> None:
        """Remember that it holds what is desired; ``read`` says that all of it was read."""


@frozen
class Wish:
    """What every backend is to hold, and how to find out whether it does.

    ``whole`` is asked only when a backend must be read or made anew. ``full`` reads everything,
    before and after a change, whatever is remembered.
    """

    whole: Callable[[], Desired]
    guard: Guard | None = None
    memory: Memory | None = None
    full: bool = False
    render: bool = False


def enforce(
    backends: Mapping[str, Callable[[], Backend]], wish: Wish, *, check: bool
) -> Iterator[Outcome]:
    """Make every backend hold what is desired, and verify that it does.

    With ``check`` they are only compared.
    """
    step = _compare if check else _converge
    for name, make in backends.items():
        yield _guarded(name, partial(_made, make, partial(step, name, wish)))


def teardown(backends: Mapping[str, Callable[[], Backend]]) -> Iterator[Outcome]:
    """Let every backend remove what it owns."""
    for name, make in backends.items():
        yield _guarded(name, partial(_made, make, partial(_remove, name)))


def _guarded(name: str, work: Callable[[], Outcome]) -> Outcome:
    """Turn whatever one backend raises into its outcome, so that the others go on."""
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises
        return Outcome(name, State.FAILED, error=describe(error, name), trace=trace(error))


def _made(make: Callable[[], Backend], work: Callable[[Backend], Outcome]) -> Outcome:
    return work(make())


def _remove(name: str, backend: Backend) -> Outcome:
    backend.teardown()
    return Outcome(name, State.REMOVED)


@frozen
class _View:
    """What a backend holds, as far as it matters: what is needed, and how it is known.

    ``mark`` is the fingerprint of exactly this state, if it has one; ``read`` says that the
    backend was read.
    """

    needed: Plan | None
    enforced: int
    mark: str | None = None
    read: bool = True
    notes: tuple[str, ...] = ()


def _compare(name: str, wish: Wish, backend: Backend) -> Outcome:
    view = _known(name, wish, backend) or _read(wish.whole(), backend)
    if view.needed is None:
        return Outcome(name, State.IN_SYNC, notes=view.notes)
    lost = wish.guard.lost(view.needed, view.enforced) if wish.guard else NOTHING
    refusal = _refusal(name, lost, view.enforced) if lost else ""
    script = backend.render(view.needed) if wish.render else ""
    return Outcome(name, State.DRIFT, view.needed, script, error=refusal, notes=view.notes)


def _converge(name: str, wish: Wish, backend: Backend) -> Outcome:
    """Look, correct and look again, until nothing is left to correct.

    What the guard refuses to lift stays enforced; all else goes ahead.
    """
    first: Plan | None = None
    script, refusal, failure = "", "", ""
    view = _known(name, wish, backend) or _read(wish.whole(), backend)
    for left in range(ROUNDS, -1, -1):
        lost = (
            wish.guard.lost(view.needed, view.enforced) if wish.guard and view.needed else NOTHING
        )
        if lost:
            refusal = _refusal(name, lost, view.enforced)
            wish = evolve(wish, whole=partial(keeping, wish.whole(), lost), guard=None, memory=None)
            view = _read(wish.whole(), backend)
        needed = view.needed
        if needed is None:
            notes = (*view.notes, *_kept(name, wish, view))
            done = State.CHANGED if first else State.IN_SYNC
            state = State.FAILED if refusal else done
            return Outcome(name, state, first, script, refusal, notes=notes)
        if not left:
            break
        if first is None:
            first = needed
            script = backend.render(needed) if wish.render else ""
        confirmed = None
        try:
            backend.apply(needed)
            failure = ""
            confirmed = None if wish.full else _confirmed(view, backend)
        except BackendFailed as error:
            failure = str(error)  # somebody may have changed it in between: read again
        view = confirmed or _read(wish.whole(), backend)
    failure = failure or (
        f"{name}: still differs after {ROUNDS} corrections\n"
        "  another program may be changing it; --check --diff shows what is left"
    )
    return Outcome(name, State.FAILED, first, script, error=failure, notes=view.notes)


def _known(name: str, wish: Wish, backend: Backend) -> _View | None:
    """Tell what the backend holds without reading it, if that is remembered."""
    if wish.memory is None or wish.full:
        return None
    mark = _mark(backend)
    known = wish.memory.recall(name, mark) if mark is not None else None
    return _View(known.needed, known.enforced, mark, read=False) if known else None


def _read(desired: Desired, backend: Backend) -> _View:
    before = _mark(backend)
    observed = backend.observe()
    mark = before if _mark(backend) == before else None
    return _View(
        plan(desired, observed), len(observed.banned), mark, read=True, notes=observed.notes
    )


def _confirmed(view: _View, backend: Backend) -> _View | None:
    """Tell what the backend holds after a change that it confirms; None if it must be read."""
    if not isinstance(backend, Confirming) or view.needed is None:
        return None
    mark = _mark(backend)
    if not backend.confirm(view.needed):
        return None
    change = view.needed.banned
    enforced = view.enforced + len(change.add) - len(change.remove)
    return _View(None, enforced, mark, view.read, view.notes)


def _kept(name: str, wish: Wish, view: _View) -> list[str]:
    """Remember what was verified; say why that failed, which takes nothing from the pass."""
    if wish.memory and view.mark:
        try:
            wish.memory.keep(name, view.mark, view.enforced, read=view.read)
        except StoreError as error:
            return [f"not remembered, so the next pass reads everything: {error.what}"]
    return []


def _mark(backend: Backend) -> str | None:
    mark: object = backend.fingerprint() if isinstance(backend, Marked) else None
    if mark is None:
        return None
    if isinstance(mark, str):
        return mark.encode(errors="backslashreplace").decode()
    raise TypeError(f"the fingerprint {mark!r} is no text")
