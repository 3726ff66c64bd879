"""The engine of a feed: what the feed brings is put into its own file, by its own process.

It knows neither the database nor a firewall, and nothing of what passes make of the file.
"""

import os
import select
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from reconciler.errors import FeedUnreadable
from reconciler.feeding import FeedBan, FeedLift, PublishingFeed, WakingFeed
from reconciler.feeds import outbox
from reconciler.feeds.applying import applied
from reconciler.feeds.collecting import Tame
from reconciler.feeds.format import GROUPS, Contents
from reconciler.feeds.limits import Judged, Limits, Standing, judge
from reconciler.feeds.outbox import Told
from reconciler.feeds.writing import FeedFile
from reconciler.inotify import Watch
from reconciler.networks import Networks

_SOON, _LATER = 0.05, 1.0
"""Seconds until a feed is read again that woke for nothing: twice as many each time, at most."""

_AGAIN, _LATEST = 1.0, 60.0
"""Likewise, of one that could not be read."""

_LONGEST: Final = 86_400.0
"""Seconds that poll(2) waits at most: its number of milliseconds is limited."""


@frozen
class Refreshed:
    """What a refresh has brought.

    ``held`` is how many networks the file holds now. ``judged`` is what a pass would take of them
    that took all of it before; ``doubt`` why it would take nothing. ``damage`` is why the file was
    made anew, ``published`` how many networks were told others. ``failure`` is why nothing was
    written.
    """

    held: int = 0
    judged: Judged | None = None
    doubt: str = ""
    notes: tuple[str, ...] = ()
    damage: str = ""
    published: int = 0
    failure: FeedUnreadable | None = None

    @property
    def is_news(self) -> bool:
        """Whether it says anything but that all is as it was."""
        moved = self.judged is not None and (self.judged.added or self.judged.lifted)
        return bool(moved or self.published or self.failure or self.damage)


@frozen(eq=False)
class Engine:
    """Refreshes one feed, and publishes by it what stands in the outbox, if there is one."""

    feed: Tame
    file: FeedFile
    limits: Limits
    outbox: Path | None = None
    clock: Callable[[], float] = time.time

    def refresh(self) -> Refreshed:
        """Read what is new, and write it. Raise `FeedUnreadable`: then the file is as it was."""
        before, damage = self.file.contents, self.file.damage
        known = self.file.is_there and not damage
        batch = self.feed.collect(before.cursor)
        now = int(self.clock())
        contents = evolve(
            applied(before, batch.changes, now, self.limits.max_entries),
            epoch=batch.epoch,
            cursor=batch.cursor,
        )
        held = self._counted(contents)
        self._write(contents)
        judged, doubt = self._judged(before, contents, now, before.epoch if known else None)
        return Refreshed(held, judged, doubt, batch.notes, damage)

    def publish(self) -> int:
        """Publish what came since, and return how many networks. Raise `FeedUnreadable`."""
        if self.outbox is None or not isinstance(self.feed.feed, PublishingFeed):
            return 0
        rows = outbox.read(self.outbox, self.file.contents.published)
        if not rows:
            return 0
        changes = [*_changes(rows, int(self.clock()))]
        if changes:
            self.feed.publish(changes)
        self.file.write(evolve(self.file.contents, published=rows[-1].id))
        return sum(len(change.networks) for change in changes)

    def _write(self, contents: Contents) -> None:
        """Write it; the times of the directory tell when that was done last, changed or not."""
        directory = self.file.path.parent
        before = directory.stat()
        try:
            self.file.write(contents)
        except FeedUnreadable:
            with suppress(OSError):
                os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))
            raise
        with suppress(OSError):  # it may be another's
            os.utime(directory)

    def _counted(self, contents: Contents) -> int:
        held = sum(len(group.networks) for group in contents.groups)
        who, most = f"feed {self.feed.name}", self.limits.max_entries
        if held > most:
            raise FeedUnreadable(
                f"{who}: it names {held:,} networks in all, more than {most:,}, the limit set by"
                " max_entries"
            )
        if len(contents.groups) + len(contents.lifted) > GROUPS:
            raise FeedUnreadable(
                f"{who}: its bans have more than {GROUPS:,} different members, reasons and ends"
            )
        return held

    def _judged(
        self, before: Contents, after: Contents, now: int, epoch: str | None
    ) -> tuple[Judged, str]:
        """Judge as a pass does that has no other limit of time."""
        limits, standing = evolve(self.limits, max_new=0), Standing(self.feed.name, epoch)
        known = judge(before, (), limits, now, standing, accepted=True).groups
        try:
            return judge(after, known, limits, now, standing), ""
        except FeedUnreadable as error:
            return judge(after, known, limits, now, standing, accepted=True), str(error)


def _changes(rows: Iterable[Told], now: int) -> Iterator[FeedBan | FeedLift]:
    """Yield what is to be told, in order, what is alike together; but no ban that has ended."""
    for (banned, until, reason), alike in groupby(
        rows, lambda row: (row.banned, row.until, row.reason)
    ):
        networks = Networks.of(row.network for row in alike)
        if not banned:
            yield FeedLift(networks)
        elif until is None or until > now:
            yield FeedBan(networks, until and until - now, reason=reason)


def once(engine: Engine) -> Refreshed:
    """Refresh and publish; what fails is told."""
    try:
        result = engine.refresh()
    except FeedUnreadable as error:
        return Refreshed(failure=error)
    try:
        return evolve(result, published=engine.publish())
    except FeedUnreadable as error:
        return evolve(result, failure=error)


def follow(engine: Engine, feed: WakingFeed, refresh: float) -> Generator[Refreshed, None, None]:
    """Yield what each refresh brings, for ever: once woken, or after so many seconds.

    One that fails is made again. The feed is closed when nobody asks for more.
    """
    with ExitStack() as stack:
        stack.callback(_close, engine.feed, feed)
        watch = None
        if engine.outbox and isinstance(feed, PublishingFeed):
            watch = Watch(str(engine.outbox))
            stack.callback(watch.close)
        idle, again, woken = 0.0, _AGAIN, False
        while True:
            result = once(engine)
            yield result
            if result.failure:
                _woken(None, watch, min(again, refresh))
                again = min(again * 2, _LATEST)
                continue
            again = _AGAIN
            idle = min(max(idle * 2, _SOON), _LATER) if woken and not result.is_news else 0.0
            woken = _woken(_descriptor(engine.feed, feed), watch, refresh)
            time.sleep(idle if woken else 0.0)


def _close(tame: Tame, feed: WakingFeed) -> None:
    with suppress(FeedUnreadable):
        tame.call(feed.close)


def _descriptor(tame: Tame, feed: WakingFeed) -> int | None:
    """Return what is waited for; None where it cannot be now, and the time alone counts."""
    with suppress(FeedUnreadable):
        descriptor: object = tame.call(feed.fileno)
        return descriptor if isinstance(descriptor, int) and descriptor >= 0 else None
    return None


def _woken(descriptor: int | None, watch: Watch | None, seconds: float) -> bool:
    """Wait until the feed or the outbox wakes, or the time is over; return whether one did."""
    poll = select.poll()
    for each in (descriptor, watch and watch.fileno()):
        if each is not None:
            poll.register(each, select.POLLIN)
    woken = bool(poll.poll(ceil(min(seconds, _LONGEST) * 1000)))
    if watch:
        watch.take()
    return woken
