"""The engine: what a feed brings is put into its own file, and what treason bans is told by it."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from feedfiles import nets, singles
from sabotagedfeeds import BEGIN, END, Epochal, Noting, Scripted, fails

from reconciler import FeedBan, FeedChange, FeedLift, FeedUnreadable, Network, Networks
from reconciler.feeds import engine, following, outbox, reading
from reconciler.feeds.collecting import Tame
from reconciler.feeds.engine import Engine, Refreshed
from reconciler.feeds.format import Contents
from reconciler.feeds.limits import Judged, Limits, judge
from reconciler.feeds.outbox import Told
from reconciler.feeds.token import token
from reconciler.feeds.writing import FeedFile, alone

NOW = 1_700_000_000
LIMITS = Limits(max_entries=1000)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A feed's file that this process alone writes."""
    path = tmp_path / "fleet" / "feed.db"
    with alone(path):
        yield path


def made(feed: Any, path: Path, **values: Any) -> Engine:
    """Return an engine as a new process has it."""
    tame = Tame(feed, "fleet", LIMITS.max_entries, 30)
    return Engine(tame, FeedFile(path, LIMITS), LIMITS, clock=lambda: NOW, **values)


def refresh(feed: Any, path: Path) -> Refreshed:
    """Refresh it in a new process."""
    return made(feed, path).refresh()


def held(path: Path) -> Networks:
    """Return what a pass reads."""
    return Networks.union(group.networks for group in reading.read(path, LIMITS).groups)


def test_a_list_is_written_and_what_changed_is_told(path: Path) -> None:
    """From one process to the next, with the cursor of the one before."""
    feed = Scripted(BEGIN, FeedBan(singles(20)), END)
    first = refresh(feed, path)
    assert first.judged is not None
    assert (first.held, first.judged.added, first.doubt) == (20, singles(20), "")
    feed.said = [BEGIN, FeedBan(singles(20, 0x01000005)), END]
    second = refresh(feed, path)
    assert second.judged is not None
    assert second.judged.added == singles(5, 0x01000000 + 20)
    assert second.judged.lifted == singles(5)
    assert held(path) == singles(20, 0x01000005)
    assert feed.asked == [None, "after"]


def test_what_a_pass_would_not_take_is_told(path: Path) -> None:
    """What is cut and refused, and that too much is missing; it is written all the same."""
    feed = Noting(BEGIN, FeedBan(singles(20) | nets("10.0.0.1", "0.0.0.0/1")), END)
    first = refresh(feed, path)
    assert first.judged is not None
    assert first.judged.cut == nets("10.0.0.1")
    assert [networks for _, networks in first.judged.refused] == [nets("0.0.0.0/1")]
    assert first.notes[0] == "note? 0"
    feed.said = [BEGIN, FeedBan(singles(2)), END]
    second = refresh(feed, path)
    assert "18 of 20 networks are missing" in second.doubt
    assert held(path) == singles(2)


