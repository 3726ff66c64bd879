"""What is in force: kept so by the backends' reflexes, and by passes where there are none."""

import select
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import starmap
from typing import Final, Protocol

from reconciler.daemon.brake import PASSES, QUIET, Brake
from reconciler.daemon.children import Done, Left, Passes
from reconciler.daemon.culprits import named
from reconciler.daemon.loop import Loop
from reconciler.daemon.pace import Pace
from reconciler.daemon.preparing import makes_the_same
from reconciler.daemon.rest import Rest
from reconciler.daemon.telling import failure, say
from reconciler.daemon.watched import Watched
from reconciler.errors import guarded
from reconciler.interfaces import Backend, DigestedBackend
from reconciler.log import WARNING
from reconciler.model import Desired
from reconciler.networks import Networks
from reconciler.waiting import PolledReflexes, Reflexes, WakingBackend, WatchedBackend

_SECOND: Final = 1.0
"""Seconds between two looks where no events are listened to."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop
    rest: Rest
    passes: Passes

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""

    def up_to_date(self, then: Callable[[], object]) -> None:
        """Call once what the files and the database say is held."""

    def make_pass(self, done: Done = ..., left: Left = ...) -> None:
        """Ask for a pass over the backends, as `Passes.ask`."""

    def compare(self, backend: DigestedBackend, then: Callable[[object], object]) -> None:
        """Call with whether a backend holds what was written to it last."""


class _Kept:
    """The reflexes of one backend, the brake on its repairs, and the pace of looks without events.

    ``descriptor`` is None where no events are listened to.
    """

    def __init__(self, reflexes: Reflexes, *, events: bool) -> None:
        self.reflexes = reflexes
        self.descriptor: int | None = None
        if events or not isinstance(reflexes, PolledReflexes):
            self.descriptor = reflexes.fileno()
        else:
            reflexes.stop_listening()
        self.brake, self.passes = Brake(), Brake(PASSES)
        self.pass_took = 0.0
        self.pace = Pace(_SECOND)
        self.holds = False


class Force:
    """Keeps what is desired in force in all backends.

    Without ``events`` it looks each second where it can do so, and listens to nothing.

    ``repaired`` is when something was put back last (epoch seconds), ``repair`` what it was, and
    ``ports`` whose change it undid.
    """

    def __init__(
        self, backends: Mapping[str, Callable[[], Backend]], daemon: Daemon, *, events: bool = True
    ) -> None:
        self._backends, self._daemon, self.loop = backends, daemon, daemon.loop
        self._events = events
        self._kept: dict[str, _Kept] = {}
        self._watched: dict[str, Watched] = {}
        self.compare = daemon.compare
        self.repaired: float | None = None
        self.repair = ""
        self.ports: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The backends."""
        return tuple(self._backends)

    @property
    def all_by_reflex(self) -> bool:
        """Whether no backend needs a pass to be brought in line."""
        return len(self._kept) == len(self._backends)

    @property
    def all_are_told(self) -> bool:
        """Whether every backend's changes by others are told, and none needs to be looked at."""
        return len(self._kept) + len(self._watched) == len(self._backends)

    def begin(self) -> None:
        """Listen to the backends that tell of changes, if that is not done yet."""
        for name in self._backends.keys() - self._kept.keys() - self._watched.keys():
            guarded(partial(self._listen, name), partial(self._deaf, name), name)

    def instead_of(self, other: "Force") -> "Force":
        """Return the other one, if it has the same backends, of the same settings; else this one.

        Then the other listens no more.
        """
        theirs = other._backends  # noqa: SLF001 - one of its kind
        pairs = zip(self._backends.values(), theirs.values(), strict=False)
        same = (self.names, self._events) == (other.names, other._events)  # noqa: SLF001 - as above
        if same and all(starmap(makes_the_same, pairs)):
            return other
        other.close()
        for name in other.names:
            if name not in self.names:
                say(f"{name}: what it holds stays; treason teardown --backend {name} removes it")
        return self

    def close(self) -> None:
        """Listen no more; what is in force stays, and what is wrong with it is of no interest."""
        for name in [*self._kept]:
            self._leave(name)
        while self._watched:
            self._watched.popitem()[1].close()
        for name in self.names:
            self._daemon.trouble(name, "")

    def hold(self, desired: Desired, owner: str) -> None:
        """Keep this in force from now on; what is in force and is not desired, a pass removes."""
        self.begin()
        for name, kept in [*self._kept.items()]:
            hold = partial(kept.reflexes.hold, desired, owner)
            kept.holds = self._tried(name, hold)

    def drop(self, networks: Networks) -> bool:
        """Drop these, too, at once; return whether that was done in every backend."""
        if self._daemon.rest.closed:
            return False
        done = self.all_by_reflex
        for name, kept in [*self._kept.items()]:
            done &= kept.holds and self._tried(name, partial(kept.reflexes.add, networks))
        return done

    def let_pass(self, networks: Networks) -> None:
        """Pass these at once, though they may be dropped; a pass does the rest."""
        if self._daemon.rest.closed:
            return
        for name, kept in [*self._kept.items()]:
            if kept.holds:
                self._tried(name, partial(kept.reflexes.let_pass, networks))

    def check(self) -> bool:
        """Look whether all that is held is in force, and put back what is not.

        Return whether all of it was looked at: after very much was put back, that has to wait.
        """
        looked = [self._repair(name) for name in [*self._kept]]
        return all(looked)

    def _listen(self, name: str) -> None:
        backend = self._backends[name]()
        if isinstance(backend, WakingBackend):
            self._kept[name] = kept = _Kept(backend.reflexes(), events=self._events)
            self._wait_for(name, kept)
            self._daemon.trouble(name, "")
        elif isinstance(backend, WatchedBackend):
            self._watched[name] = Watched(name, self._backends[name], backend.watcher(), self)
            self._daemon.trouble(name, "")

    def _wait_for(self, name: str, kept: _Kept) -> None:
        """Look once somebody may have changed what is ours."""
        if kept.descriptor is None:
            self.loop.after(
                kept.pace.wait() or _SECOND, f"look at {name}", partial(self._poll, name)
            )
        else:
            self.loop.watch(kept.descriptor, select.POLLIN, partial(self._woken, name))

    def _deaf(self, name: str, error: BaseException) -> None:
        self._daemon.trouble(name, failure(error, name))

    def _leave(self, name: str) -> None:
        kept = self._kept.pop(name)
        self._stop_waiting(name, kept)
        self.loop.never(f"repair {name}")
        guarded(kept.reflexes.close, lambda _error: None, name)

    def _tried(
        self, name: str, work: Callable[[], object], passed: Done = lambda _error: None
    ) -> bool:
        """Return whether it was done; where not, a pass is to do it, and ``passed`` is told."""

        def done() -> bool:
            work()
            return True

        def failed(error: BaseException) -> bool:
            self._daemon.trouble(name, failure(error, name))
            self._daemon.make_pass(passed)
            return False

        return guarded(done, failed, name)

    def _stop_waiting(self, name: str, kept: _Kept) -> None:
        """Wait for no change, until `_wait_for`."""
        if kept.descriptor is None:
            self.loop.never(f"look at {name}")
        else:
            self.loop.forget(kept.descriptor)

    def _poll(self, name: str) -> None:
        """Look without an event, if it is time."""
        kept = self._kept[name]
        if not kept.pace.wait():
            self._woken(name)
        if name in self._kept:
            self._wait_for(name, kept)

    def _woken(self, name: str) -> None:
        """Somebody may have changed what is ours: if it was not us, look."""
        if self._has_changed(name):
            self._daemon.up_to_date(partial(self._repair, name, woken=True))

    def _has_changed(self, name: str) -> bool:
        kept = self._kept[name]
        found: list[int] = []
        if not self._tried(name, lambda: found.extend(kept.reflexes.changed())):
            self._leave(name)  # and listen anew, once a pass has been made
        elif any(found):
            self.ports = tuple(found)
        return bool(found)

    def _repair(self, name: str, *, woken: bool = False) -> bool:
        """Put back what is missing, unless that was done too often; ``woken`` by a change.

        Return whether it was looked at.
        """
        kept = self._kept.get(name)
        if kept is None or not kept.holds or self._daemon.rest.closed:
            return True
        now = time.monotonic()
        if wait := max(kept.brake.wait(now), kept.passes.wait(now)):
            self._stop_waiting(name, kept)
            self.loop.soon(wait, f"repair {name}", partial(self._go_on, name))
            return False
        damage: list[str] = []
        begun = time.thread_time()
        with kept.pace.look():
            repair = kept.reflexes.repair
            work = partial(self._passed, kept, now)
            done = self._tried(name, lambda: damage.extend(map(str, repair())), work)
        if not done:
            if woken and {*self.ports} - {self._daemon.passes.pid}:  # else a pass of our own
                self._note(name, kept.passes, now, kept.pass_took)
            return True
        self._daemon.trouble(name, "")
        if damage:
            self._tell(name, "; ".join(damage), named(self.ports))
            if not self._note(name, kept.brake, now, time.thread_time() - begun):
                say(f"put back: {self.repair}", WARNING)
        return True

    def _passed(self, kept: _Kept, since: float, _error: str) -> None:
        """Take how long it took until a pass had put right what reflexes cannot."""
        kept.pass_took = time.monotonic() - since

    def _note(self, name: str, brake: Brake, now: float, took: float) -> bool:
        """Count a repair, and tell of a fight; return whether it is one."""
        fought = brake.fights
        brake.note(now, took)
        if brake.fights:
            self._tell_of_fight(name, named(self.ports), fought=fought)
        return brake.fights

    def _go_on(self, name: str) -> None:
        """Go on after a pause of the brake, with who has changed what meanwhile."""
        kept = self._kept[name]
        self._wait_for(name, kept)
        self._has_changed(name)
        self._daemon.up_to_date(partial(self._repair, name, woken=True))

    def unheard(self, name: str, error: BaseException) -> None:
        """Go on without a backend's changes being told: it is looked at each minute."""
        self._watched.pop(name).close()
        self._deaf(name, error)
        self._daemon.make_pass()

    def correct(self, done: Done, left: Left) -> None:
        """Let a pass put right what somebody may have changed."""
        self._daemon.make_pass(done, left)

    def corrected(self, name: str, brake: Brake, *, fought: bool, certain: bool) -> None:
        """Print that a change was put right, and of a fight in any case."""
        if certain:
            self._tell(name, "was not as it was written last", "")
        if brake.fights:
            self._tell_of_fight(name, "", fought=fought)
        elif certain:
            say(f"put back: {self.repair}", WARNING)

    def _tell(self, name: str, what: str, who: str) -> None:
        told = f"{name}: {what}"
        self.repaired, self.repair = time.time(), f"{told} (changed by {who})" if who else told

    def _tell_of_fight(self, name: str, who: str, *, fought: bool) -> None:
        """Print that a fight has begun, and who was there first; no repair of it is printed."""
        subject = f"{name}, again and again"
        if not fought:
            text = f"{name}: {who or 'somebody'} undoes again and again what is repaired"
            self._daemon.trouble(subject, text)
        self.loop.after(QUIET, subject, partial(self._daemon.trouble, subject, ""))
