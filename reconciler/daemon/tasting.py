"""What a feed says, taken by the daemon itself where that is little: in force first, stored then.

By the steps of a pass. Whatever is much, doubtful, or to be removed, is left to a pass, which reads
it anew.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from attrs import evolve, frozen

from reconciler.config.feeds import ConfiguredFeed
from reconciler.config.setup import Setup
from reconciler.daemon.following import Following
from reconciler.daemon.force import Force
from reconciler.daemon.marks import Mark, is_being_written, mark
from reconciler.daemon.rest import Rest
from reconciler.daemon.truth import Truth
from reconciler.daemon.unstored import Unstored
from reconciler.daemon.view import View, seconds_left
from reconciler.daemon.writer import Writer
from reconciler.embedding import TEREDO
from reconciler.errors import FeedUnreadable, StoreError, TreasonError
from reconciler.feeding import FeedGroup
from reconciler.feeds.reading import read
from reconciler.host import clock, lock
from reconciler.host.clock import Clock, Look
from reconciler.networks import NOTHING, Networks, covered, overlaps
from reconciler.passes import access
from reconciler.passes.taking import FeedReading, Looker
from reconciler.store.feeds import FeedState
from reconciler.store.store import Store

if TYPE_CHECKING:
    from reconciler.daemon.feeds import Feeds

_LARGEST: Final = 1 << 18
_PATIENCE: Final = 0.1
"""Bytes of a feed's file, and seconds to read it: what is more is left to a pass."""

_FEW: Final = 1000
"""Networks that are dropped at once, at most."""

Then = Callable[[bool, float], object]
"""Is told whether all is done, else a pass is to do the rest; and how many seconds it took."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    writer: Writer
    truth: Truth
    force: Force
    following: Following
    unstored: Unstored
    rest: Rest

    @property
    def feeds(self) -> "Feeds":
        """Who waits for the feeds' files."""

    def drop(self, source: str, networks: Networks) -> None:
        """Drop these networks now; they are pending until they are stored."""


@frozen(eq=False)
class _Taste:
    """What was found at ``now`` (epoch seconds) of a feed, of which ``known`` was known before.

    That is the time that was ``told`` when the clock was ``seen``; ``held`` is what was taken
    before.
    """

    known: FeedState
    reading: FeedReading
    now: int
    took: float
    told: Clock
    seen: Look
    held: Sequence[FeedGroup]

    @property
    def is_nothing(self) -> bool:
        """Whether all is as it was: the feed has noted something for itself alone."""
        known, state, judged = self.known, self.reading.state, self.reading.judged
        if judged is None or state is None or [*judged.groups] != [*self.held]:
            return False
        return evolve(state, file=known.file, taken=known.taken) == known

    @property
    def is_little(self) -> bool:
        """Whether nothing but few networks come, and whoever was quarantined stays so."""
        judged, gone = self.reading.judged, self.reading.gone
        if judged is None or gone or len(self.reading.begun) > _FEW:
            return False
        return judged.quarantined == self.known.quarantined


@frozen(eq=False)
class _Stored:
    """What storing has left: the database's marks before and behind, as `Truth.wrote` takes them.

    ``ends`` are the seconds until the next ban ends. ``vain`` were dropped, and nothing holds them.
    """

    before: Mark | None
    after: Mark | None
    vain: Networks
    ends: float | None
    took: float
    memory: "_Memory | None" = None


@frozen(eq=False)
class _Memory:
    """What the database holds of a feed, for as long as it has this ``mark``.

    ``told`` is the time that was believed when the clock was ``seen``.
    """

    mark: Mark | None
    told: Clock
    seen: Look
    state: FeedState
    held: Sequence[FeedGroup]


