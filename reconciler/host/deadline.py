"""An end for a plugin's code that does not end by itself, by SIGALRM.

Only what runs inside `Run` is interrupted, never what stores or changes anything. Outside of the
main thread, where Python handles no signals, there is no limit.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeVar

from attrs import define

from reconciler.errors import ENDS, SourceUnreadable

T = TypeVar("T")

_AGAIN: Final = 1.0
"""Seconds until a plugin that went on regardless is interrupted again."""

_AT_ONCE: Final = 1e-6
"""Seconds of a timer that should have ended already; 0 would switch it off."""


class Overdue(BaseException):
    """What a plugin's code is interrupted by; no ``except Exception`` catches it."""


@define(eq=False)
class Run:
    """Runs a plugin's code, which may be interrupted as long as it runs, and not behind that.

    ``over`` is the time, ``ended`` the plugin: it was interrupted, or not run any more.
    """

    over: bool = False
    ended: bool = False

    def __call__(self, work: Callable[[], T]) -> T:
        """Return what ``work`` gives; raise `Overdue` once the time is over, before or after."""
        self._check()
        result = work()
        self._check()  # if it went on regardless, what it gave is not whole
        return result

    def tick(self, _number: int, frame: FrameType | None) -> None:
        """Handle the signal: interrupt what runs inside, be it a generator that it resumed."""
        self.over = True
        while frame is not None:
            if frame.f_code is Run.__call__.__code__:
                self._check()
            frame = frame.f_back

    def _check(self) -> None:
        if self.over:
            self.ended = True
            raise Overdue


def limited(seconds: float | None, name: str, work: Callable[[Run], T]) -> T:
    """Return what ``work`` gives, which runs the code of the source ``name`` by what it is given.

    Raise `SourceUnreadable` where that took more than so many seconds; None is no limit.
    """
    run = Run()
    with _timer(seconds, run):
        try:
            return work(run)
        except ENDS:
            raise
        except BaseException:
            if run.ended:
                raise SourceUnreadable(
                    f"{name}: was not done within {seconds:g} s, the limit set by pass_timeout",
                    "find out what it waits for, or raise pass_timeout in [treason]",
                ) from None
            raise


@contextmanager
def _timer(seconds: float | None, run: Run) -> Iterator[None]:
    """Let the clock tick for ``run``; then restore the handler and the timer that there were."""
    here = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGALRM)
    if seconds is None or not here or handler is None:  # None: C code handles it, for itself
        yield
        return
    begun = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, run.tick)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            left = max(left - (time.monotonic() - begun), _AT_ONCE)
            signal.setitimer(signal.ITIMER_REAL, left, interval)
