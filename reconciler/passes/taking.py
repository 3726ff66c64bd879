"""A step of a pass: take what feeds say, as far as their limits allow it.

What cannot be read, or is not believed, changes nothing: what was taken before stays.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from attrs import evolve, field, frozen

from reconciler.config.feeds import OBSERVE, ConfiguredFeed
from reconciler.errors import FeedUnreadable
from reconciler.feeding import FeedGroup
from reconciler.feeds.format import Contents
from reconciler.feeds.limits import Judged, Limits, Standing, judge
from reconciler.feeds.reading import read
from reconciler.feeds.token import token
from reconciler.networks import NOTHING, Networks
from reconciler.store.feeds import FeedState, enforced
from reconciler.store.store import Store


@frozen(eq=False)
class FeedReading:
    """What a pass has taken of a feed.

    ``begun`` and ``gone`` are the networks that it holds anew, and not any more. ``judged`` is None
    where its file has not changed, or it is not configured any more; else ``state`` is what is
    known of it from now on. ``error`` is why nothing could be taken; it is empty otherwise.
    """

    feed: str
    begun: Networks = NOTHING
    gone: Networks = NOTHING
    judged: Judged | None = None
    error: str = ""
    state: FeedState | None = None


@frozen(eq=False)
class Taken:
    """What was taken of all feeds; ``held`` is what they hold where that is not stored."""

    readings: list[FeedReading] = field(factory=list)
    held: Networks | None = None


@frozen(eq=False)
class Looker:
    """Looks what one feed says, as `Taker` describes it, and stores nothing."""

    now: int
    doubted: bool = False
    accepted: bool = False
    read: Callable[[Path, Limits], Contents] = read

    def look(
        self, feed: ConfiguredFeed, state: FeedState, held: Callable[[], Sequence[FeedGroup]]
    ) -> FeedReading:
        """Return what is to be taken of a feed, of which this is known, and ``held``.

        Raise `FeedUnreadable`.
        """
        name, now = feed.name, self.now
        if state.file == _seen(feed, token(feed.store)) and not self.accepted:
            return FeedReading(name)
        before = held()
        contents = self.read(feed.store, feed.limits)
        standing = evolve(_standing(feed, state), doubted=self.doubted)
        judged = judge(contents, before, feed.limits, now, standing, accepted=self.accepted)
        taken = FeedState(
            name,
            file=_seen(feed, contents.token),
            epoch=contents.epoch,
            taken=now,
            cut=len(judged.cut),
            refused=sum(len(networks) for _, networks in judged.refused),
            accepted=now if self.accepted else state.accepted,
            quarantined=judged.quarantined,
        )
        old, new = enforced(before), enforced(judged.groups)
        return FeedReading(name, new - old, old - new, judged, state=taken)


@frozen(eq=False)
class Taker:
    """Takes what feeds say at ``now`` (epoch seconds); stores nothing without ``write``.

    The feeds that are ``accepted`` may exceed, this once, what a person may allow them. While the
    clock is ``doubted``, what has ended by it is kept, and does not count. ``read`` reads a feed's
    own file.
    """

    store: Store
    now: int
    write: bool = True
    doubted: bool = False
    accepted: frozenset[str] = frozenset()
    read: Callable[[Path, Limits], Contents] = read

    def take(self, feeds: Mapping[str, ConfiguredFeed], known: Mapping[str, FeedState]) -> Taken:
        """Take what each feed says; what is known of any other one is lifted."""
        readings = [self._gone(name) for name in known if name not in feeds]
        if self.write and readings:
            self.store.attempt(partial(self.store.feeds.forget, feeds.keys(), self.now))
        groups: dict[str, Sequence[FeedGroup]] = {}
        for name, feed in feeds.items():
            reading = self.look(feed, known.get(name, FeedState(name)))
            readings.append(reading)
            if reading.judged is not None:
                groups[name] = reading.judged.groups
        is_stored = self.write and self.store.unwritten is None
        if is_stored or not (groups or known.keys() - feeds.keys()):
            return Taken(readings)
        return Taken(readings, self._held(feeds, groups))

    def _gone(self, name: str) -> FeedReading:
        """Return what a feed holds that is not configured any more."""
        groups = self.store.feeds.groups(name, self.now).get(name, [])
        return FeedReading(name, gone=enforced(groups))

    def look(self, feed: ConfiguredFeed, state: FeedState) -> FeedReading:
        """Take what one feed says of which this is known."""
        name, now = feed.name, 0 if self.doubted else self.now
        held = partial(self.store.feeds.groups, name, now)
        looker = Looker(self.now, self.doubted, name in self.accepted, self.read)
        try:
            reading = looker.look(feed, state, lambda: held().get(name, []))
        except FeedUnreadable as error:
            if self.write and state.trouble != str(error):
                troubled = evolve(state, file="", trouble=str(error))
                self.store.attempt(partial(self.store.feeds.note, troubled))
            return FeedReading(name, error=str(error))
        if self.write and reading.judged is not None and reading.state is not None:
            take = partial(self.store.feeds.take, doubted=self.doubted)
            self.store.attempt(partial(take, reading.state, reading.judged.groups, self.now))
        return reading

    def _held(
        self, feeds: Mapping[str, ConfiguredFeed], judged: Mapping[str, Sequence[FeedGroup]]
    ) -> Networks:
        """Return what feeds would hold if all that was judged were stored."""
        stored = self.store.feeds.groups(now=self.now)
        groups = chain.from_iterable(judged.get(name, stored.get(name, ())) for name in feeds)
        return enforced(each for each in groups if each.until is None or each.until > self.now)


def _seen(feed: ConfiguredFeed, file: str | None) -> str:
    """Return what stands for a state of the feed's file, and for how it was taken."""
    return f"{file} {feed.limits} {feed.settings.mode}"


def _standing(feed: ConfiguredFeed, state: FeedState) -> Standing:
    return Standing(
        feed.name,
        epoch=None if state.taken is None else state.epoch,
        quarantined=state.quarantined,
        accepted=state.accepted,
        observe=feed.settings.mode == OBSERVE,
        taken=state.taken,
    )