class Tasting:
    """Takes what these feeds say, in the writer's thread, until it is closed."""

    def __init__(self, feeds: Mapping[str, ConfiguredFeed], setup: Setup, daemon: Daemon) -> None:
        self._feeds, self._setup, self._daemon = feeds, setup, daemon
        self._closed = False
        self._view: View | None = None
        self._since = NOTHING  # what was dropped since that view
        self._memories: dict[str, _Memory | None] = {}

    def close(self) -> None:
        """Take no more; the pass that follows takes all of it, and then this is to be finished."""
        self._closed = True
        if self._daemon.rest.closed:  # the firewall may be another one
            for name in self._feeds:
                self._daemon.unstored.forget(self.pending(name))

    def finish(self, late: Callable[[], object]) -> None:
        """Settle what is in force and not stored, behind a pass, as `settle`."""
        for name in self._feeds:
            if networks := self.pending(name):
                self.settle(name, networks, lambda _: late())

    def wrote(self, before: Mark | None, after: Mark | None) -> None:
        """Take the marks of what the writer has stored: nothing of it concerns a feed."""
        for name, memory in [*self._memories.items()]:
            if memory and before and after and memory.mark == before:
                self._memories[name] = evolve(memory, mark=after)

    def taste(self, name: str, then: Then) -> None:
        """Drop at once who is new in a feed's file, and store it; call ``then`` in the loop."""
        daemon = self._daemon
        if name not in self._feeds or daemon.rest.closed or daemon.truth.view is None:
            then(False, 0.0)
        else:
            daemon.writer.ask(partial(self._taste, self._feeds[name]), partial(self._drop, then))

    def pending(self, name: str) -> Networks:
        """Return what of a feed is in force, and not stored yet."""
        return self._daemon.unstored.of(_subject(name))

    def settle(self, name: str, networks: Networks, late: Callable[[Networks], object]) -> None:
        """Go by what is stored of these, behind a pass that took what the feed says.

        What it said for a moment only is let go by another pass. Where that cannot be seen now,
        ``late`` is told.
        """

        def settled(vain: Networks | TreasonError) -> None:
            if isinstance(vain, TreasonError):
                late(networks)
                return
            self._forget(name, networks, vain)

        work = partial(_settled, self._setup, name, networks)
        ask = partial(self._daemon.writer.ask, work, settled)
        self._daemon.truth.refresh(ask)  # first it is compared with what the pass has left

    def _forget(self, name: str, networks: Networks, vain: Networks) -> None:
        """Take notice that these are stored, but for those that nothing holds any more."""
        self._daemon.unstored.forget(networks & self.pending(name))
        if vain:
            self._daemon.truth.refresh(partial(self._daemon.feeds.let_go, name))

    def _drop(self, then: Then, found: _Taste | TreasonError) -> None:
        if self._closed:
            return
        if isinstance(found, TreasonError):
            then(False, _PATIENCE)  # nobody knows how long it took, and it may fail again and again
        elif found.reading.error:
            then(False, found.took)
        elif found.reading.judged is None:  # a pass was faster
            then(True, found.took)
        elif found.reading.begun.meeting(TEREDO):  # a pass tells who is protected behind these
            then(False, found.took)
        else:
            self._drop_few(then, found)

    def _drop_few(self, then: Then, found: _Taste) -> None:
        daemon, name = self._daemon, found.reading.feed
        reflex, held = daemon.truth.now().reflex, self._held()
        begun = reflex.enforceable(found.reading.begun[:_FEW])
        if self.pending(name) - begun:  # it says these no more: both may be more than the limits
            then(False, found.took)
            return
        new = [each for each in begun if not any(covered(each, some) for some in held)]
        fresh = (each for each in new if not any(overlaps(each, some) for some in held))
        networks = Networks.of(fresh)
        if networks:
            daemon.drop(_subject(name), networks)
            self._since |= networks
        wider = len(networks) < len(new)  # a pass takes out what they hold
        undone = daemon.following.undone or not daemon.force.all_by_reflex
        if undone or wider or not found.is_little:
            then(False, found.took)
        elif found.is_nothing and not self.pending(name):
            then(True, found.took)
        else:
            late = self.pending(name)
            told = partial(self._take, then, found, late)
            daemon.writer.ask(partial(self._store, found, late), told)

    def _store(self, found: _Taste, late: Networks) -> _Stored:
        """Store it, unless a pass may have taken the feed out by now. Raise `TreasonError`."""
        if self._closed:
            raise StoreError(f"feed {found.reading.feed}: the configuration is another one by now")
        stored = _stored(self._setup, found, late)
        self._memories[found.reading.feed] = stored.memory
        return stored

    def _taste(self, feed: ConfiguredFeed) -> _Taste:
        """Return what a feed says, judged by what is remembered if nobody has written since."""
        return _tasted(self._setup, feed, self._memories.get(feed.name))

    def _held(self) -> tuple[Networks, Networks]:
        """Return what is dropped now, as far as is known: what may be much, and what came since.

        Each without what lies inside another one of it.
        """
        view = self._daemon.truth.view
        if view is not self._view:
            self._view, self._since = view, NOTHING
        since = self._since | self._daemon.unstored.all()
        return view.desired.banned if view else NOTHING, since.outermost()

    def _take(
        self, then: Then, found: _Taste, late: Networks, stored: _Stored | TreasonError
    ) -> None:
        if self._closed:
            return
        if isinstance(stored, TreasonError):  # mostly as a pass is running
            then(False, found.took)
            return
        daemon = self._daemon
        self._forget(found.reading.feed, late, stored.vain)
        daemon.truth.wrote(stored.before, stored.after)
        if stored.ends is not None:
            daemon.following.ends_in(stored.ends)
        then(True, found.took + stored.took)


