"""What follows from a look: what is held, and when it is compared with what is in force."""

from collections.abc import Callable
from typing import Any

from attrs import define, field

from reconciler.daemon.following import Following
from reconciler.daemon.loop import Loop
from reconciler.daemon.unstored import Unstored
from reconciler.daemon.view import View
from reconciler.model import Desired

SEEN = View(Desired(), "", [], {}, None, None, 0, None, noted=True)


@define(slots=False)
class Daemon:
    """Is truth and force in one, and notes what is done."""

    known: bool = True
    all_by_reflex: bool = True
    loop: Loop = field(factory=Loop)
    unstored: Unstored = field(factory=Unstored)
    done: list[str] = field(factory=list)
    thens: list[Callable[[], object]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Be all that is asked."""
        self.truth: Any = self
        self.force: Any = self
        self.passes: Any = self

    def is_known(self) -> bool:
        """Whether nobody has changed anything since the look."""
        return self.known

    def refresh(self, then: Callable[[], object]) -> None:
        """Begin another look."""
        self.thens.append(then)

    def hold(self, _desired: Desired, _owner: str) -> None:
        """Note it."""
        self.done.append("hold")

    def check(self) -> None:
        """Note it."""
        self.done.append("check")

    def make_pass(self) -> None:
        """Note it."""
        self.done.append("pass")

    def tell(self) -> None:
        """Do nothing."""


def test_behind_a_pass_it_is_looked_whether_all_is_in_force() -> None:
    """At once, if nobody has stored anything since."""
    daemon = Daemon()
    Following(daemon).taken(None, SEEN, carried_out=True)
    assert daemon.done == ["hold", "check"]


def test_nothing_is_put_back_by_what_is_not_true_any_more() -> None:
    """As where everything was paused while the database was read: it is read again before."""
    daemon = Daemon(known=False)
    Following(daemon).taken(None, SEEN, carried_out=True)
    assert daemon.done == ["hold"]
    [then] = daemon.thens
    then()
    assert daemon.done == ["hold", "check"]
