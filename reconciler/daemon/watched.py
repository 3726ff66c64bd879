"""A backend whose changes by others are told, and that a pass puts right: when one is due."""

import select
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from reconciler.config.setup import Setup
from reconciler.daemon.brake import PASSES, Brake
from reconciler.daemon.children import Done, Left
from reconciler.daemon.loop import Loop
from reconciler.daemon.pace import Pace
from reconciler.errors import guarded
from reconciler.interfaces import Backend, DigestedBackend
from reconciler.model import Change, Desired, Plan
from reconciler.passes import access
from reconciler.waiting import Watcher

_LEAST: Final = 0.1
"""Seconds of the shortest pause between two looks."""

_NOTHING: Final = Plan(Change(), Change(), (), Desired())


class Owner(Protocol):
    """Whoever keeps the backend in force."""

    loop: Loop

    def compare(self, backend: DigestedBackend, then: Callable[[object], object]) -> None:
        """Call with what `is_as_written` returns, without making anybody wait for it."""

    def correct(self, done: Done, left: Left) -> None:
        """Ask for a pass over what somebody may have changed, as `Passes.ask`."""

    def corrected(self, name: str, brake: Brake, *, fought: bool, certain: bool) -> None:
        """Take notice that something was changed since a pass was asked for, mostly by this pass.

        ``fought``: there was a fight before; ``certain``: somebody else's change was put right.
        """

    def unheard(self, name: str, error: BaseException) -> None:
        """Take notice that this one cannot be waited for any more."""


class Watched:
    """Waits for changes by others, and then asks for a pass; not too often, and one at a time.

    What passes write wakes as well: where a digest tells that it was them, nothing is to be done;
    else one more pass finds so.
    """

    def __init__(
        self, name: str, make: Callable[[], Backend], watcher: Watcher, owner: Owner
    ) -> None:
        self._name, self._make, self._owner = name, make, owner
        self._watcher = watcher
        self._descriptor = watcher.fileno()
        self._pace, self._brake = Pace(_LEAST), Brake(PASSES)
        self._begun = 0.0
        self._changed = self._closed = self._doubted = self._certain = False
        self._wait()

    def close(self) -> None:
        """Wait no more."""
        self._closed = True
        self._owner.loop.never(f"look at {self._name}")
        self._owner.loop.forget(self._descriptor)
        guarded(self._watcher.close, lambda _error: None, self._name)

    def _wait(self) -> None:
        if not self._closed:
            self._owner.loop.watch(self._descriptor, select.POLLIN, self._woken)

    def _woken(self) -> None:
        """Look in a while, and hear nothing until then."""
        self._owner.loop.forget(self._descriptor)
        self._look_soon()

    def _look_soon(self) -> None:
        pause = max(self._pace.wait(), self._brake.wait(time.monotonic()))
        self._owner.loop.after(pause, f"look at {self._name}", self._look)

    def _look(self) -> None:
        self._begun = time.monotonic()
        self._guarded(self._compare)

    def _guarded(self, work: Callable[[], object]) -> None:
        guarded(work, partial(self._owner.unheard, self._name), self._name)

    def _take(self) -> bool:
        """Return whether there was a change since the last comparison."""
        self._changed |= self._watcher.changed()
        return self._changed

    def _compare(self) -> None:
        backend = self._make() if self._take() else None
        self._changed = False
        if isinstance(backend, DigestedBackend):
            self._owner.compare(backend, self._compared)
        else:
            self._compared(backend is None)

    def _compared(self, as_written: object) -> None:
        """Wait on if it is as it was written; if it is not, correct it. In doubt look once more."""
        if self._closed:
            return
        self._pace.took(time.monotonic() - self._begun)
        self._doubted = as_written is None and not self._doubted
        if self._doubted:
            self._changed = True
            self._look_soon()
        elif as_written is True:
            self._wait()
        else:
            self._begun = time.monotonic()
            self._certain = as_written is False
            self._owner.correct(self._corrected, self._left)

    def _left(self) -> None:
        """Look once more: nobody tells how the pass ends."""
        if not self._closed:
            self._changed = True
            self._look_soon()

    def _corrected(self, error: str) -> None:
        """Go on behind a pass: what has changed meanwhile is to be looked at, be it by the pass."""
        if self._closed:
            return
        now, fought = time.monotonic(), self._brake.fights
        self._brake.note(now, now - self._begun)
        self._guarded(self._take)
        if self._changed and not self._closed:
            certain = self._certain and not error
            self._owner.corrected(self._name, self._brake, fought=fought, certain=certain)
            self._look_soon()
        else:
            self._wait()


def is_as_written(setup: Setup, backend: DigestedBackend) -> bool | None:
    """Whether a backend holds what was written to it last, as the database has noted its digest.

    None where a pass may be about to write: it holds what was there before.
    """

    def found() -> bool | None:
        with access.opened(setup, write=False, backends={}, create=False) as store:
            mark = store.marks.get(backend.subject())
        if mark is None:
            return False
        if digest := backend.digest():
            return digest == mark.written or (None if digest == mark.before else False)
        return backend.digest_of(_NOTHING) == mark.written and not backend.observe().damage

    return guarded(found, lambda _error: None, backend.subject())