def _subject(name: str) -> str:
    """Return what stands for a feed among the sources."""
    return f"feed {name}"


def _tasted(setup: Setup, feed: ConfiguredFeed, memory: _Memory | None) -> _Taste:
    """Read a feed's file, and judge it as a pass does; store nothing. Raise `TreasonError`."""
    begun, seen, database = time.monotonic(), clock.look(), setup.config.treason.database
    if memory and not is_being_written(database) and mark(database) == memory.mark:
        return _judged(feed, memory, seen, begun)
    with access.opened(setup, write=False, backends={}, create=False, past_locks=True) as store:
        told = store.clock.believe(seen)
        known = store.feeds.states().get(feed.name, FeedState(feed.name))
        held = store.feeds.groups(feed.name, told.now).get(feed.name, [])
    return _judged(feed, _Memory(None, told, seen, known, held), seen, begun)


def _judged(feed: ConfiguredFeed, memory: _Memory, seen: Look, begun: float) -> _Taste:
    """Judge what the file says by what is held of it. Raise `TreasonError`."""
    told = memory.told if seen == memory.seen else clock.believed(clock.mark_of(memory.seen), seen)
    if told.doubt:
        raise StoreError(f"the clock is in doubt: {told.doubt}")
    held = [each for each in memory.held if each.until is None or each.until > told.now]
    quickly = partial(read, timeout=_PATIENCE, largest=_LARGEST)
    try:
        reading = Looker(told.now, read=quickly).look(feed, memory.state, lambda: held)
    except FeedUnreadable as error:
        reading = FeedReading(feed.name, error=str(error))
    took = time.monotonic() - begun
    return _Taste(memory.state, reading, told.now, took, told=told, seen=seen, held=held)


def _stored(setup: Setup, found: _Taste, late: Networks) -> _Stored:
    """Store what was judged, unless anybody has taken the feed meanwhile; settle what is ``late``.

    Raise `TreasonError`.
    """
    begun, name = time.monotonic(), found.reading.feed
    state, judged = found.reading.state, found.reading.judged
    with _opened(setup) as store:
        before, version = mark(store.path), store.changes.version
        known = store.feeds.states().get(name, FeedState(name))
        if known != found.known or state is None or judged is None or store.integrity.unreadable():
            raise StoreError(f"feed {name}: it was taken by somebody else meanwhile")
        with store.transaction():
            store.feeds.take(state, judged.groups, found.now)
            vain = store.feeds.settle(name, late, found.now)
        after = mark(store.path) if store.changes.version == version else None
        ends = seconds_left(store, found.now)
        now_held = store.feeds.groups(name, found.now).get(name, [])
    memory = _Memory(after, found.told, found.seen, state, now_held) if after else None
    took = time.monotonic() - begun
    return _Stored(before, after, vain, ends, took=took, memory=memory)


def _settled(setup: Setup, name: str, networks: Networks) -> Networks:
    """Return which of these nothing holds that is stored. Raise `TreasonError`."""
    with _opened(setup) as store:
        return store.feeds.settle(name, networks, access.told(store).now)


@contextmanager
def _opened(setup: Setup) -> Iterator[Store]:
    """Open the database where no pass is under way, and it can be written. Raise `TreasonError`."""
    main = setup.config.treason
    with (
        lock.held(main.lock, 0.0, main.database.parent, inherited=False),
        access.opened_to_enforce(setup, {}, create=False) as store,
    ):
        if store.unwritten:
            raise store.unwritten
        yield store
