"""What a feed promises that is more than a feed, as cases for pytest."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, ClassVar, Protocol

import pytest

from reconciler.errors import FeedUnreadable
from reconciler.feeding import (
    EpochFeed,
    FeedBan,
    FeedLift,
    NotingFeed,
    PublishingFeed,
)
from reconciler.feeds.format import EPOCH
from reconciler.network import Network
from reconciler.testing.feed import FIRST, SECOND, THIRD, FeedContract, Speaker, Taking, parsed


class EpochSpeaker(Speaker, Protocol):
    """Whom a feed with an epoch listens to, for a test."""

    def feed(self) -> EpochFeed:
        """Make a feed that listens to it."""


class EpochFeedContract(FeedContract):
    """For a feed with `epoch`: subclass it instead of `FeedContract`, with the same fixture.

    A case that needs something more is skipped, and says what it needs, until the subclass gives
    it:

    ``another()``
        lets another one, or an older copy, take the speaker's place.
    """

    @pytest.fixture
    def speaker(self) -> EpochSpeaker:
        """Somebody who can be let say something, and listened to by the feed."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'speaker'")

    def another(self) -> None:
        """Let another one take the speaker's place."""
        pytest.skip("give another()")

    def test_epoch(self, speaker: EpochSpeaker) -> None:
        """It is a text that stays the same, whatever is said, and for every object."""
        feed = speaker.feed()
        taking = Taking(feed)
        epochs = []
        for networks in ([FIRST], [FIRST, SECOND], [FIRST, SECOND]):
            speaker.says(*networks)
            taking.once()
            epochs += [feed.epoch(), _epoch(speaker)]
        assert {*map(type, epochs)} == {str}
        assert len({*epochs}) == 1
        assert epochs[0]
        assert epochs[0].isprintable()
        assert len(epochs[0]) <= EPOCH

    def test_epoch_of_another(self, speaker: EpochSpeaker) -> None:
        """Another one is told from it, or cannot be read; also by an object that goes on."""
        speaker.says(FIRST)
        feed = speaker.feed()
        taking = Taking(feed)
        taking.once()
        epoch = feed.epoch()
        self.another()
        with suppress(FeedUnreadable):
            taking.once()
            assert feed.epoch() != epoch
        with suppress(FeedUnreadable):
            assert _epoch(speaker) != epoch


def _epoch(speaker: EpochSpeaker) -> str:
    feed = speaker.feed()
    Taking(feed).once()
    return feed.epoch()


class NotingSpeaker(Speaker, Protocol):
    """Whom a feed with notes listens to, for a test."""

    def feed(self) -> NotingFeed:
        """Make a feed that listens to it."""


class NotingFeedContract(FeedContract):
    """For a feed with `notes`: subclass it instead of `FeedContract`, with the same fixture.

    A case that needs something more is skipped, and says what it needs, until the subclass gives
    it:

    ``odd()``
        lets the speaker say, besides, something that means nothing.
    """

    @pytest.fixture
    def speaker(self) -> NotingSpeaker:
        """Somebody who can be let say something, and listened to by the feed."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'speaker'")

    def odd(self) -> None:
        """Let the speaker say something that means nothing, besides what it says."""
        pytest.skip("give odd()")

    def test_notes(self, speaker: NotingSpeaker) -> None:
        """What means nothing is noted, and all else is brought."""
        speaker.says(FIRST, SECOND)
        self.odd()
        feed = speaker.feed()
        taking = Taking(feed)
        taking.once()
        assert taking.said == parsed([FIRST, SECOND])
        assert [*feed.notes()]

    def test_notes_are_lines(self, speaker: NotingSpeaker) -> None:
        """Each is a line for people, without control characters."""
        speaker.says(FIRST)
        with suppress(pytest.skip.Exception):
            self.odd()
        feed = speaker.feed()
        Taking(feed).once()
        notes = feed.notes()
        assert not isinstance(notes, str), "give lines, not one text"
        assert all(note and note.isprintable() for note in notes)

    def test_notes_are_of_the_last_look(self, speaker: NotingSpeaker) -> None:
        """They do not pile up."""
        speaker.says(FIRST)
        self.odd()
        feed = speaker.feed()
        noted = []
        for _ in range(2):
            [*feed.changes(None)]
            noted.append([*feed.notes()])
        assert noted[0] == noted[1]


class PublishingSpeaker(Speaker, Protocol):
    """Whom a feed listens to that also tells, for a test."""

    def feed(self) -> PublishingFeed:
        """Make a feed that listens to it, and tells it what this machine bans."""

    def heard(self) -> Collection[str]:
        """Return the networks of which this machine says by now that they are banned."""


class PublishingFeedContract(FeedContract):
    """For a feed with `publish`: subclass it instead of `FeedContract`.

    The fixture has `PublishingSpeaker.heard` besides. ``refusals`` are names of the ways in which
    nobody can be told, and functions that return context managers, as ``faults``.
    """

    refusals: ClassVar[Mapping[str, Callable[[Any], AbstractContextManager[object]]]] = {}

    @pytest.fixture
    def speaker(self) -> PublishingSpeaker:
        """Somebody who can be told something."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'speaker'")

    def test_publish(self, speaker: PublishingSpeaker) -> None:
        """Bans are heard of, and their ends: from every object."""
        speaker.feed().publish([FeedBan(parsed([FIRST, SECOND]), 3600, reason="probes")])
        assert heard(speaker) == sorted(parsed([FIRST, SECOND]))
        feed = speaker.feed()
        feed.publish([FeedBan(parsed([THIRD]))])
        assert heard(speaker) == sorted(parsed([FIRST, SECOND, THIRD]))
        feed.publish([FeedLift(parsed([FIRST]))])
        assert heard(speaker) == sorted(parsed([SECOND, THIRD]))

    def test_publish_in_order(self, speaker: PublishingSpeaker) -> None:
        """What is told last counts."""
        first, second = FeedBan(parsed([FIRST])), FeedBan(parsed([SECOND]))
        lift = FeedLift(parsed([FIRST]))
        speaker.feed().publish([first, lift, second, first, lift])
        assert heard(speaker) == sorted(parsed([SECOND]))

    def test_publish_again(self, speaker: PublishingSpeaker) -> None:
        """The same changes again change nothing."""
        for change, left in (
            (FeedBan(parsed([FIRST, SECOND])), [FIRST, SECOND]),
            (FeedLift(parsed([FIRST])), [SECOND]),
        ):
            for _ in range(2):
                speaker.feed().publish([change])
                assert heard(speaker) == sorted(parsed(left))

    def test_publish_refused(self, refusal: str, speaker: PublishingSpeaker) -> None:
        """Where nobody can be told, that is an error; told again afterwards, it is heard."""
        feed, changes = speaker.feed(), [FeedBan(parsed([FIRST]))]
        with self.refusals[refusal](self), pytest.raises(FeedUnreadable):
            feed.publish(changes)
        feed.publish(changes)
        assert heard(speaker) == sorted(parsed([FIRST]))


def heard(speaker: PublishingSpeaker) -> list[Network]:
    """Return what is heard of this machine, each as often as it is."""
    return sorted(map(Network.parse, speaker.heard()))