def test_of_much_what_changed_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where very much is held, what a member changes is told by what that member said before."""
    monkeypatch.setattr(engine, "_MUCH", 10)
    feed = Scripted(BEGIN, FeedBan(singles(20), member="a"), FeedBan(singles(20), member="b"), END)
    refresh(feed, path)
    said: list[set[str]] = []

    def recorded(contents: Contents, *rest: Any, **how: Any) -> Judged:
        said.append({group.member for group in contents.groups})
        return judge(contents, *rest, **how)

    monkeypatch.setattr(engine, "judge", recorded)
    feed.said = [FeedBan(singles(1, 0x02000000), member="a"), FeedLift(singles(2), member="a")]
    result = refresh(feed, path)
    assert result.judged is not None
    assert (result.held, result.judged.added) == (39, singles(1, 0x02000000))
    assert result.judged.lifted == singles(2)
    assert said == [{"a"}, {"a"}]


def test_another_epoch_is_told(path: Path) -> None:
    """The file has it; whether it is believed is decided elsewhere."""
    feed = Epochal(FeedBan(singles(2)))
    assert refresh(feed, path).doubt == ""
    feed.said_epoch = "two"
    assert "its epoch has changed" in refresh(feed, path).doubt
    assert reading.read(path, LIMITS).epoch == "two"


def test_what_fails_changes_nothing(path: Path) -> None:
    """The file is the same file, and the next process begins where this one did."""
    feed = Scripted(FeedBan(singles(20)))
    refresh(feed, path)
    before = token(path)
    for wrong in ([fails(ValueError("x"))], [BEGIN], ["x"], [FeedBan(singles(990, 0x02000000))]):
        with pytest.raises(FeedUnreadable, match="feed fleet: "):
            refresh(Scripted(*wrong), path)
    assert token(path) == before
    assert Scripted().asked == []


def test_an_unchanged_list_is_not_written(path: Path) -> None:
    """But the directory tells when it was refreshed."""
    feed = Scripted(BEGIN, FeedBan(singles(20)), END)
    refresh(feed, path)
    before = token(path)
    os.utime(path.parent, (1, 1))
    again = refresh(feed, path)
    assert not again.is_news
    assert token(path) == before
    assert path.parent.stat().st_mtime > 1


def test_what_could_not_be_written_is_no_refresh(path: Path) -> None:
    """SQLite's journal has touched the directory, but its times tell of the one before."""
    refresh(Scripted(FeedBan(singles(20))), path)
    os.utime(path.parent, (1, 1))
    full = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, full[1]))
    try:
        with pytest.raises(FeedUnreadable, match="cannot write what the feed says"):
            refresh(
                Scripted(FeedBan(singles(900, 0x02000000)), FeedBan(singles(70), member="m")), path
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, full)
    assert path.parent.stat().st_mtime == 1


def test_a_damaged_file_is_made_anew_from_the_beginning(path: Path) -> None:
    """The feed is asked for all there is."""
    path.write_text("what is this?" * 100)
    feed = Scripted(FeedBan(singles(20)))
    result = refresh(feed, path)
    assert "feed.db" in result.damage
    assert feed.asked == [None]
    assert held(path) == singles(20)


class Telling(Scripted):
    """A feed that also tells others."""

    def __init__(self, *changes: Any) -> None:
        super().__init__(*changes)
        self.told: list[FeedChange] = []
        self.broken = False

    def publish(self, changes: Sequence[FeedChange]) -> None:
        """Remember them."""
        if self.broken:
            raise OSError(7, "nobody listens")
        self.told += changes


def test_what_treason_bans_is_told_once(path: Path, tmp_path: Path) -> None:
    """In order, what is alike together, with the seconds that are left; ended bans are none."""
    box = tmp_path / "outbox" / "fleet.db"
    one, two, three = nets("192.0.2.1", "192.0.2.2", "2001:db8::1")
    rows = [
        *(Told(each, until=NOW + 60, reason="r") for each in (one, two)),
        Told(three, until=NOW - 1),
        Told(one, banned=False),
        Told(three),
    ]
    outbox.write(box, rows, NOW)
    feed = Telling()
    running = made(feed, path, outbox=box)
    feed.broken = True
    failed = engine.once(running)
    assert "nobody listens" in str(failed.failure)
    assert feed.told == []
    feed.broken = False
    assert engine.once(running).published == 5
    told = [FeedBan([one, two], 60, reason="r"), FeedLift([three, one]), FeedBan([three])]
    assert feed.told == told
    assert engine.once(made(feed, path, outbox=box)).published == 0
    assert feed.told == told


def test_a_short_ban_in_place_of_a_long_one_ends_it(path: Path, tmp_path: Path) -> None:
    """Also where it has ended by the time it is told, and the long one is told with it or was."""
    box = tmp_path / "outbox" / "fleet.db"
    feed = Telling()
    outbox.write(box, [Told(Network.parse("192.0.2.1"))], NOW)
    assert engine.once(made(feed, path, outbox=box)).published == 1
    networks = nets("192.0.2.1", "192.0.2.2")
    outbox.write(box, [Told(Network.parse("192.0.2.2"))], NOW - 9)
    outbox.write(box, [Told(each, until=NOW - 1) for each in networks], NOW - 5)
    assert engine.once(made(feed, path, outbox=box)).published == 3
    assert feed.told[-1] == FeedLift(networks)


