"""What a feed promises that can be waited for, as cases for pytest."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Protocol

import pytest

from reconciler.errors import FeedUnreadable
from reconciler.feeding import WakingFeed
from reconciler.testing.feed import FIRST, SECOND, THIRD, FeedContract, Speaker, Taking, parsed

_SETTLED = 20


class WakingSpeaker(Speaker, Protocol):
    """Whom a feed listens to that can be waited for, for a test."""

    def feed(self) -> WakingFeed:
        """Make a feed that listens to it."""


class WakingFeedContract(FeedContract):
    """For a feed with `fileno`: subclass it instead of `FeedContract`, with the same fixture.

    ``patience`` is also how many seconds may pass until what is said wakes.
    """

    @pytest.fixture
    def speaker(self) -> WakingSpeaker:
        """Somebody who can be let say something, and waited for by the feed."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'speaker'")

    @pytest.fixture
    def waiting(self, speaker: WakingSpeaker) -> Iterator[WakingFeed]:
        """A feed that has brought all there is, and waits."""
        speaker.says(FIRST)
        feed = speaker.feed()
        feed.fileno()
        yield feed
        feed.close()

    def test_wakes(self, speaker: WakingSpeaker, waiting: WakingFeed) -> None:
        """What is said wakes, and is brought; before and after that it does not."""
        taking = self._settled(waiting)
        for networks in ([FIRST, SECOND], [SECOND], [FIRST, THIRD]):
            speaker.says(*networks)
            self._woken(waiting, taking, networks)
            self._settle(waiting, taking)

    def test_wakes_for_what_comes_meanwhile(
        self, speaker: WakingSpeaker, waiting: WakingFeed
    ) -> None:
        """What is said while it is read is brought as well, or wakes."""
        taking = self._settled(waiting)
        speaker.says(FIRST, SECOND)
        assert self._wait(waiting)
        changes = waiting.changes(taking.cursor)
        begun = [*islice(changes, 1)]
        speaker.says(FIRST, SECOND, THIRD)
        taking.take(chain(begun, changes))
        self._woken(waiting, taking, [FIRST, SECOND, THIRD])

    def test_descriptor(self, speaker: WakingSpeaker, waiting: WakingFeed) -> None:
        """It stays the same, no other program inherits it, and it is given back."""
        taking = self._settled(waiting)
        descriptor = waiting.fileno()
        assert not os.get_inheritable(descriptor)
        speaker.says(FIRST, SECOND)
        self._woken(waiting, taking, [FIRST, SECOND])
        assert waiting.fileno() == descriptor
        waiting.close()
        waiting.close()
        before = _descriptors()
        again = speaker.feed()
        again.fileno()
        Taking(again).once()
        again.close()
        assert _descriptors() == before

    def test_closed(self, speaker: WakingSpeaker, waiting: WakingFeed) -> None:
        """It can still be read, and be waited for again."""
        taking = self._settled(waiting)
        waiting.close()
        speaker.says(FIRST, SECOND)
        taking.once()
        assert taking.said == parsed([FIRST, SECOND])
        waiting.fileno()
        self._settle(waiting, taking)
        speaker.says(FIRST, SECOND, THIRD)
        self._woken(waiting, taking, [FIRST, SECOND, THIRD])

    def test_unreadable_does_not_wake_without_end(
        self, fault: str, speaker: WakingSpeaker, waiting: WakingFeed
    ) -> None:
        """Where it cannot be read, there is no use in asking again and again."""
        taking = self._settled(waiting)
        with self.faults[fault](self):
            with suppress(FeedUnreadable):
                taking.once()
            self._settle(waiting, taking)
        speaker.says(FIRST, SECOND)
        self._woken(waiting, taking, [FIRST, SECOND])

    def _settled(self, feed: WakingFeed) -> Taking:
        taking = Taking(feed)
        taking.once()
        self._settle(feed, taking)
        return taking

    def _wait(self, feed: WakingFeed) -> bool:
        """Wait until it wakes; return whether it did."""
        poll = select.poll()
        poll.register(feed.fileno(), select.POLLIN)
        return bool(poll.poll(self.patience * 1000))

    def _woken(self, feed: WakingFeed, taking: Taking, networks: list[str]) -> None:
        """Look whenever it wakes, until this is what is said."""
        deadline = time.monotonic() + self.patience
        while taking.said != parsed(networks) and time.monotonic() < deadline:
            assert self._wait(feed), f"what is said does not wake in {self.patience:g} s"
            with suppress(FeedUnreadable):
                taking.once()
        assert taking.said == parsed(networks)

    def _settle(self, feed: WakingFeed, taking: Taking) -> None:
        """Look until it wakes no more."""
        poll = select.poll()
        poll.register(feed.fileno(), select.POLLIN)
        for _ in range(_SETTLED):
            if not poll.poll(0):
                return
            with suppress(FeedUnreadable):
                taking.once()
        raise AssertionError("it wakes again and again, and nothing comes")


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are what is compared
