"""A feed's own file: which changes ask for a pass, and how often, whatever its writer does."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field

from reconciler import inotify
from reconciler.daemon import feeds
from reconciler.daemon.children import Done, Left
from reconciler.daemon.feeds import Feeds
from reconciler.daemon.loop import Loop
from reconciler.feeds.token import token

LIBC = inotify._libc  # noqa: SLF001 - the one place that asks the kernel


def replace(path: Path, content: str = "new") -> None:
    """Put another file in its place."""
    fresh = path.with_name("fresh")
    fresh.write_text(content)
    fresh.rename(path)


@define
class Daemon:
    """Keeps who asks for a pass; a pass ends when the test says so."""

    loop: Loop = field(factory=Loop)
    asked: list[tuple[Done, Left]] = field(factory=list)
    told: list[str] = field(factory=list)

    def trouble(self, subject: str, text: str) -> None:
        """Keep what is wrong."""
        if text:
            self.told.append(f"{subject}: {text}")

    def make_pass(self, done: Done = lambda _error: None, left: Left = lambda: None) -> None:
        """Keep it, and let the test look at it."""
        self.asked.append((done, left))
        self.loop.after(0, "asked", self.end)

    def run(self, seconds: float = 20.0) -> bool:
        """Wait for the next one who asks; return whether anybody did."""
        before = len(self.asked)
        self.loop.after(seconds, "patience", self.end)
        with pytest.raises(InterruptedError):
            self.loop.run()
        self.loop.never("patience")
        return len(self.asked) > before

    def passed(self) -> None:
        """Let the pass that was asked for last end."""
        self.asked[-1][0]("")

    def end(self) -> None:
        """End the loop, which may be run again then."""
        raise InterruptedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, which is there, in a directory of its own."""
    path = tmp_path / "treason-feed" / "a" / "feed.db"
    path.parent.mkdir(parents=True)
    path.write_text("first")
    return path


@pytest.fixture
def daemon(path: Path) -> Iterator[Daemon]:
    """One that waits for the file."""
    made = Daemon()
    waits = Feeds(made)
    waits.follow({"a": path})
    yield made
    waits.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("written"),
        replace,
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 0),
        lambda path: shutil.rmtree(path.parent),
        lambda path: path.parent.rename(path.parent.with_name("away")),
    ],
    ids=["written", "replaced", "removed", "truncated", "its directory", "moved away"],
)
def test_a_change_asks_for_one_pass(
    change: Callable[[Path], object], daemon: Daemon, path: Path
) -> None:
    """Of what was there at first a pass is made anyway."""
    assert not daemon.run(0.2)
    change(path)
    assert daemon.run()
    daemon.passed()
    assert not daemon.run(0.3)
    assert not daemon.told


def test_a_file_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    """As where the feed has not run yet; so are its directory, and that one's."""
    daemon, path = Daemon(), tmp_path / "var" / "lib" / "a" / "feed.db"
    waits = Feeds(daemon)
    waits.follow({"a": path})
    assert not daemon.run(0.1)
    path.parent.mkdir(parents=True)
    assert not daemon.run(0.3)
    path.write_text("first")
    assert daemon.run()
    waits.close()


def test_what_lies_beside_asks_for_nothing(daemon: Daemon, path: Path) -> None:
    """A journal comes and goes with each commit."""
    for _ in range(3):
        path.with_name("feed.db-journal").write_text("rows")
        path.with_name("feed.db-journal").unlink()
        assert not daemon.run(0.2)


def test_what_changes_while_a_pass_runs_asks_for_the_next(daemon: Daemon, path: Path) -> None:
    """It may have read the file before; and however much changes, one is asked for at a time."""
    replace(path)
    assert daemon.run()
    for number in range(5):
        replace(path, f"{number} more")
        assert not daemon.run(0.1)
    daemon.passed()
    assert daemon.run()
    daemon.passed()
    assert not daemon.run(0.3)


def test_it_looks_again_where_nobody_tells_how_the_pass_ends(daemon: Daemon, path: Path) -> None:
    """As where the daemon lets a pass go: the next change asks again."""
    replace(path)
    assert daemon.run()
    daemon.asked[-1][1]()
    assert not daemon.run(0.3)
    replace(path, "more")
    assert daemon.run()


