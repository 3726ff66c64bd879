"""A feed that can be waited for: it is read once it wakes, and publishes once there is something.

Reading and publishing take turns of their own: where one fails, the other goes on.
"""

import select
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from math import ceil
from typing import Final

from attrs import define, evolve, field

from reconciler.errors import FeedUnreadable
from reconciler.feeding import WakingFeed
from reconciler.feeds.collecting import Tame
from reconciler.feeds.engine import Engine, Refreshed, joined, read, told
from reconciler.inotify import Watch

_SOON, _LATER = 0.05, 1.0
"""Seconds until a feed is read again that woke for nothing: twice as many each time, at most."""

_SENSELESS: Final = 8
"""Times that it may do so in a row, each within `_LATER`, before that."""

_AGAIN, _LATEST = 0.5, 60.0
"""Seconds until what failed is tried again by itself: twice as many each time, at most."""

_DEAF, _DEAFEST = 0.2, 1.0
"""Likewise, until it is tried again because it wakes."""

_LONGEST: Final = 86_400.0
"""Seconds that poll(2) waits at most: its number of milliseconds is limited."""


@define
class _Turn:
    """Reading, or publishing: ``due`` is when it is to be done, ``heard`` when it may be woken.

    Both are of time.monotonic(). ``refresh`` are the seconds until it is done without any reason.
    """

    work: Callable[[], Refreshed]
    refresh: float
    due: float = 0.0
    heard: float = 0.0
    fails: bool = False
    _pause: float = field(default=0.0, init=False)
    _deaf: float = field(default=0.0, init=False)
    _senseless: int = field(default=0, init=False)

    def take(self, *, woken: bool) -> Refreshed:
        """Do it, and settle when it is to be done again."""
        begun = time.monotonic()
        result = self.work()
        self.note(result, rested=begun - self.heard if woken else _LATER)
        return result

    def note(self, result: Refreshed, rested: float = _LATER) -> None:
        """Settle when it is to be done again; it was woken after so many seconds of hearing."""
        now = time.monotonic()
        self.fails = result.failure is not None
        if self.fails:
            self._pause = min(max(self._pause * 2, _AGAIN), _LATEST)
            self._deaf = min(max(self._deaf * 2, _DEAF), _DEAFEST)
            self.due, self.heard = now + min(self._pause, self.refresh), now + self._deaf
            return
        self._senseless = 0 if result.is_news or rested >= _LATER else self._senseless + 1
        many = self._senseless - _SENSELESS
        self._pause, self._deaf = 0.0, 0.0
        self.due = now + self.refresh
        self.heard = now + (min(_SOON * 2 ** min(many, 10), _LATER) if many >= 0 else 0.0)


def follow(engine: Engine, feed: WakingFeed, refresh: float) -> Generator[Refreshed, None, None]:
    """Yield what is read and published, for ever: once woken, or after so many seconds.

    The first result is of both: then all is published once more, and what others know changes
    nothing. What fails is tried again. The feed is closed when nobody asks for more.
    """
    engine.begin()
    with ExitStack() as stack:
        stack.callback(_close, engine.feed, feed)
        watch = None
        if engine.publishes:
            watch = Watch(str(engine.outbox))
            stack.callback(watch.close)
        yield from _turns(engine, feed, watch, refresh)


def _turns(
    engine: Engine, feed: WakingFeed, watch: Watch | None, refresh: float
) -> Generator[Refreshed, None, None]:
    reading = _Turn(lambda: read(engine), refresh)
    telling = _Turn(lambda: told(engine), refresh if watch else float("inf"))
    if watch:
        watch.take()  # first, so that what comes while we read it wakes again
    yield joined(reading.take(woken=False), telling.take(woken=False))
    while True:
        woken = _woken(engine.feed, feed, watch, reading, telling)
        now = time.monotonic()
        concerned = watch is not None and telling in woken and watch.touched()
        if concerned or telling.due <= now:
            yield telling.take(woken=concerned)
        if reading in woken or reading.due <= now:
            failed, before = reading.fails, engine.file.contents.epoch
            result = reading.take(woken=reading in woken)
            again = failed and not reading.fails  # whoever is reached again, or is another one now
            yield evolve(result, again=again)
            if watch and (again or engine.file.contents.epoch != before):
                telling.due = 0.0


def _close(tame: Tame, feed: WakingFeed) -> None:
    with suppress(FeedUnreadable):
        tame.call(feed.close)


def _descriptor(tame: Tame, feed: WakingFeed) -> int | None:
    """Return what is waited for; None where it cannot be now, and the time alone counts."""
    with suppress(FeedUnreadable):
        descriptor: object = tame.call(feed.fileno)
        return descriptor if isinstance(descriptor, int) and descriptor >= 0 else None
    return None


def _woken(
    tame: Tame, feed: WakingFeed, watch: Watch | None, reading: _Turn, telling: _Turn
) -> list[_Turn]:
    """Wait until the feed or the outbox wakes, or a time has come; return whose turn was woken."""
    now = time.monotonic()
    poll, waking = select.poll(), dict[int, _Turn]()
    ends = [reading.due, telling.due]
    for turn in (reading, telling):
        if turn.heard > now:
            ends.append(turn.heard)
            continue
        outbox = watch.fileno() if watch else None
        descriptor = _descriptor(tame, feed) if turn is reading else outbox
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
            waking[descriptor] = turn
    seconds = max(0.0, min(*ends, now + _LONGEST) - now)
    return [waking[descriptor] for descriptor, _ in poll.poll(ceil(seconds * 1000))]
