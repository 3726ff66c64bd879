"""What the daemon takes of a feed itself: what becomes of what was found in its file."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from feedfiles import nets

from reconciler.daemon.reflex import Reflex
from reconciler.daemon.tasting import Tasting, _Taste
from reconciler.daemon.unstored import Unstored
from reconciler.detection.policy import Policy
from reconciler.errors import StoreError
from reconciler.feeding import HELD, FeedGroup
from reconciler.feeds.limits import Judged
from reconciler.host import clock
from reconciler.model import Desired
from reconciler.networks import NOTHING, Networks
from reconciler.passes.taking import FeedReading
from reconciler.store.feeds import FeedState

A, B = nets("192.0.2.1"), nets("192.0.2.2")


class Daemon(SimpleNamespace):
    """One that holds nothing yet; its writer answers what the test says, when it says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Callable[[], Any], Callable[[Any], object]]] = []
        self.dropped, self.unstored = NOTHING, Unstored()
        ways = SimpleNamespace(reflex=Reflex(Policy()))
        view = SimpleNamespace(desired=Desired())
        super().__init__(
            writer=SimpleNamespace(ask=lambda work, then: self.asked.append((work, then))),
            truth=SimpleNamespace(view=view, now=lambda: ways),
            rest=SimpleNamespace(closed=False),
            following=SimpleNamespace(undone=False),
            force=SimpleNamespace(all_by_reflex=True),
        )

    def drop(self, source: str, networks: Networks) -> None:
        """Keep who is dropped."""
        self.dropped |= networks
        self.unstored.add(source, networks)


class Taking:
    """The daemon takes what feed ``a`` says; ``told`` is what came of it, each time."""

    def __init__(self) -> None:
        self.daemon, self.told = Daemon(), list[tuple[bool, float]]()
        feeds: Any = {"a": None}
        self.tasting = Tasting(feeds, SimpleNamespace(), self.daemon)  # type: ignore[arg-type]

    def finds(self, found: object) -> None:
        """Let this be found in its file."""
        self.tasting.taste("a", lambda done, took: self.told.append((done, took)))
        self.answer(found)

    def answer(self, found: object) -> None:
        """Let the writer answer what it was asked for first."""
        self.daemon.asked.pop(0)[1](found)


def says(networks: Networks) -> _Taste:
    """Return what is found of a feed that says this, and of which nothing is stored."""
    groups = (FeedGroup(networks, state=HELD),)
    judged = Judged(groups, networks, NOTHING, NOTHING, (), frozenset())
    reading = FeedReading("a", networks, judged=judged)
    seen = clock.look()
    return _Taste(FeedState("a"), reading, 0, 0.01, told=clock.SURE, seen=seen, held=())


def test_what_is_found_is_dropped_before_it_is_stored() -> None:
    """All that the feed says, and is not in force."""
    taking = Taking()
    taking.finds(says(A | B))
    assert taking.daemon.dropped == A | B
    assert taking.tasting.pending("a") == A | B
    assert not taking.told


def test_nothing_more_is_dropped_while_it_says_less_than_is_in_force() -> None:
    """A pass is to settle that: its limits are for all that is in force."""
    taking = Taking()
    taking.finds(says(A))
    taking.answer(StoreError("a pass is running"))
    taking.finds(says(B))
    assert taking.daemon.dropped == A
    taking.finds(says(A | B))
    assert taking.daemon.dropped == A | B
    assert [done for done, _ in taking.told] == [False, False]


def test_what_fails_has_cost_something() -> None:
    """Or a feed that writes all the while would be looked at all the while."""
    taking = Taking()
    taking.finds(StoreError("the clock is in doubt"))
    [(done, took)] = taking.told
    assert not done
    assert took > 0


@pytest.mark.parametrize("rests", [False, True])
def test_who_is_closed_drops_and_stores_nothing(rests: bool) -> None:
    """What is in force by then is settled behind a pass, unless the firewall may be another one."""
    taking = Taking()
    taking.finds(says(A))
    taking.daemon.rest.closed = rests
    taking.tasting.close()
    with pytest.raises(StoreError, match="another one by now"):
        taking.daemon.asked[0][0]()
    assert taking.tasting.pending("a") == (NOTHING if rests else A)