class Waking(Telling):
    """A feed that wakes through a pipe."""

    def __init__(self, *changes: Any) -> None:
        super().__init__(*changes)
        self.read, self.write = os.pipe2(os.O_NONBLOCK)
        self.closed = 0

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Take what woke."""
        with suppress(BlockingIOError):
            os.read(self.read, 1000)
        yield from super().changes(cursor)

    def fileno(self) -> int:
        """Return the pipe."""
        return self.read

    def wake(self, *changes: Any) -> None:
        """Bring these."""
        self.said = [*changes]
        os.write(self.write, b"!")

    def close(self) -> None:
        """Close the pipe."""
        self.closed += 1
        os.close(self.read)
        os.close(self.write)


def test_a_feed_that_wakes_is_followed(path: Path, tmp_path: Path) -> None:
    """Each time it wakes; also once there is something to tell. At the end it is closed."""
    feed = Waking(FeedBan(singles(1)))
    box = tmp_path / "outbox" / "fleet.db"
    running = made(feed, path, outbox=box)
    with closing(following.follow(running, feed, 1e9)) as results:
        assert next(results).held == 1
        feed.wake(FeedBan(singles(2)))
        assert next(results).held == 2
        feed.said = []
        outbox.write(box, [Told(Network.parse("192.0.2.1"))], NOW)
        while not next(results).published:
            pass
    assert feed.told == [FeedBan(nets("192.0.2.1"))]
    assert feed.closed == 1


def test_a_new_process_tells_all_once_more(path: Path, tmp_path: Path) -> None:
    """Of a feed that is followed: who was told may have forgotten it, as one that lost a member."""
    box = tmp_path / "outbox" / "fleet.db"
    outbox.write(box, [Told(Network.parse("192.0.2.1"))], NOW)
    told = [FeedBan(nets("192.0.2.1"))]
    for _ in range(2):
        feed = Waking(FeedBan(singles(1)))
        running = made(feed, path, outbox=box)
        with closing(following.follow(running, feed, 1e9)) as results:
            assert next(results).published == 1
            feed.wake(FeedBan(singles(2)))
            assert next(results).held == 2
        assert feed.told == told


def test_a_feed_that_wakes_is_read_again_after_a_while(path: Path) -> None:
    """Also where it does not wake, where it cannot be waited for, and where it fails."""
    feed = Waking(FeedBan(singles(1)))

    def unready() -> int:
        raise FeedUnreadable("not now")

    with closing(following.follow(made(feed, path), feed, 0.01)) as results:
        for _ in range(3):
            assert next(results).held == 1
        feed.fileno = unready  # type: ignore[method-assign]
        assert next(results).held == 1
        feed.said = ["garbage"]
        assert next(results).failure
        feed.said = []
        assert next(results).held == 1
    assert len(feed.asked) == 6


def test_a_file_that_is_followed_is_not_written_without_need(path: Path) -> None:
    """Nor is what woke for nothing any news."""
    feed = Waking(FeedBan(singles(1)))
    with closing(following.follow(made(feed, path), feed, 3600)) as results:
        first = next(results)
        before = token(path)
        for _ in range(3):
            feed.wake()
            assert not next(results).is_news
    assert first.is_news
    assert token(path) == before
    assert evolve(reading.read(path, LIMITS), token="").cursor == "after"


class Shared(Waking):
    """One that wakes, publishes, and may be replaced by another one."""

    said_epoch = "one"

    def epoch(self) -> str:
        """Return it."""
        return self.said_epoch


def test_all_is_published_again_in_another_epoch(path: Path, tmp_path: Path) -> None:
    """What was told may be lost there; but nothing is told twice to the same one."""
    feed, box = Shared(), tmp_path / "outbox" / "fleet.db"
    outbox.write(box, [Told(Network.parse("192.0.2.1"))], NOW)
    running = made(feed, path, outbox=box)
    with closing(following.follow(running, feed, 1e9)) as results:
        assert next(results).published == 1
        feed.wake()
        assert not next(results).published
        feed.said_epoch = "two"
        feed.wake()
        until(results, lambda result: result.published == 1)
    again = made(feed, path, outbox=box)
    assert again.file.contents.epoch == "two"
    assert engine.once(again).published == 0
    assert len(feed.told) == 2


def test_very_many_rows_are_published_without_a_pause(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read in portions."""
    monkeypatch.setattr(outbox, "_MOST", 2)
    feed, box = Telling(), tmp_path / "outbox" / "fleet.db"
    outbox.write(box, [Told(each) for each in singles(7)], NOW)
    assert engine.once(made(feed, path, outbox=box)).published == 7
    assert [len(change.networks) for change in feed.told] == [2, 2, 2, 1]  # type: ignore[union-attr]


