"""The configuration read anew: by a child, so that one that is refused changes nothing here."""

import select
from typing import Final, Protocol

from reconciler import execute
from reconciler.config.setup import Setup
from reconciler.daemon.given import Given
from reconciler.daemon.loop import Loop
from reconciler.daemon.notify import Notifier
from reconciler.daemon.preparing import setup_of
from reconciler.errors import TreasonError

_QUIET: Final = 1.0
"""Seconds for which a changed configuration is left alone: an editor may write it in steps."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop
    notifier: Notifier
    given: Given

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""

    def begin_anew(self, given: Given, setup: Setup) -> None:
        """Go by this configuration. Raise `TreasonError` and go on as before if it is wrong."""

    def status(self) -> str:
        """Return what the service manager is told."""


class Reloading:
    """Reads the configuration anew, and lets the daemon begin anew with it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self._loop = daemon, daemon.loop
        self._resolving: execute.Background | None = None

    def now(self) -> None:
        """Resolve the configuration anew, in a child."""
        if self._resolving is not None:
            return
        self._daemon.notifier.reloading()
        try:
            self._resolving = execute.begun(self._daemon.given.resolving())
        except TreasonError as error:
            self._refused(str(error))
            return
        self._loop.watch(self._resolving.descriptor, select.POLLIN, self._resolved)

    def soon(self) -> None:
        """Do so after a while of quiet."""
        self._loop.after(_QUIET, "reload", self.now)

    def _resolved(self) -> None:
        """Begin anew with what was resolved."""
        if self._resolving is None:
            return
        self._loop.forget(self._resolving.descriptor)
        completed, self._resolving = self._resolving.end(), None
        if completed.code:
            self._refused(completed.error.strip().removeprefix("treason: "))
            return
        try:
            given = Given.read(completed.output)
            self._daemon.begin_anew(given, setup_of(given))
        except TreasonError as error:
            self._refused(str(error))
            return
        self._daemon.trouble("configuration", "")

    def _refused(self, error: str) -> None:
        """Go on as before."""
        self._daemon.trouble("configuration", f"not reloaded: {error}")
        self._daemon.notifier.ready(self._daemon.status())
