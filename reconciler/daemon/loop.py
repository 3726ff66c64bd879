"""The loop: one poll(2) over all that may happen, and the calls that follow."""

import os
import select
import signal
import time
from collections.abc import Callable
from math import ceil
from typing import Final

_LONGEST: Final = 86_400.0
"""Seconds that poll(2) waits at most: its number of milliseconds is limited."""


class Loop:
    """Waits for descriptors and times, and calls what belongs to them, one after the other.

    A call that finds nothing to do is fine: an event only says that it is worth looking.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Callable[[], object]] = {}
        self._times: dict[str, tuple[float, Callable[[], object]]] = {}
        self._stopped = False

    def watch(self, descriptor: int, events: int, call: Callable[[], object]) -> None:
        """Call when poll(2) finds the descriptor so, or hung up, or broken, from now on.

        This replaces what was asked.
        """
        self._poll.register(descriptor, events)
        self._calls[descriptor] = call

    def forget(self, descriptor: int) -> None:
        """Wait for the descriptor no more; it need not have been watched, and is not closed."""
        if self._calls.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def after(self, seconds: float, name: str, call: Callable[[], object]) -> None:
        """Call once so many seconds from now, instead of what has this name already."""
        self._times[name] = time.monotonic() + seconds, call

    def soon(self, seconds: float, name: str, call: Callable[[], object]) -> None:
        """Call likewise, unless what has this name already comes sooner."""
        if name not in self._times or self._times[name][0] > time.monotonic() + seconds:
            self.after(seconds, name, call)

    def never(self, name: str) -> None:
        """Forget what has this name."""
        self._times.pop(name, None)

    def stop(self) -> None:
        """Let `run` return once the call that is made now has returned."""
        self._stopped = True

    def run(self) -> None:
        """Wait and call, until `stop`."""
        while not self._stopped:
            ready = [(each, self._calls.get(each)) for each, _ in self._poll.poll(self._left())]
            for descriptor, call in ready:  # a call may close one, and open another by its number
                if call and self._calls.get(descriptor) is call and not self._stopped:
                    call()
            self._call_due()

    def _left(self) -> int | None:
        """Return how many milliseconds there are until the next time; None: for ever."""
        if not self._times:
            return None
        left = min(when for when, _ in self._times.values()) - time.monotonic()
        return ceil(max(0.0, min(left, _LONGEST)) * 1000)

    def _call_due(self) -> None:
        if not self._times:
            return
        now = time.monotonic()
        for name in [name for name, (when, _) in self._times.items() if when <= now]:
            if (due := self._times.pop(name, None)) and not self._stopped:
                due[1]()


class Signals:
    """Signals as a descriptor: a handler only queues, and the loop does what it asks for."""

    def __init__(self, loop: Loop, calls: dict[int, Callable[[], object]]) -> None:
        """Call from the loop what belongs to each signal (signal(7))."""
        self._calls = calls
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in calls:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, calls)  # what came before is taken now
        loop.watch(self._read, select.POLLIN, self._take)

    def _take(self) -> None:
        for number in dict.fromkeys(os.read(self._read, 512)):
            if number in self._calls:
                self._calls[number]()
