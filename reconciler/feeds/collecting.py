"""What a feed brings, whatever its plugin does: all of it, or a `FeedUnreadable` that names it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final, NoReturn, TypeVar

from attrs import frozen

from reconciler.errors import FeedUnreadable, TreasonError, guarded, said, words
from reconciler.feeding import (
    EpochFeed,
    Feed,
    FeedBan,
    FeedChange,
    FeedLift,
    FeedSnapshot,
    NotingFeed,
    PublishingFeed,
)
from reconciler.feeds.format import CURSOR, EPOCH, MEMBER, REASON, harmless
from reconciler.host.deadline import Run, limited
from reconciler.networks import Networks

T = TypeVar("T")

_NOTES: Final = 1000
_NOTE: Final = 500
"""Notes that are taken, and characters of each."""

_END: Final = object()

_MARKS: Final = 1000
"""Changes that may come without a network."""


@frozen
class Batch:
    """What a feed has brought: the changes, and what it said of itself then."""

    changes: tuple[FeedChange, ...] = ()
    cursor: str | None = None
    epoch: str = ""
    notes: tuple[str, ...] = ()


def tamed(name: str, seconds: float | None, work: Callable[[Run], T]) -> T:
    """Return what ``work`` gives, which runs the code of the feed ``name`` by what it is given.

    Raise `FeedUnreadable`, whatever that code does, or where it takes more than so many seconds.
    """
    who = f"feed {name}"

    def failed(error: BaseException) -> NoReturn:
        if not isinstance(error, TreasonError):
            what = harmless(said(error), _NOTE)
            raise FeedUnreadable(f"{who}: the plugin failed: {what}", "-v shows where") from error
        what, _, hint = words(error).partition("\n  ")
        raise FeedUnreadable(what if what.startswith(who) else f"{who}: {what}", hint) from None

    return guarded(partial(limited, seconds, who, work), failed, who)


@frozen
class Tame:
    """A feed whose plugin may do what it likes, for so many ``seconds`` at a time."""

    feed: Feed
    name: str
    most: int
    seconds: float | None = None

    def collect(self, cursor: str | None) -> Batch:
        """Return all that came after the cursor. Raise `FeedUnreadable`."""
        return self._guarded(lambda run: self._collected(run, cursor))

    def publish(self, changes: Sequence[FeedBan | FeedLift]) -> None:
        """Let the feed tell others. Raise `FeedUnreadable`."""
        feed = self.feed
        if isinstance(feed, PublishingFeed):
            self._guarded(lambda run: run(partial(feed.publish, changes)))

    def call(self, work: Callable[[], T]) -> T:
        """Return what some other of its methods gives. Raise `FeedUnreadable`."""
        return self._guarded(lambda run: run(work))

    def _guarded(self, work: Callable[[Run], T]) -> T:
        return tamed(self.name, self.seconds, work)

    def _collected(self, run: Run, cursor: str | None) -> Batch:
        changes = (*self._changes(run, cursor),)
        feed = self.feed
        epoch = run(feed.epoch) if isinstance(feed, EpochFeed) else ""
        after = run(feed.cursor)
        if not _is_text(epoch, EPOCH) or not epoch.isprintable():
            raise self._wrong(f"its epoch is not a text of at most {EPOCH} characters")
        if after is not None and not _is_text(after, CURSOR):
            raise self._wrong(f"its cursor is not a text of at most {CURSOR:,} characters")
        notes = run(lambda: [*islice(feed.notes(), _NOTES)]) if isinstance(feed, NotingFeed) else []
        return Batch(changes, after, epoch, tuple(harmless(str(note), _NOTE) for note in notes))

    def _changes(self, run: Run, cursor: str | None) -> Iterator[FeedChange]:
        """Yield the changes, each as it must be, a snapshot as a whole, and not without end."""
        coming = run(lambda: iter(self.feed.changes(cursor)))
        inside = False
        number = marks = 0
        while (change := run(lambda: next(coming, _END))) is not _END:
            if isinstance(change, FeedSnapshot):
                if inside is (change is FeedSnapshot.BEGIN):
                    raise self._wrong("a snapshot begins inside another, or ends without beginning")
                inside = not inside
            elif isinstance(change, FeedBan) or (isinstance(change, FeedLift) and not inside):
                change = self._checked(change)
                number += len(change.networks)
            else:
                raise self._wrong(f"it brings {type(change).__name__}, which is no change here")
            marks += 1
            if number > self.most or marks > self.most + _MARKS:
                raise FeedUnreadable(
                    f"feed {self.name}: it brings more than {self.most:,} networks at once, the"
                    " limit set by max_entries"
                )
            yield change
        if inside:
            raise self._wrong("its snapshot has no end")

    def _checked(self, change: FeedBan | FeedLift) -> FeedBan | FeedLift:
        networks: object = change.networks
        if not (isinstance(networks, Networks) and networks.is_canonical):
            raise self._wrong("it brings something else than networks")
        if not _is_text(change.member, MEMBER) or not change.member.isprintable():
            raise self._wrong(f"a member's name is not a text of at most {MEMBER} characters")
        if isinstance(change, FeedLift):
            return change
        if not isinstance(change.reason, str):
            raise self._wrong("a reason is not a text")
        seconds: object = change.seconds
        if seconds is not None and not (type(seconds) is int and seconds > 0):
            raise self._wrong("a ban's seconds are not a whole number")
        return FeedBan(networks, change.seconds, change.member, harmless(change.reason, REASON))

    def _wrong(self, what: str) -> FeedUnreadable:
        return FeedUnreadable(f"feed {self.name}: the plugin is wrong: {what}", "nothing was taken")


def _is_text(value: object, longest: int) -> bool:
    if not isinstance(value, str) or len(value) > longest:
        return False
    with suppress(UnicodeEncodeError):
        value.encode()
        return True
    return False
