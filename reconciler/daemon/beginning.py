"""How the daemon begins, and begins anew: from a first pass on, until its sources wake it."""

from typing import Final, Protocol

from reconciler.daemon.children import Passes
from reconciler.daemon.loop import Loop
from reconciler.daemon.notify import Notifier
from reconciler.daemon.slimming import slim
from reconciler.daemon.truth import Truth
from reconciler.daemon.watch import Watch

_LATER: Final = 10.0
"""Seconds until what could not be looked at is looked at again."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop
    notifier: Notifier
    truth: Truth
    passes: Passes
    watches: dict[str, Watch]

    def status(self) -> str:
        """Return what the service manager is told."""

    def tell(self) -> None:
        """Let it know."""


class Beginning:
    """Goes on from a pass that has `enforced` what is stored."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def enforced(self, _error: str) -> None:
        """Be ready. Then look, and let a pass read the sources."""
        self._daemon.notifier.ready(self._daemon.status())
        self._look()

    def _look(self) -> None:
        """Look at what is to be in force; without that, nothing else can begin."""
        self._daemon.truth.refresh(self._looked, carried_out=True)

    def _looked(self) -> None:
        if self._daemon.truth.view is None:
            self._daemon.loop.after(_LATER, "again", self._look)
        else:
            self._daemon.tell()
            self._daemon.passes.ask(self._scanned, scan=True)

    def _scanned(self, _error: str) -> None:
        self._daemon.truth.refresh(self._awake, carried_out=True)

    def _awake(self) -> None:
        view = self._daemon.truth.view
        for name, watch in self._daemon.watches.items():
            watch.begin(view.cursors.get(name) if view else None)
        for rule in self._daemon.truth.setup.rules:
            rule.pattern.fullmatch("")  # which compiles it: the first offender is not to wait
        slim()
        self._daemon.tell()
