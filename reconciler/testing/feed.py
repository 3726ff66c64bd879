"""What every feed promises, as cases for pytest."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from types import NoneType
from typing import Any, ClassVar, Protocol

import pytest
from attrs import define

from reconciler.errors import FeedUnreadable
from reconciler.feeding import (
    EpochFeed,
    Feed,
    FeedBan,
    FeedChange,
    FeedLift,
    FeedSnapshot,
    NotingFeed,
    PublishingFeed,
    WakingFeed,
)
from reconciler.feeds.format import CURSOR, MEMBER
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.testing.steps import Cases

FIRST, SECOND, THIRD = "192.0.2.7", "203.0.113.0/24", "2001:db8::/32"
_STALE = frozenset({("", Network.parse("198.51.100.1"))})
_KINDS: Mapping[type, str] = {
    EpochFeed: "test_epoch",
    NotingFeed: "test_notes",
    PublishingFeed: "test_publish",
    WakingFeed: "test_wakes",
}


class Speaker(Protocol):
    """Whom a feed listens to, for a test."""

    def says(self, *networks: str) -> None:
        """Let it say from now on that these are to be dropped, and no others."""

    def feed(self) -> Feed:
        """Make a feed that listens to it, as each process does anew."""


@define
class Taking:
    """What treason does with a feed: each time it goes on from the cursor, and keeps the result."""

    feed: Feed
    cursor: str | None = None
    held: frozenset[tuple[str, Network]] = frozenset()

    @property
    def said(self) -> set[Network]:
        """What is to be dropped by now, whoever says it."""
        return {network for _, network in self.held}

    def once(self) -> list[FeedChange]:
        """Take what came."""
        return self.take(self.feed.changes(self.cursor))

    def take(self, read: Iterable[FeedChange]) -> list[FeedChange]:
        """Take what the feed yields."""
        changes = [*read]
        self.cursor = self.feed.cursor()
        held = {*self.held}
        for change in changes:
            if change is FeedSnapshot.BEGIN:
                held.clear()
            elif isinstance(change, FeedBan):
                held |= {(change.member, network) for network in change.networks}
            elif isinstance(change, FeedLift):
                held -= {(change.member, network) for network in change.networks}
        self.held = frozenset(held)
        return changes


class FeedContract(Cases):
    """Subclass it, and give a fixture ``speaker``: a `Speaker` that says nothing yet.

    ``faults`` are names of the ways in which it cannot be read, and functions that return context
    managers, each called with the test's instance: inside, that is so.

    ``many`` networks at once must be taken. ``spellings`` are other ways in which the speaker may
    write a network, to the one that is meant; leave it empty if it writes but one way. ``patience``
    is how many seconds `changes` may take. A feed that is more promises more: `EpochFeedContract`,
    `NotingFeedContract`, `PublishingFeedContract` and `WakingFeedContract` have these cases and
    their own.
    """

    faults: ClassVar[Mapping[str, Callable[[Any], AbstractContextManager[object]]]] = {}
    many: ClassVar[int] = 10_000
    spellings: ClassVar[Mapping[str, str]] = {
        "::ffff:192.0.2.7": "192.0.2.7",
        "2001:DB8:0::7": "2001:db8::7",
    }
    patience: ClassVar[float] = 10.0

    @pytest.fixture
    def speaker(self) -> Speaker:
        """Somebody who can be let say something, and listened to by the feed."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'speaker'")

    def test_brings(self, speaker: Speaker) -> None:
        """What is said is brought: addresses and networks of both families."""
        networks = [FIRST, SECOND, THIRD, "2001:db8:1::7", "198.51.100.4/30"]
        speaker.says(*networks)
        assert _taken(speaker).said == parsed(networks)

    def test_values(self, speaker: Speaker) -> None:
        """All that is yielded is a change; networks are canonical, and packed in their order."""
        speaker.says(FIRST, SECOND, THIRD)
        taking = Taking(speaker.feed())
        changes = taking.once()
        speaker.says(FIRST, "192.0.2.9")
        for change in [*changes, *taking.once()]:
            assert isinstance(change, FeedChange), f"{change!r} is not a FeedChange"
            if isinstance(change, FeedSnapshot):
                continue
            assert change.networks == Networks.of([*change.networks]), "they do not ascend"
            assert all(Network.parse(str(each)) == each for each in change.networks)
            assert type(change.member) is str
            assert change.member.isprintable()
            assert len(change.member) <= MEMBER
            if isinstance(change, FeedBan):
                assert type(change.reason) is str
                assert type(change.seconds) in (int, NoneType)

    def test_spellings(self, speaker: Speaker) -> None:
        """However a network is written, the canonical one is brought."""
        if not self.spellings:
            pytest.skip("this speaker writes a network in one way")
        speaker.says(*self.spellings)
        assert _taken(speaker).said == parsed(self.spellings.values())

    def test_snapshot(self, speaker: Speaker) -> None:
        """What is begun is ended, one after the other, and nothing but bans is between."""
        speaker.says(FIRST, SECOND)
        taking = Taking(speaker.feed())
        changes = taking.once()
        speaker.says(SECOND, THIRD)
        for read in (changes, taking.once()):
            inside = False
            for change in read:
                if isinstance(change, FeedSnapshot):
                    assert (change is FeedSnapshot.END) == inside, f"{change} is out of place"
                    inside = not inside
                assert not (inside and isinstance(change, FeedLift)), "a FeedLift inside a snapshot"
            assert not inside, "a snapshot is begun, and not ended"

    def test_adds(self, speaker: Speaker) -> None:
        """What is said besides is brought by the next look."""
        speaker.says(FIRST)
        taking = _taken(speaker)
        speaker.says(FIRST, SECOND, THIRD)
        taking.once()
        assert taking.said == parsed([FIRST, SECOND, THIRD])

    def test_lifts(self, speaker: Speaker) -> None:
        """What is said no more is lifted by the next look: singly, or as a snapshot leaves it out.

        Where networks lie in one another, just that one.
        """
        speaker.says(FIRST, "192.0.2.0/24", THIRD)
        taking = _taken(speaker)
        speaker.says(FIRST, THIRD)
        taking.once()
        assert taking.said == parsed([FIRST, THIRD])

    def test_in_order(self, speaker: Speaker) -> None:
        """What is said last counts, however often it was said otherwise since the last look."""
        speaker.says(FIRST, SECOND)
        taking = _taken(speaker)
        for networks in ([SECOND], [FIRST, SECOND], [SECOND]):
            speaker.says(*networks)
        taking.once()
        assert taking.said == parsed([SECOND])

    def test_nobody(self, speaker: Speaker) -> None:
        """That nobody is to be dropped any more is brought, or not believed; it is not missed."""
        speaker.says(FIRST, SECOND)
        taking = _taken(speaker)
        speaker.says()
        with suppress(FeedUnreadable):
            taking.once()
            assert taking.said == set()

    def test_nothing_new(self, speaker: Speaker) -> None:
        """Where nothing came nothing is yielded, and the cursor still holds; or all, as it was."""
        speaker.says(FIRST, SECOND)
        taking = _taken(speaker)
        for _ in range(2):
            had = taking.cursor is not None
            changes = taking.once()
            assert not (had and changes), "what was told already is told again"
            assert not (had and taking.cursor is None), "the cursor is lost where nothing came"
            assert taking.said == parsed([FIRST, SECOND])

    def test_cursor(self, speaker: Speaker) -> None:
        """It is a text that is not too long, or None."""
        speaker.says(FIRST)
        cursor = _taken(speaker).cursor
        assert type(cursor) in (str, NoneType)
        assert len(cursor or "") <= CURSOR

    def test_cursor_again(self, speaker: Speaker) -> None:
        """The same cursor brings the same: what could not be stored comes again."""
        speaker.says(FIRST)
        before = _taken(speaker)
        speaker.says(FIRST, SECOND)
        for _ in range(2):
            again = Taking(before.feed, before.cursor, before.held)
            again.once()
            assert again.said == parsed([FIRST, SECOND])

    def test_broken_off(self, speaker: Speaker) -> None:
        """What is not read to its end comes again."""
        speaker.says(FIRST)
        taking = _taken(speaker)
        speaker.says(FIRST, SECOND)
        changes = taking.feed.changes(taking.cursor)
        next(changes)
        del changes
        taking.once()
        assert taking.said == parsed([FIRST, SECOND])

    def test_goes_on(self, speaker: Speaker) -> None:
        """A new object goes on from the cursor of an earlier one."""
        speaker.says(FIRST)
        before = _taken(speaker)
        speaker.says(FIRST, SECOND)
        taking = Taking(speaker.feed(), before.cursor, before.held)
        taking.once()
        assert taking.said == parsed([FIRST, SECOND])

    def test_all_there_is(self, speaker: Speaker) -> None:
        """Without a cursor all is brought that is said now, and nothing else is left."""
        speaker.says(FIRST, SECOND)
        _taken(speaker)
        speaker.says(SECOND, THIRD)
        taking = Taking(speaker.feed(), None, _STALE)
        taking.once()
        assert taking.said == parsed([SECOND, THIRD])

    def test_cursor_of_another(self, speaker: Speaker) -> None:
        """A cursor that means nothing is refused, or is as none."""
        speaker.says(FIRST, SECOND)
        taking = Taking(speaker.feed(), "\x00 no such cursor ☃", _STALE)
        with suppress(FeedUnreadable):
            taking.once()
            assert taking.said == parsed([FIRST, SECOND])

    def test_many(self, speaker: Speaker) -> None:
        """Ten thousand networks at once are brought, each of them."""
        networks = [f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(self.many)]
        speaker.says(*networks)
        assert _taken(speaker).said == parsed(networks)

    def test_does_not_wait(self, speaker: Speaker) -> None:
        """It ends where there is no more for now."""
        speaker.says(FIRST)
        start = time.monotonic()
        _taken(speaker).once()
        assert time.monotonic() - start < self.patience

    def test_unreadable(self, fault: str, speaker: Speaker) -> None:
        """What cannot be read is an error, and never a snapshot of nobody, nor nothing new."""
        speaker.says(FIRST, SECOND)
        taking = _taken(speaker)
        with self.faults[fault](self):
            for cursor in (taking.cursor, None):
                for anew in (False, True):
                    with pytest.raises(FeedUnreadable) as caught:
                        [*(speaker.feed() if anew else taking.feed).changes(cursor)]
                    assert caught.value.what.isprintable()
                    assert caught.value.what

    def test_readable_again(self, fault: str, speaker: Speaker) -> None:
        """After that it goes on as if nothing had been."""
        speaker.says(FIRST)
        taking = _taken(speaker)
        with self.faults[fault](self), suppress(FeedUnreadable):
            [*taking.feed.changes(taking.cursor)]
        speaker.says(FIRST, SECOND)
        taking.once()
        assert taking.said == parsed([FIRST, SECOND])

    def test_kinds(self, speaker: Speaker) -> None:
        """A feed that is more than a feed is held to what that promises."""
        feed = speaker.feed()
        for kind, case in _KINDS.items():
            assert isinstance(feed, kind) == hasattr(self, case), (
                f"subclass {kind.__name__}Contract for a {kind.__name__}, and only for such"
            )


def parsed(networks: Iterable[str]) -> set[Network]:
    """Return the networks that texts stand for."""
    return {*map(Network.parse, networks)}


def _taken(speaker: Speaker) -> Taking:
    """Take all there is."""
    taking = Taking(speaker.feed())
    taking.once()
    return taking
