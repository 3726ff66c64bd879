"""Move enforcement from one backend to another: never a moment without either."""

from collections.abc import Callable, Iterator

from reconciler.interfaces import Backend
from reconciler.loop import Guard, Outcome, State, enforce, teardown
from reconciler.model import Desired

Maker = tuple[str, Callable[[], Backend]]
"""A backend's name, and what makes it."""


def move(old: Maker, new: Maker, desired: Desired, guard: Guard | None) -> Iterator[Outcome]:
    """Let ``new`` hold what is desired, read it back, and only then tear ``old`` down.

    It ends with the first outcome that has an error. Where the two own an object together, the
    new one takes it over; should the teardown have damaged it, it is mended at the end.
    """
    [before] = enforce(dict([old]), desired, guard, check=True)
    if before.error:
        yield before
        return
    [made] = enforce(dict([new]), desired, guard, check=False)
    yield made
    if made.error:
        return
    [removed] = teardown(dict([old]))
    yield removed
    [after] = enforce(dict([new]), desired, None, check=True)
    if after.state is not State.IN_SYNC:
        yield from enforce(dict([new]), desired, None, check=False)
