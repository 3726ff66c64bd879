"""Move enforcement from one backend to another: never a moment without either."""

from collections.abc import Callable, Iterator

from attrs import evolve

from reconciler.interfaces import Backend
from reconciler.passes.enforce import Goal, Outcome, State, enforce, teardown

Maker = tuple[str, Callable[[], Backend]]
"""A backend's name, and what makes it."""


def move(old: Maker, new: Maker, goal: Goal) -> Iterator[Outcome]:
    """Let ``new`` hold what is desired, read it back, and only then tear ``old`` down.

    It ends with the first outcome that has an error; one that packets do not come to can be left.
    Where the two own an object together, the
    new one takes it over; should the teardown have damaged it, it is mended at the end.
    """
    [before] = enforce(dict([old]), goal, check=True)
    if before.error:
        yield before
        return
    [made] = enforce(dict([new]), goal, check=False)
    yield made
    if made.failure:
        return
    [removed] = teardown(dict([old]), lambda: evolve(goal, guard=None))
    yield removed
    unguarded = evolve(goal, guard=None)
    [after] = enforce(dict([new]), unguarded, check=True)
    if after.state is not State.IN_SYNC:
        yield from enforce(dict([new]), unguarded, check=False)
