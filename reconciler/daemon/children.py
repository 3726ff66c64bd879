"""Passes that child processes make: full ones cost memory that the daemon is not to keep."""

import select
from collections.abc import Callable
from typing import Final

from reconciler import execute
from reconciler.daemon.given import Given
from reconciler.daemon.loop import Loop
from reconciler.daemon.rest import Rest
from reconciler.daemon.telling import say
from reconciler.errors import TreasonError
from reconciler.log import WARNING
from reconciler.passes.resident import UNTAKEN

_SLACK: Final = 120.0
"""Seconds that a pass may take besides what its sources may: the lock, the backends."""

_FIRST, _LONGEST = 10.0, 600.0
"""Seconds until a pass that failed is made again: twice as long each time, up to these."""

Done = Callable[[str], object]
"""Is told why the pass failed; an empty text: it did not."""

Ended = Callable[[str, bool], object]
"""Is told the same of any pass, and whether all is in line: one that failed to take a feed, say."""

Left = Callable[[], object]
"""Is told that nobody will tell how the pass ends."""


class Passes:
    """Runs ``treason reconcile``, one at a time.

    Whoever asks while one runs gets the next one: what it read may be older than what is asked for.
    ``ended`` is told of each one's end, before those who asked for it. While the daemon is at
    ``rest``, none is made: who asks is told so.
    """

    def __init__(self, loop: Loop, given: Given, timeout: float, ended: Ended, rest: Rest) -> None:
        self._loop, self._given, self._ended, self._rest = loop, given, ended, rest
        self._limit = timeout + _SLACK
        self._running: execute.Background | None = None
        self._asked: list[tuple[Done, Left]] = []
        self._next: list[tuple[Done, Left]] = []
        self._scan = self._scans = False
        self._killed = self._left = self._waits = False
        self._pause = 0.0

    def ask(
        self,
        done: Done = lambda _error: None,
        *,
        scan: bool = False,
        left: Left = lambda: None,
    ) -> None:
        """Ask for a pass that begins from now on; ``scan`` lets it read the sources, too.

        ``left`` is called instead of ``done`` if it is let go.
        """
        self._next.append((done, left))
        self._scan |= scan
        self._begin_if_asked()

    def wait(self) -> None:
        """Begin no pass until `go_on`: it would read files that somebody is writing."""
        self._waits = True

    def go_on(self) -> None:
        """Begin what was asked for meanwhile."""
        self._waits = False
        self._begin_if_asked()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for a pass."""
        return self._running is not None or bool(self._next)

    @property
    def pid(self) -> int | None:
        """The process that makes a pass now."""
        return self._running.pid if self._running else None

    def adopt(self, child: execute.Background, done: Done) -> None:
        """Take a pass that was begun without us."""
        self._asked = [(done, lambda: None)]
        self._run(child)

    def let_go(self) -> None:
        """Leave the pass that runs to itself: it is right whenever it ends."""
        self._loop.never("pass")
        asked = [*self._asked, *self._next]
        self._asked, self._next, self._left = [], [], True
        for _, left in asked:
            left()

    def end(self, seconds: float) -> None:
        """Wait for the pass that runs, so many seconds at most; then end it."""
        if self._running:
            poll = select.poll()
            poll.register(self._running.descriptor, select.POLLIN)
            if not poll.poll(seconds * 1000):
                self._running.kill()
            self._running.end()

    def _begin_if_asked(self) -> None:
        if self._rest.closed:
            asked, self._next, self._scan = self._next, [], False
            for done, _ in asked:
                done(self._rest.text)
        elif self._next and self._running is None and not self._waits:
            self._begin()

    def _begin(self) -> None:
        self._loop.never("pass")
        self._asked, self._next = self._next, []
        self._scans, self._scan, self._killed = self._scan, False, False
        try:
            self._run(execute.begun(self._given.command(scan=self._scans)))
        except TreasonError as error:
            self._finish(str(error))

    def _run(self, child: execute.Background) -> None:
        self._running = child
        self._rest.child_began()
        self._loop.watch(self._running.descriptor, select.POLLIN, self._end)
        self._loop.after(self._limit, f"child {child.pid}", self._kill)

    def _kill(self) -> None:
        if self._running:
            self._killed = True
            self._running.kill()

    def _end(self) -> None:
        if self._running is None:
            return
        self._loop.never(f"child {self._running.pid}")
        self._loop.forget(self._running.descriptor)
        completed, self._running = self._running.end(), None
        self._rest.child_ended()
        said = completed.error.strip().removeprefix("treason: ").removeprefix("warning: ")
        if self._killed:
            said = f"a pass was not done within {self._limit:g} s, and was ended"
        elif completed.code < 0:
            said = f"a pass was killed by signal {-completed.code}"
        elif completed.code == 0 and said:
            say(said, WARNING)  # its warnings
            said = ""
        error = said or (f"a pass ended with {completed.code}" if completed.code else "")
        self._finish(error, enforced=completed.code == UNTAKEN)

    def _finish(self, error: str, *, enforced: bool = False) -> None:
        """Pass on how it ended; who asked waits for what is to be in force, not for any feed."""
        if self._left:
            return
        asked, self._asked = self._asked, []
        self._pause = min(max(2 * self._pause, _FIRST), _LONGEST) if error else 0.0
        enforced = enforced or not error
        self._ended(error, enforced)
        for done, _ in asked:
            done("" if enforced else error)
        self._begin_if_asked()
        if error and self._running is None:
            scan = self._scans
            self._loop.soon(self._pause, "pass", lambda: self.ask(scan=scan))
