"""The engine of a feed: what the feed brings is put into its own file, by its own process.

It knows neither the database nor a firewall, and nothing of what passes make of the file.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from attrs import evolve, frozen

from reconciler.errors import FeedUnreadable
from reconciler.feeding import FeedBan, FeedLift, FeedSnapshot, PublishingFeed
from reconciler.feeds import outbox
from reconciler.feeds.applying import applied
from reconciler.feeds.collecting import Tame
from reconciler.feeds.format import GROUPS, Contents
from reconciler.feeds.limits import Judged, Limits, Standing, judge
from reconciler.feeds.outbox import Told
from reconciler.feeds.remarks import Keeper
from reconciler.feeds.writing import FeedFile
from reconciler.networks import Networks

_MUCH = 50_000
"""Networks above which a change is judged by what its members said before: a pass judges it all."""


@frozen
class Refreshed:
    """What a refresh has brought.

    ``held`` is how many networks the file holds now. ``judged`` is what a pass would take of them
    that took all of it before; ``doubt`` why it would take nothing. ``damage`` is why the file was
    made anew, ``published`` how many networks were told others. ``failure`` is why nothing was
    written; ``again`` is whether it could be read that could not be before.
    """

    held: int = 0
    judged: Judged | None = None
    doubt: str = ""
    notes: tuple[str, ...] = ()
    damage: str = ""
    published: int = 0
    failure: FeedUnreadable | None = None
    again: bool = False

    @property
    def is_news(self) -> bool:
        """Whether it says anything but that all is as it was."""
        moved = self.judged is not None and (self.judged.added or self.judged.lifted)
        return bool(moved or self.published or self.failure or self.damage)


@frozen(eq=False)
class Engine:
    """Refreshes one feed, and publishes by it what stands in the outbox, if there is one.

    ``keeper`` keeps what people should know of that.
    """

    feed: Tame
    file: FeedFile
    limits: Limits
    outbox: Path | None = None
    clock: Callable[[], float] = time.time
    keeper: Keeper | None = None

    def refresh(self) -> Refreshed:
        """Read what is new, and write it. Raise `FeedUnreadable`: then the file is as it was.

        In another epoch nobody knows what was published: all that stands in the outbox is due.
        """
        before, damage = self.file.contents, self.file.damage
        known = self.file.is_there and not damage
        batch = self.feed.collect(before.cursor)
        now = int(self.clock())
        contents = evolve(
            applied(before, batch.changes, now, self.limits.max_entries),
            epoch=batch.epoch,
            cursor=batch.cursor,
            published=before.published if batch.epoch == before.epoch else 0,
        )
        held = self._counted(contents)
        self._write(contents)
        epoch = before.epoch if known else None
        if held > _MUCH and epoch == contents.epoch and FeedSnapshot.BEGIN not in batch.changes:
            members = {each.member for each in batch.changes if not isinstance(each, FeedSnapshot)}
            before, contents = _said_by(members, before), _said_by(members, contents)
        judged, doubt = self._judged(before, contents, now, epoch)
        return Refreshed(held, judged, doubt, batch.notes, damage)

    def publish(self) -> int:
        """Publish what came since, and return how many networks. Raise `FeedUnreadable`."""
        if self.outbox is None or not self.publishes:
            return 0
        number = 0
        while rows := outbox.read(self.outbox, self.file.contents.published):
            changes = [*_changes(rows, int(self.clock()))]
            if changes:
                self.feed.publish(changes)
            self.file.write(evolve(self.file.contents, published=rows[-1].id))
            number += sum(len(change.networks) for change in changes)
        return number

    def begin(self) -> None:
        """Let all that stands in the outbox be due: whoever was told may have forgotten it."""
        if self.publishes:
            self.file.contents = evolve(self.file.contents, published=0)

    @property
    def publishes(self) -> bool:
        """Whether it tells others anything."""
        return self.outbox is not None and isinstance(self.feed.feed, PublishingFeed)

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


def _said_by(members: Collection[str], contents: Contents) -> Contents:
    """Return what these members say, and have lifted."""
    groups, lifted = (
        tuple(group for group in groups if group.member in members)
        for groups in (contents.groups, contents.lifted)
    )
    return evolve(contents, groups=groups, lifted=lifted)


def _changes(rows: Iterable[Told], now: int) -> Iterator[FeedBan | FeedLift]:
    """Yield what is to be told, in order, what is alike together.

    A ban that has ended may have taken the place of one that others know, and that goes on longer.
    """

    def word(row: Told) -> tuple[bool, int | None, str]:
        if row.banned and (row.until is None or row.until > now):
            return True, row.until, row.reason
        return False, None, ""

    for (banned, until, reason), alike in groupby(rows, word):
        networks = Networks.of(row.network for row in alike)
        if banned:
            yield FeedBan(networks, until and until - now, reason=reason)
        else:
            yield FeedLift(networks)


def read(engine: Engine) -> Refreshed:
    """Refresh; what fails is told."""
    try:
        result = engine.refresh()
    except FeedUnreadable as error:
        result = Refreshed(failure=error)
    if engine.keeper:
        engine.keeper.read(result.failure, result.notes)
    return result


def told(engine: Engine) -> Refreshed:
    """Publish; what fails is told."""
    try:
        result = Refreshed(published=engine.publish())
    except FeedUnreadable as error:
        result = Refreshed(failure=error)
    if engine.keeper:
        engine.keeper.told(result.failure)
    return result


def joined(result: Refreshed, others: Refreshed) -> Refreshed:
    """Return what was read and what was published as one; of two failures that of reading."""
    failure = result.failure or others.failure
    return evolve(result, published=others.published, failure=failure)


def once(engine: Engine) -> Refreshed:
    """Refresh and publish; where one of them fails, the other is done, and the failure told."""
    return joined(read(engine), told(engine))
