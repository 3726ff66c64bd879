"""What the daemon answers to commands that ask it."""

import os
from collections.abc import Callable
from functools import partial

from reconciler.daemon.resident import Resident
from reconciler.daemon.rest import Rest
from reconciler.host.control import DaemonStatus, Enforced, Identity, namespace
from reconciler.networks import Networks


class Answers:
    """Answers for a resident reconciler, as `reconciler.daemon.control` asks."""

    def __init__(self, resident: Resident) -> None:
        self._resident = resident
        self._namespace = namespace()  # once: later there may be no descriptor left for it

    @property
    def rest(self) -> Rest:
        """Whether anything may be changed."""
        return self._resident.rest

    def identity(self) -> Identity:
        """Return what is guarded."""
        setup = self._resident.truth.setup
        return Identity.of(setup.path, setup.config.treason.database, self._namespace)

    def pending(self) -> Networks:
        """Return what is in force and not stored yet."""
        return self._resident.unstored.all()

    def enforce(self, done: Callable[[Enforced], None]) -> None:
        """Take in what commands have stored; call ``done`` once it is in force, or will not be."""
        if self.rest.waking:
            self.rest.later(partial(self.enforce, done))
            return
        self._resident.reloading.settle()  # the command that asks has written all of its file
        self._resident.truth.refresh(partial(self._taken_in, done))

    def _taken_in(self, done: Callable[[Enforced], None]) -> None:
        """Wait for the pass, where one has to bring in what reflexes cannot."""
        resident = self._resident
        names = resident.force.names
        if self.rest.closed:
            self._rests(done)
        elif trouble := resident.troubles.of("state"):
            done(Enforced(names, trouble))
        elif resident.passes.is_wanted or resident.following.unverified:
            again = partial(self.enforce, done)
            resident.passes.ask(partial(self._passed, names, done), left=again)
        else:
            done(Enforced(names))

    def _passed(self, names: tuple[str, ...], done: Callable[[Enforced], None], error: str) -> None:
        if self.rest.closed:
            self._rests(done)
        else:
            done(Enforced(names, error))

    def _rests(self, done: Callable[[Enforced], None]) -> None:
        """Answer why nothing is enforced, or wait for the rest to be over."""
        if self.rest.waking:
            self.rest.later(partial(self.enforce, done))
        else:
            done(Enforced((), f"the daemon {self.rest.text}", rests=True))

    def status(self) -> DaemonStatus:
        """Return how the daemon is."""
        resident = self._resident
        watches = resident.watches.items()
        return DaemonStatus(
            pid=os.getpid(),
            since=resident.since,
            awake=tuple(name for name, watch in watches if watch.awake),
            timed=tuple(name for name, watch in watches if not watch.awake),
            pending=len(resident.unstored),
            repaired=resident.force.repaired,
            repair=resident.force.repair,
            troubles=resident.troubles.texts(),
            ways={name: watch.heeding.way for name, watch in watches if watch.heeding.way},
            paused=resident.following.paused is not None,
            **self.rest.told(),
        )
