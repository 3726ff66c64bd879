"""What follows from a look at the files and the database: what is held, dropped, left to a pass."""

from collections.abc import Callable
from typing import Final, Protocol

from reconciler.daemon.children import Passes
from reconciler.daemon.force import Force
from reconciler.daemon.loop import Loop
from reconciler.daemon.slimming import trim
from reconciler.daemon.telling import say
from reconciler.daemon.truth import Truth
from reconciler.daemon.unstored import Unstored
from reconciler.daemon.view import View
from reconciler.networks import NOTHING, Networks
from reconciler.planning.desired import keeping
from reconciler.report.times import iso
from reconciler.store.pauses import Pause

_GREAT: Final = 50_000
"""Networks from which on it is worth giving back what was needed to hold them."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop
    truth: Truth
    force: Force
    passes: Passes
    unstored: Unstored

    def make_pass(self) -> None:
        """Ask for a pass over the backends."""

    def tell(self) -> None:
        """Let the service manager know how things stand."""


class Following:
    """Holds what is desired now, drops at once who is new, and lets a pass do the rest.

    ``paused`` is the pause that counts now. ``undone``: somebody could not be dropped at once.
    ``unverified``: what has changed while a pass ran was not looked for in the kernel yet, and the
    pass may have read too early to know it.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self._loop = daemon, daemon.loop
        self.paused: Pause | None = None
        self.undone = self.unverified = False

    def drop(self, networks: Networks) -> None:
        """Drop these now; while everything is paused, once it is over."""
        if not self.paused:
            self.undone |= not self._daemon.force.drop(networks)

    def taken(self, old: View | None, new: View, *, carried_out: bool) -> None:
        """Hold what is desired now, and what is not stored; let a pass do what reflexes cannot."""
        force, unstored = self._daemon.force, self._daemon.unstored
        turned = self._turn(new.paused)
        exempt = [each.network for each in new.protected]
        late = NOTHING if self.paused else unstored.all()
        desired = keeping(new.desired, late, exempt) if late else new.desired
        before = old.desired if old else new.desired
        wanted = desired if turned else new.desired  # what is not stored has waited for this
        done = carried_out and not turned  # the pass may have gone by what was true before
        added = NOTHING if done else wanted.banned - before.banned
        if added:
            self.undone |= not force.drop(added)
        if self.paused or not new.damage:
            force.hold(desired, new.owner)
            if len(desired.banned) > _GREAT:
                trim()
        self._loop.never("end of a ban")
        if new.ends is not None:
            self._loop.after(new.ends, "end of a ban", self.over)
        if done:
            self.unverified |= new.desired != before
            self.up_to_date(self._verify)  # somebody may have changed something behind the pass
            if not force.all_by_reflex and new.desired != before:
                self._daemon.make_pass()  # the last one may not have known it
            return
        less = before.banned - new.desired.banned or before.passed != new.desired.passed
        late_added = added and not force.all_by_reflex
        if turned or new.overdue or less or self.undone or late_added:
            self._daemon.make_pass()

    def _verify(self) -> None:
        """Compare what is in force with what is held; a pass follows where there is more."""
        if self._daemon.force.check():
            self.unverified = False

    def over(self) -> None:
        """Hold a ban no more that has ended, or all again; then let a pass take it out."""
        self._daemon.truth.refresh(self._make_one_pass)

    def ends_in(self, seconds: float) -> None:
        """Take notice that a ban ends in so many seconds."""
        self._loop.soon(seconds, "end of a ban", self.over)

    def up_to_date(self, then: Callable[[], object]) -> None:
        """Call once what the files and the database say is held."""
        if self._daemon.truth.is_known():
            then()
        else:
            self._daemon.truth.refresh(then)

    def text(self) -> str:
        """Return that nothing is enforced, and how long; empty if it is."""
        if self.paused is None:
            return ""
        return f"paused until {iso(self.paused.until) or 'treason resume'}: nothing is enforced"

    def _turn(self, paused: Pause | None) -> bool:
        """Take whether everything is paused; return whether that is news.

        Then a pass follows: somebody may have been dropped between the pause and the look.
        """
        before, self.paused = self.paused, paused
        if before != paused:
            say(self.text() or "resumed")
            self._daemon.tell()
        return (before is None) != (paused is None)

    def _make_one_pass(self) -> None:
        if not self._daemon.passes.is_wanted:
            self._daemon.make_pass()
