"""A source that judges by itself, and is woken: heeded here, and read by the writer in its time.

What wakes is mostly nothing, and strangers decide how often: it costs little, however often it is.
"""

import os
import select
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final, Protocol

from reconciler.daemon.batch import Batch
from reconciler.daemon.loop import Loop
from reconciler.daemon.telling import failure
from reconciler.errors import SourceUnreadable, guarded
from reconciler.interfaces import HeedingSource, Source
from reconciler.networks import Networks

_LEAST, _MOST = 0.05, 0.4
"""Seconds for which nothing wakes it behind a wake-up; twice as long behind each, up to these."""

_QUIET: Final = 1.0
"""Seconds without a wake-up after which that begins again."""

_RESTART: Final = "systemctl restart treason"
"""What alone lets it be woken again."""

_AGAIN: Final = 10.0
"""Seconds until what went wrong is tried again."""

_BEHIND: Final = 2.0
"""Seconds between a read and the next one that is wanted right behind it: no rule may apply to the
source, so that nothing was read."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop

    def pending_of(self, source: str) -> Networks:
        """Return what is in force for a source, and not stored yet."""

    def store(self, batch: Batch) -> None:
        """Hand a batch to the writer."""

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""


class Heeding:
    """Keeps one object of the source ``name``, if it is of that kind, and can be woken.

    Else `way` says why not, where there is something to say, and a timer lets it be read.
    """

    def __init__(self, name: str, daemon: Daemon) -> None:
        self._name, self._daemon, self._loop = name, daemon, daemon.loop
        self._source: HeedingSource | None = None
        self._why_not = ""
        self._attached = self._reading = self._unwell = False
        self._descriptor = -1
        self._pause = _LEAST
        self._woken_at = 0.0
        self._failed: Callable[[], object] = lambda: None

    @property
    def is_awake(self) -> bool:
        """Whether the source is woken."""
        return self._source is not None

    @property
    def way(self) -> str:
        """In which way it sees, and why in no better one; empty: there is but one."""
        if self._source is None:
            return self._why_not
        return guarded(self._source.way, lambda _error: "", self._name)

    def attach(self, make: Callable[[], Source], before: "Heeding | None") -> None:
        """Have the descriptor, once; who had it ``before`` for the same source, leaves it to us.

        It may need capabilities that are given up then.
        """
        if self._attached:
            return
        self._attached = True
        if before is not None:
            self._source, self._descriptor, self._why_not = before.handed_over()
            return
        self._daemon.trouble(self.subject, "")
        source = guarded(make, lambda _error: None, self._name)  # whoever reads it is told
        if isinstance(source, HeedingSource):
            guarded(partial(self._have, source), partial(self._without, source), self._name)

    def handed_over(self) -> tuple[HeedingSource | None, int, str]:
        """Return the source, its descriptor and why there is none, and leave it alone."""
        self._wait_no_more()
        source, self._source = self._source, None
        return source, self._descriptor, self._why_not

    def begin(self, failed: Callable[[], object]) -> bool:
        """Wait for it, and let it be read at once; return False where it cannot be.

        ``failed`` is called once it cannot be any more.
        """
        self._failed = failed
        if self._source is None:
            return False
        self._wait()
        self._read()
        return True

    def kept(self, error: str, *, stored: bool) -> bool:
        """Go on behind a read; return False where there was none."""
        if self._source is None:
            return False
        self._reading = False
        self._daemon.trouble(self._name, error)
        if stored:
            self._guarded(partial(self._go_by, _BEHIND))
        else:
            self._later(_AGAIN, self._read)
        return True

    def close(self) -> None:
        """Wait for it no more."""
        self._leave()

    @property
    def subject(self) -> str:
        """What is in trouble where it cannot be woken, until the source is another one."""
        return f"way of {self._name}"

    def _have(self, source: HeedingSource) -> None:
        self._descriptor = source.fileno()
        self._source = source

    def _without(self, source: HeedingSource, error: BaseException) -> None:
        """Note why it is not woken; that is wrong where the settings want it to be."""
        why, hint = failure(error, self._name), ""
        if isinstance(error, SourceUnreadable):
            why, hint = error.what, error.hint
        guarded(source.close, lambda _error: None, self._name)
        self._why_not = f"{source.way()}, because {why}"
        if source.insists() or not isinstance(error, SourceUnreadable):
            text = f"{self._name}: {self._why_not}\n  {hint and f'{hint}; then: '}{_RESTART}"
            self._daemon.trouble(self.subject, text)

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        self._loop.after(seconds, f"heed {self._name}", call)

    def _wait(self) -> None:
        self._guarded(self._poll)

    def _poll(self) -> None:
        if self._source is not None:
            os.fstat(self._descriptor)  # which fails where nobody has it open
            self._loop.watch(self._descriptor, select.POLLIN, self._woken)

    def _woken(self) -> None:
        """Heed, and hear nothing for a while."""
        self._loop.forget(self._descriptor)
        now, before = time.monotonic(), self._woken_at
        self._woken_at = now
        self._pause = _LEAST if now - before > _QUIET else min(2 * self._pause, _MOST)
        self._loop.after(self._pause, f"wait for {self._name}", self._wait)
        self._heed()

    def _heed(self) -> None:
        self._guarded(self._go_by)

    def _go_by(self, at_once: float = 0.0) -> None:
        """Heed, and wait or read as it says; ``at_once`` are the seconds that 0 stands for."""
        if self._source is None:
            return
        seconds = self._source.heed() or at_once
        if self._unwell:
            self._unwell = False
            self._daemon.trouble(self._name, "")
        if seconds <= 0:
            self._read()
        elif seconds < inf:
            self._later(seconds, self._heed)

    def _read(self) -> None:
        """Let the writer read it, one time after the other: behind each it is heeded."""
        if self._source is None or self._reading:
            return
        self._reading = True
        self._loop.never(f"heed {self._name}")
        dropped = self._daemon.pending_of(self._name)
        make = partial(_same, self._source)
        self._daemon.store(Batch(self._name, None, None, None, dropped, make=make, keeps=True))

    def _guarded(self, work: Callable[[], object]) -> None:
        guarded(work, self._went_wrong, self._name)

    def _went_wrong(self, error: BaseException) -> None:
        """Heed again after a while; what fails in another way is left to the timer from now on."""
        text = failure(error, self._name)
        if isinstance(error, SourceUnreadable):
            self._unwell = True
            self._daemon.trouble(self._name, text)
            self._later(_AGAIN, self._heed)
            return
        self._leave()
        self._daemon.trouble(self.subject, f"{text}\n  {_RESTART}")
        self._failed()

    def _leave(self) -> None:
        self._wait_no_more()
        source, self._source = self._source, None
        if source is not None:
            guarded(source.close, lambda _error: None, self._name)

    def _wait_no_more(self) -> None:
        self._loop.never(f"heed {self._name}")
        self._loop.never(f"wait for {self._name}")
        if self._source is not None:
            self._loop.forget(self._descriptor)


def _same(source: Source) -> Source:
    return source
