"""What a feed brings, whatever its plugin does: all of it, or one text that names the feed."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from feedfiles import nets, singles
from sabotagedfeeds import BEGIN, END, Epochal, Noting, Scripted, endless, fails, unchecked

from reconciler import FeedBan, FeedChange, FeedLift, FeedUnreadable, Networks, SourceUnreadable
from reconciler.feeds.collecting import Batch, Tame

BAN = FeedBan(nets("192.0.2.1"), 60, "m", "because")


def collect(feed: Any, most: int = 10, seconds: float = 30) -> Batch:
    """Collect what it brings."""
    return Tame(feed, "fleet", most, seconds).collect("before")


def test_all_that_comes_is_collected() -> None:
    """The changes, then the cursor and the epoch; the plugin is asked from the cursor on."""
    feed = Epochal(BEGIN, BAN, END, FeedLift(nets("192.0.2.1")))
    batch = collect(feed)
    assert batch.changes == (BEGIN, BAN, END, FeedLift(nets("192.0.2.1")))
    assert (batch.cursor, batch.epoch, feed.asked) == ("after", "one", ["before"])


def test_texts_are_made_harmless() -> None:
    """A reason is cut, notes are not taken without end."""
    batch = collect(Noting(FeedBan(nets("192.0.2.1"), None, "m", "a\x1b" + "b" * 300)))
    [ban] = batch.changes
    assert isinstance(ban, FeedBan)
    assert ban.reason == "a?" + "b" * 198
    assert len(batch.notes) == 1000
    assert batch.notes[0] == "note? 0"


class Interrupted(BaseException):
    """What no ``except Exception`` catches."""


class Unspeakable(Exception):
    """An exception whose text cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        (Scripted("192.0.2.1"), "the plugin is wrong: it brings str"),
        (Scripted(None), "the plugin is wrong: it brings NoneType"),
        (Scripted(BEGIN, BAN), "its snapshot has no end"),
        (Scripted(BEGIN, BEGIN, END), "begins inside another"),
        (Scripted(END), "ends without beginning"),
        (Scripted(BEGIN, FeedLift(nets("192.0.2.1")), END), "no change here"),
        (Scripted(unchecked(networks=["192.0.2.1"])), "something else than networks"),
        (Scripted(unchecked(networks=Networks(b"12345678"))), "something else than networks"),
        (Scripted(unchecked(seconds=-5)), "not a whole number"),
        (Scripted(unchecked(seconds=2.5)), "not a whole number"),
        (Scripted(unchecked(seconds=True)), "not a whole number"),
        (Scripted(unchecked(member=7)), "a member's name"),
        (Scripted(unchecked(member="m" * 65)), "a member's name"),
        (Scripted(unchecked(member="m\n")), "a member's name"),
        (Scripted(unchecked(member="m\udc80")), "a member's name"),
        (Scripted(unchecked(reason=b"why")), "a reason is not a text"),
        (Scripted(cursor=7), "its cursor"),
        (Scripted(cursor="\udc80"), "its cursor"),
        (Scripted(cursor="c" * 100_000), "its cursor"),
        (Scripted(cursor=fails(KeyError("x"))), "the plugin failed: KeyError"),
        (Scripted(fails(ValueError("no\nway"))), "the plugin failed: ValueError: no way"),
        (Scripted(fails(Interrupted())), "the plugin failed: Interrupted"),
        (Scripted(fails(Unspeakable())), "the plugin failed: Unspeakable"),
        (Scripted(fails(StopIteration())), "the plugin failed: RuntimeError"),
        (Scripted(fails(MemoryError())), "the plugin failed: MemoryError"),
        (Scripted(fails(FeedUnreadable("it is gone"))), "feed fleet: it is gone"),
        (Scripted(fails(SourceUnreadable("so", "do"))), "feed fleet: so\n  do"),
        (Scripted(FeedBan(singles(11))), "more than 10 networks"),
        (Scripted(*[FeedBan(singles(1))] * 11), "more than 10 networks"),
        (object(), "the plugin failed: AttributeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plugin_that_misbehaves_is_named(feed: Any, said: str) -> None:
    """In one line, or with what it says is to be done; nothing of it is taken."""
    with pytest.raises(FeedUnreadable) as raised:
        collect(feed)
    assert said in str(raised.value)
    assert str(raised.value).startswith("feed fleet: ")
    assert "\n" not in raised.value.what


def test_an_epoch_is_a_short_text() -> None:
    """It is compared, and shown."""
    for epoch in (7, "e" * 201, "\x1b", "\udc80"):
        feed = Epochal(BAN)
        feed.said_epoch = epoch
        with pytest.raises(FeedUnreadable, match="its epoch"):
            collect(feed)


def test_a_feed_without_end_comes_to_one() -> None:
    """By the number of its changes, and by the time."""

    class Endless(Scripted):
        """Yields nothing that counts, for ever."""

        def changes(self, _cursor: str | None) -> Iterator[FeedChange]:
            return endless()

    with pytest.raises(FeedUnreadable, match="more than 10 networks"):
        collect(Endless())

    def wait() -> FeedChange:
        time.sleep(600)
        return BAN

    with pytest.raises(FeedUnreadable, match=r"was not done within 0\.1 s"):
        collect(Scripted(wait), seconds=0.1)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_program_ends_it(error: BaseException) -> None:
    """It is no failure of the feed's, and who did it is noted."""
    with pytest.raises(type(error)) as raised:
        collect(Scripted(fails(error)))
    assert raised.value.__notes__ == ["feed fleet"]
