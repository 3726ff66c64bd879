"""The configuration read anew: by a child, so that one that is refused changes nothing here."""

import select
import time
from contextlib import suppress
from typing import Final, Protocol

from reconciler import execute
from reconciler.config.setup import Setup
from reconciler.daemon.children import Passes
from reconciler.daemon.given import Given
from reconciler.daemon.loop import Loop
from reconciler.daemon.notify import Notifier
from reconciler.daemon.preparing import setup_of
from reconciler.daemon.truth import Truth
from reconciler.daemon.watch import Watch
from reconciler.errors import TreasonError
from reconciler.host.capabilities import held

_QUIET: Final = 1.0
"""Seconds for which changed files are left alone: an editor may write them in steps."""

_LONGEST: Final = 10.0
"""Seconds after which files are taken that are written all the while."""

_AGAIN: Final = 10.0
"""Seconds until it is tried again where a whitelist cannot be read, or no child can be begun: that
may be over then, and no change of a file tells so."""

_LIMIT: Final = 60.0
"""Seconds that a child may take to resolve a configuration."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop
    notifier: Notifier
    given: Given
    truth: Truth
    passes: Passes
    watches: dict[str, Watch]

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""

    def begin_anew(self, given: Given, setup: Setup) -> None:
        """Go by this configuration. Raise `TreasonError` and go on as before if it is wrong."""

    def restart(self, why: str) -> None:
        """End, and let the service manager start us anew."""

    def go_on_as_before(self) -> None:
        """Take notice that the configuration was refused, and the old one stays in force."""

    def status(self) -> str:
        """Return what the service manager is told."""


class Reloading:
    """Reads the configuration anew, and lets the daemon begin anew with it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self._loop = daemon, daemon.loop
        self._resolving: execute.Background | None = None
        self._killed = self._again = False
        self._edited: float | None = None  # since when files are written
        self._socket = daemon.truth.setup.config.run.socket
        self._ungranted = self._lacking(daemon.given)  # by the unit, or by who started us by hand
        self._granted = held()  # and some of it is given up, but would be given again
        self._tell_ungranted()

    def now(self) -> None:
        """Resolve the configuration anew, in a child; once more behind one that runs already."""
        if self._resolving is not None:
            self._again = True
            return
        self._killed = self._again = False
        self._loop.never("files")
        self._daemon.notifier.reloading()
        try:
            self._resolving = execute.begun(self._daemon.given.resolving())
        except TreasonError as error:
            self._refused(str(error))
            self._loop.soon(_AGAIN, "files", self.now)
            return
        self._loop.watch(self._resolving.descriptor, select.POLLIN, self._resolved)
        self._loop.after(_LIMIT, "resolving", self._kill)

    def soon(self, *, edited: bool) -> None:
        """Take changed files after a while of quiet; no pass reads what is ``edited`` before."""
        now, wait = time.monotonic(), _QUIET
        if edited:
            self._edited = self._edited or now
            self._daemon.passes.wait()
        if self._edited is not None:
            wait = max(0.0, min(wait, self._edited + _LONGEST - now))
        self._loop.after(wait, "files", self._take)

    def settle(self) -> bool:
        """Take the whitelist now; return whether that is all: the configuration is as it was."""
        if not self._daemon.truth.setup.is_current():
            return False
        self._loop.never("files")
        try:
            self._daemon.truth.settle()
        except TreasonError as error:
            self._trouble(str(error))
            self._loop.after(_AGAIN, "files", self._take)
        else:
            self._trouble("")
        self._go_on()
        return True

    def _take(self) -> None:
        """Take the files as they are: a changed configuration is to be resolved first."""
        if not self.settle():
            self.now()

    def _go_on(self) -> None:
        """Let passes read the files: nobody writes them any more."""
        self._edited = None
        self._daemon.passes.go_on()

    def _kill(self) -> None:
        if self._resolving is not None:
            self._killed = True
            self._resolving.kill()

    def _resolved(self) -> None:
        """Begin anew with what was resolved."""
        if self._resolving is None:
            return
        self._loop.never("resolving")
        self._loop.forget(self._resolving.descriptor)
        completed, self._resolving = self._resolving.end(), None
        if self._again:
            self.now()
        elif self._killed:
            self._refused(f"it was not read within {_LIMIT:g} s")
        elif completed.code:
            how = f"reading it ended with {completed.code}"
            self._refused(completed.error.strip().removeprefix("treason: ") or how)
        else:
            self._begin_anew(completed.output)

    def _begin_anew(self, resolved: str) -> None:
        try:
            given = Given.read(resolved)
            lacking, setup = self._lacking(given), setup_of(given)
            if new := (lacking - self._ungranted) | self._given_up(given, setup):
                self._want(new)
                return
            self._daemon.begin_anew(given, setup)
        except TreasonError as error:
            self._refused(str(error))
        else:
            self._trouble("")
            self._edited = None
            self._ungranted = lacking
            self._tell_ungranted()
            self._tell_socket()

    def _want(self, capabilities: frozenset[str]) -> None:
        """Be started anew with these, or refuse a configuration that needs them."""
        needed = f"the configuration needs {', '.join(sorted(capabilities))}"
        if self._daemon.notifier.is_heard:
            self._daemon.restart(f"{needed}, which only a start gives; ending, to be started anew")
        else:
            self._refused(f"{needed}, which this process does not have; restart treason")

    def _lacking(self, given: Given) -> frozenset[str]:
        return frozenset(given.needs) - held()

    def _given_up(self, given: Given, setup: Setup) -> frozenset[str]:
        """Return what sources need to be woken that are new or others, and a start would give."""
        if not (given.attaching and self._daemon.notifier.is_heard):
            return frozenset()  # by hand they are read by a timer then
        makers, watches = setup.sources(given.sources), self._daemon.watches
        new = {name for name in makers if name not in watches}
        new |= {name for name in {*makers} - new if not watches[name].reads_as(makers[name])}
        wanted = {each for name, each in given.attaching if name in new}
        return frozenset(wanted & self._granted) - held()

    def _tell_ungranted(self) -> None:
        """Note what the unit does not give; by hand there may be other ways to what it is for."""
        names = ", ".join(sorted(self._ungranted))
        told = f"the unit does not grant {names}: treason init --systemd writes it anew"
        wrong = names and self._daemon.notifier.is_heard
        self._daemon.trouble("capabilities", told if wrong else "")

    def _tell_socket(self) -> None:
        """Note that the socket stays where it was made."""
        new = self._daemon.truth.setup.config.run.socket
        told = f"the daemon is still asked at {self._socket}; restart treason to use {new}"
        self._daemon.trouble("[run] socket", told if new != self._socket else "")

    def _refused(self, error: str) -> None:
        """Go on as before; who is whitelisted by what commands write, still is by all of it."""
        self._trouble(error)
        with suppress(TreasonError):  # if that one is wrong, nobody is taken out of it
            self._daemon.truth.settle()
        self._go_on()
        self._daemon.notifier.ready(self._daemon.status())
        self._daemon.go_on_as_before()

    def _trouble(self, error: str) -> None:
        """Note in one line what was refused; an empty text: nothing."""
        line = "; ".join(map(str.strip, error.splitlines()))
        self._daemon.trouble("configuration", line and f"not reloaded: {line}")