def until(results: Iterator[Refreshed], true: Callable[[Refreshed], bool]) -> list[Refreshed]:
    """Take results up to the first of which this is true; return the others."""
    before: list[Refreshed] = []
    for result in results:
        if true(result):
            break
        before.append(result)
        assert len(before) < 50
    return before


def test_a_feed_that_cannot_publish_is_read(path: Path, tmp_path: Path) -> None:
    """Each time it wakes, and publishing is tried again by itself."""
    feed, box = Waking(FeedBan(singles(1))), tmp_path / "outbox" / "fleet.db"
    outbox.write(box, [Told(Network.parse("192.0.2.1"))], NOW)
    feed.broken = True
    with closing(following.follow(made(feed, path, outbox=box), feed, 1e9)) as results:
        first = next(results)
        assert first.held == 1
        assert "nobody listens" in str(first.failure)
        feed.wake(FeedBan(singles(2)))
        until(results, lambda result: result.held == 2)
        feed.broken = False
        until(results, lambda result: result.published == 1)


def test_a_feed_that_cannot_be_read_publishes(path: Path, tmp_path: Path) -> None:
    """At once, however long it is until it is read again; and then it tells what it could not."""
    feed, box = Waking(fails(ValueError("gone"))), tmp_path / "outbox" / "fleet.db"
    with closing(following.follow(made(feed, path, outbox=box), feed, 1e9)) as results:
        assert "gone" in str(next(results).failure)
        outbox.write(box, [Told(Network.parse("192.0.2.1"))], NOW)
        until(results, lambda result: result.published == 1)
        feed.broken = True
        outbox.write(box, [Told(Network.parse("192.0.2.2"))], NOW)
        until(results, lambda result: "nobody listens" in str(result.failure))
        feed.broken = False
        feed.wake()
        until(results, lambda result: result.judged is not None)
        until(results, lambda result: result.published == 1)


def test_a_feed_that_failed_is_read_once_it_wakes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its time has come; one that is always ready is left alone for a while."""
    monkeypatch.setattr(following, "_AGAIN", 1e6)
    monkeypatch.setattr(following, "_LATEST", 1e6)
    feed = Waking(fails(ValueError("gone")))
    with closing(following.follow(made(feed, path), feed, 1e9)) as results:
        assert next(results).failure
        begun = time.monotonic()
        for _ in range(3):
            os.write(feed.write, b"!")
            assert next(results).failure
        assert time.monotonic() - begun > 1  # 0.2, 0.4 and 0.8 s
        feed.wake(FeedBan(singles(1)))
        assert next(results).held == 1


def test_who_wakes_for_nothing_again_and_again_is_left_alone(path: Path) -> None:
    """For longer and longer; what comes after a rest is read at once."""
    feed = Waking(FeedBan(singles(1)))
    with closing(following.follow(made(feed, path), feed, 3600)) as results:
        next(results)
        begun = time.monotonic()
        for _ in range(following._SENSELESS + 4):  # noqa: SLF001 - each is worth waiting for
            feed.wake()
            next(results)
        assert time.monotonic() - begun > 0.35  # 0.05, 0.1 and 0.2 s
