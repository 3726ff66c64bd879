"""The writer: the one thread that writes to the database, so that no slow disk delays a drop.

It asks for the lock of the passes like any pass. What cannot be stored is kept, and tried again.
"""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from attrs import frozen

from reconciler.daemon.batch import MOST, Batch, merged
from reconciler.daemon.marks import Mark, mark
from reconciler.daemon.storing import Kept, Storing, Ways
from reconciler.errors import LockError, StoreError, TreasonError
from reconciler.host import lock
from reconciler.networks import Networks
from reconciler.passes import access

T = TypeVar("T")

_FIRST, _LONGEST = 0.25, 5.0
"""Seconds until what could not be stored is tried again: twice as long each time, up to these."""

_PATIENCE: Final = 1.0
"""Seconds for which the lock of the passes is waited for at once."""

_LONG: Final = 10.0
"""Seconds for which the lock of the passes may be in vain before that is told: one may be long."""

_WINDOW: Final = 60.0
"""Seconds over which ``max_new_bans`` counts, as with a pass a minute."""


@frozen(eq=False)
class _Ask:
    """Something to be read from the database, and who is told what was found."""

    work: Callable[[], object]
    then: Callable[[object], object]


class Writer:
    """Stores batches, and looks at the database, in a thread of its own.

    Everything that is called back is called by `take`, in the loop's thread: ``decided`` before a
    commit, ``kept`` after it, ``wrote`` of the database's mark before and behind (None: somebody
    else wrote as well), ``locked_out`` why the lock of the passes is not to be had for long (empty:
    it is again), and whatever was asked for. ``descriptor`` is readable when `take` has something
    to do. ``ways`` gives what to go by.
    """

    def __init__(
        self,
        ways: Callable[[], Ways],
        decided: Callable[[Batch, Networks], object],
        kept: Callable[[Kept], object],
        wrote: Callable[[Mark | None, Mark | None], object],
        *,
        locked_out: Callable[[str], object] = lambda _why: None,
    ) -> None:
        self._ways, self._decided, self._kept, self._wrote = ways, decided, kept, wrote
        self._locked_out = locked_out
        self._locked_since: float | None = None
        self._jobs: queue.SimpleQueue[Batch | _Ask | None] = queue.SimpleQueue()
        self._answers: deque[Callable[[], object]] = deque()
        self._waiting: list[Batch] = []
        self._new: deque[tuple[float, int]] = deque()
        self._pause = self._again = 0.0
        self._ended = False
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def store(self, batch: Batch) -> None:
        """Store a batch as soon as that can be done."""
        self._jobs.put(batch)

    def ask(self, work: Callable[[], T], then: Callable[[T | TreasonError], object]) -> None:
        """Do some work in the writer's thread, and tell what came of it."""
        self._jobs.put(_Ask(work, then))  # type: ignore[arg-type]  # what work returns, then takes

    def take(self) -> None:
        """Call back what the thread has to tell. Raise what went wrong in it and is a bug."""
        os.eventfd_read(self.descriptor)
        while self._answers:
            self._answers.popleft()()

    def end(self, seconds: float) -> bool:
        """Store what is left, within so many seconds; return whether that was done."""
        self._jobs.put(None)
        self._thread.join(seconds)
        return not (self._thread.is_alive() or self._waiting)

    def _tell(self, call: Callable[[], object]) -> None:
        self._answers.append(call)
        os.eventfd_write(self.descriptor, 1)

    def _work(self) -> None:
        try:
            while not self._ended:
                self._round(self._next())
        except BaseException as error:  # noqa: BLE001 - it is the loop's to end the daemon
            failure = error

            def fail() -> None:
                raise failure

            self._tell(fail)

    def _next(self) -> list[Batch | _Ask | None]:
        """Wait for something to do; return all there is. Nothing: it is time to try again."""
        found: list[Batch | _Ask | None] = []
        try:
            found.append(self._jobs.get(timeout=self._pause if self._waiting else None))
            while True:
                found.append(self._jobs.get_nowait())
        except queue.Empty:
            return found

    def _round(self, jobs: list[Batch | _Ask | None]) -> None:
        self._ended = None in jobs
        self._waiting = merged([*self._waiting, *(j for j in jobs if isinstance(j, Batch))])
        for job in jobs:
            if isinstance(job, _Ask):  # first: it needs no lock, and a repair may wait for it
                self._answer(job)
        if self._waiting and (self._ended or time.monotonic() >= self._again):
            self._store()

    def _answer(self, job: _Ask) -> None:
        try:
            found = job.work()
        except TreasonError as error:
            found = error
        self._tell(lambda: job.then(found))

    def _store(self) -> None:
        """Store what waits; what cannot be stored waits on, up to a limit."""
        ways = self._ways()
        main = ways.setup.config.treason
        trouble = ""
        left, self._waiting = deque(self._waiting), []
        try:
            with lock.held(main.lock, _PATIENCE, main.database.parent, inherited=False):
                self._note_lock("")
                trouble = self._store_in_order(ways, left)
        except LockError as error:  # a pass is running, which reads the sources as well
            trouble = str(error)
            self._note_lock(error.what)
            for batch in left:
                if self._is_given_back(batch):
                    self._settle(Kept(batch, unwritten=trouble))
                else:
                    self._waiting.append(batch)
        self._pause = min(max(2 * self._pause, _FIRST), _LONGEST) if trouble else 0.0
        self._again = time.monotonic() + self._pause

    def _is_given_back(self, batch: Batch) -> bool:
        """Whether a batch does not wait for the lock: it is too much, or waits for too long."""
        if batch.records is None:
            return self._is_locked_out
        return len(batch.records) > MOST

    def _note_lock(self, trouble: str) -> None:
        """Let it be told that the lock is not to be had, once that is so for long, or is again."""
        if not trouble:
            if self._is_locked_out:
                self._tell(lambda: self._locked_out(""))
            self._locked_since = None
            return
        self._locked_since = self._locked_since or time.monotonic()
        if self._is_locked_out:
            self._tell(lambda: self._locked_out(trouble))

    @property
    def _is_locked_out(self) -> bool:
        """Whether the lock is not to be had for long already."""
        since = self._locked_since
        return since is not None and time.monotonic() - since >= _LONG

    def _store_in_order(self, ways: Ways, left: deque[Batch]) -> str:
        """Store what is left, and take it away; return why something could not be stored."""
        trouble = ""
        try:
            with access.opened_to_enforce(ways.setup, {}, create=False) as store:
                storing = Storing(store, ways, access.told(store), self._early, self._made())
                storing.ahead = not self._pause  # else each try would tell it again
                version = store.changes.version
                before = mark(store.path)
                while left:
                    trouble = self._settle(storing.keep(left[0])) or trouble
                    left.popleft()
                storing.publish()
                after = mark(store.path)
                alone = store.changes.version == version
                self._tell(lambda: self._wrote(before, after if alone else None))
        except StoreError as error:
            trouble = str(error)
            for batch in left:
                self._settle(Kept(batch, unwritten=trouble))
        return trouble

    def _early(self, batch: Batch, bans: Networks) -> None:
        self._tell(lambda: self._decided(batch, bans))

    def _settle(self, kept: Kept) -> str:
        """Pass on what became of a batch; what was not stored waits, if it is not too much."""
        if kept.unwritten:
            records = kept.batch.records
            if records is not None and len(records) <= MOST:
                self._waiting.append(kept.batch)
        if kept.new:
            self._new.append((time.monotonic(), kept.new))
        self._tell(lambda: self._kept(kept))
        return kept.unwritten

    def _made(self) -> int:
        """Return how many new bans there were in the last minute."""
        while self._new and self._new[0][0] < time.monotonic() - _WINDOW:
            self._new.popleft()
        return sum(number for _, number in self._new)