def test_a_file_that_always_changes_is_no_reason_for_many_passes(
    daemon: Daemon, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each takes longer to come than the one before, up to a limit; that is told once."""
    begun, waits = time.monotonic(), []
    while time.monotonic() < begun + 3:
        replace(path, str(time.monotonic_ns()))
        asked = time.monotonic()
        if daemon.run(0.001):
            daemon.passed()
        waits.append(time.monotonic() - asked)
    assert 5 < len(daemon.asked) < 20
    assert capfd.readouterr().err.count("feed a: its file is written again and again") == 1


@pytest.mark.parametrize("kind", ["FIFO", "link", "directory", "socket"])
def test_anything_in_its_place_is_a_change_and_no_more(
    kind: str, daemon: Daemon, path: Path, tmp_path: Path
) -> None:
    """It is not read, nor followed: what is written behind a link wakes nobody."""
    busy = tmp_path / "busy"
    busy.write_text("")
    path.unlink()
    make: dict[str, Callable[[Path], object]] = {
        "FIFO": os.mkfifo,
        "link": lambda at: at.symlink_to(busy),
        "directory": lambda at: at.mkdir(),
        "socket": lambda at: os.mknod(at, 0o140600),
    }
    make[kind](path)
    assert daemon.run()
    daemon.passed()
    assert not daemon.run(0.2)
    busy.write_text("more")
    assert not daemon.run(0.2)
    assert not daemon.told


def test_a_directory_that_is_a_link_by_now_costs_little(
    daemon: Daemon, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it leads much may happen: looks take a twentieth of the time at most, and make no pass.

    After a rest they may take as much more as in a second.
    """
    shutil.rmtree(path.parent)
    assert daemon.run()
    daemon.passed()
    busy = tmp_path / "busy"
    busy.mkdir()
    path.parent.symlink_to(busy)
    looks: list[Path] = []

    def slow(path: Path) -> None:
        looks.append(path)
        end = time.thread_time() + 0.004
        while time.thread_time() < end:
            pass

    monkeypatch.setattr(feeds, "token", slow)
    begun = time.monotonic()
    while time.monotonic() < begun + 1:
        (busy / "log").write_text("more")
        assert not daemon.run(0.002)
    assert 0 < len(looks) * 0.004 < (time.monotonic() - begun + 1.3) / 20
    monkeypatch.undo()
    path.write_text("first")
    assert daemon.run()
    assert not daemon.told


def test_a_look_that_finds_nothing_keeps_no_other_one_waiting(
    daemon: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit wakes a few times, and there may be many commits a second."""
    looks, same = list[Path](), token(path)

    def unchanged(path: Path) -> str | None:
        looks.append(path)
        return same

    monkeypatch.setattr(feeds, "token", unchanged)
    for _ in range(80):
        path.with_name("feed.db-journal").write_text("rows")
        assert not daemon.run(0.01)
        path.with_name("feed.db-journal").unlink()
        assert not daemon.run(0.01)
    assert len(looks) > 120


@pytest.mark.parametrize("limit", [errno.EMFILE, errno.ENOSPC])
def test_the_clock_goes_on_where_nothing_wakes(
    limit: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, with the limit to raise, until changes wake again; no descriptor is left."""
    full = [True]

    def limited(name: str, *arguments: int | bytes) -> int:
        if full[0] and name == ("inotify_init1" if limit == errno.EMFILE else "inotify_add_watch"):
            raise OSError(limit, os.strerror(limit))
        return LIBC(name, *arguments)

    monkeypatch.setattr(inotify, "_libc", limited)
    monkeypatch.setattr(feeds, "_CLOCK", 0.05)
    daemon = Daemon()
    waits = Feeds(daemon)
    waits.follow({"a": path})
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - they are counted
    assert not daemon.run(0.5)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
    assert daemon.told[-1].startswith("feed a: cannot watch")
    assert "fs.inotify.max_user" in daemon.told[-1]
    replace(path)
    assert daemon.run()
    full[0] = False
    daemon.passed()
    assert not daemon.run(0.2)
    told = len(daemon.told)
    monkeypatch.setattr(feeds, "_CLOCK", 60)
    replace(path, "more")
    assert daemon.run()
    assert len(daemon.told) == told
    waits.close()


def test_another_configuration_follows_other_files(daemon: Daemon, path: Path) -> None:
    """What was waited for before asks for nothing any more, nor what its pass has left."""
    waits = Feeds(daemon)
    other = path.with_name("other.db")
    waits.follow({"a": path})
    waits.follow({"b": other})
    other.write_text("first")
    assert daemon.run()
    waits.follow({})
    daemon.passed()
    other.write_text("second")
    assert not daemon.run(0.3)
