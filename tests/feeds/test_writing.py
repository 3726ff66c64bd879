"""The feed's own file, as its process keeps it."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve
from feedfiles import nets, singles, write

from reconciler import FeedUnreadable
from reconciler.feeding import FeedGroup
from reconciler.feeds import reading, writing
from reconciler.feeds.format import Contents
from reconciler.feeds.limits import Limits
from reconciler.feeds.token import token
from reconciler.feeds.writing import FeedFile, alone

LIMITS = Limits()
GROUP = FeedGroup(nets("192.0.2.1", "2001:db8::/32"), "m", "why", 2_000_000_000)
CONTENTS = Contents("epoch", (GROUP,), (FeedGroup(singles(2), "m", "", 9),), "cursor", 7)


def read(path: Path) -> Contents:
    """Return what a pass reads."""
    return evolve(reading.read(path, LIMITS), token="")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A feed's file in a directory that is not there yet."""
    return tmp_path / "treason-feed" / "fleet" / "feed.db"


def test_what_is_written_is_what_is_read(path: Path) -> None:
    """By a pass, and by the next process of the feed."""
    with alone(path):
        FeedFile(path, LIMITS).write(CONTENTS)
        assert read(path) == CONTENTS
        assert FeedFile(path, LIMITS).contents == CONTENTS


def test_only_what_may_read_it_can(path: Path) -> None:
    """Whatever the umask is: the directory 0750, the file 0640."""
    before = os.umask(0)
    try:
        for mask in (0, 0o077):
            os.umask(mask)
            with alone(path):
                FeedFile(path, LIMITS).write(CONTENTS)
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
            shutil.rmtree(path.parent)
    finally:
        os.umask(before)


def test_what_is_there_is_not_written_again(path: Path) -> None:
    """So that a pass need not read it; a cursor alone is written."""
    with alone(path):
        file = FeedFile(path, LIMITS)
        file.write(CONTENTS)
        before = token(path)
        file.write(evolve(CONTENTS))
        FeedFile(path, LIMITS).write(CONTENTS)
        assert token(path) == before
        file.write(evolve(CONTENTS, cursor="next"))
        assert read(path).cursor == "next"


def test_only_what_differs_is_written(path: Path) -> None:
    """Other rows keep their numbers."""
    many = evolve(CONTENTS, groups=(GROUP, *(FeedGroup(singles(n), f"{n}") for n in range(1, 9))))
    with alone(path):
        file = FeedFile(path, LIMITS)
        file.write(many)
        new = FeedGroup(singles(3), "new", "", 5)
        less = evolve(many, groups=(*many.groups[:-1], new), lifted=())
        file.write(less)
    assert {*read(path).groups} == {*less.groups}
    assert read(path).lifted == ()
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT rowid FROM bans ORDER BY 1").fetchall()
    assert [row for (row,) in rows][:8] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_second_writer_is_refused(path: Path) -> None:
    """In one line, at once."""
    with (
        alone(path),
        pytest.raises(FeedUnreadable, match="another `treason feed run` writes it already"),
        alone(path),
    ):
        pass
    with alone(path):
        pass


@pytest.mark.parametrize("damage", ["text", "schema", "version", "rows", "cut"])
def test_a_damaged_file_is_put_aside_once_there_is_something_new(path: Path, damage: str) -> None:
    """It is a cache: all is brought anew. Until then it stays where it is."""
    path.parent.mkdir(parents=True)
    then = {
        "schema": "CREATE TABLE more (a)",
        "version": "PRAGMA user_version = 9",
        "rows": "DELETE FROM feed",
    }.get(damage, "")
    write(path, [GROUP, FeedGroup(singles(9000), "other")], then=then)
    if damage == "text":
        path.write_text("this is a list\n")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    bad = path.read_bytes()
    path.with_name("feed.db.lock").touch()
    with alone(path):
        file = FeedFile(path, LIMITS)
        assert file.contents == Contents()
        assert str(path) in file.damage
        assert path.read_bytes() == bad
        file.write(CONTENTS)
        assert file.damage == ""
        assert read(path) == CONTENTS
    assert path.with_name("feed.db.damaged").read_bytes() == bad


def test_what_no_feed_ever_wrote_is_left_alone(tmp_path: Path) -> None:
    """It is not a damaged file of this feed: somebody named the wrong one as its store."""
    path = tmp_path / "of-others"
    for content in (b"root:x:0:0", b"SQLite format 3\0" + bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(FeedUnreadable, match="this file is not a feed's"), alone(path):
            pass
        assert path.read_bytes() == content
        assert [*tmp_path.iterdir()] == [path]
    with alone(write(path)):
        pass


@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_what_is_no_file_is_left_alone(path: Path, kind: str) -> None:
    """Nobody knows whose it is."""
    path.parent.mkdir(parents=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/etc/passwd")
    with pytest.raises(FeedUnreadable, match="it is "), alone(path):
        FeedFile(path, LIMITS)


def test_a_file_that_somebody_holds_is_not_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays, and what keeps the feed from it is said."""
    monkeypatch.setattr("reconciler.feeds.writing._PATIENCE", 0.1)
    path.parent.mkdir(parents=True)
    write(path, [GROUP])
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with alone(path), pytest.raises(FeedUnreadable, match="locked"):
            FeedFile(path, LIMITS)


KILLED = """
import os, sqlite3, sys, signal
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE bans SET until = 1, four = zeroblob(200000)")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_what_was(path: Path) -> None:
    """A pass cannot read it until the feed's next process has undone what was begun."""
    path.parent.mkdir(parents=True)
    with alone(path):
        FeedFile(path, LIMITS).write(CONTENTS)
        subprocess.run([sys.executable, "-c", KILLED, path], check=False)
        assert path.with_name("feed.db-journal").stat().st_size
        with pytest.raises(FeedUnreadable, match="its writer died"):
            reading.read(path, LIMITS, 0.1)
        assert FeedFile(path, LIMITS).contents == CONTENTS
        assert read(path) == CONTENTS


def test_a_directory_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    """With what to do; a file where the directory should be is as bad."""
    (tmp_path / "fleet").touch()
    with pytest.raises(FeedUnreadable, match="cannot write") as raised, alone(tmp_path / "fleet/x"):
        pass
    assert "own this file and its directory" in raised.value.hint


def test_a_signal_waits_for_the_end_of_the_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is delivered: nothing is left half written."""
    taken: list[Contents] = []
    before = signal.signal(signal.SIGTERM, lambda *_: taken.append(read(path)))
    rows = writing.rows_of

    def interrupted(contents: Contents) -> object:
        os.kill(os.getpid(), signal.SIGTERM)  # inside the transaction
        return rows(contents)

    monkeypatch.setattr(writing, "rows_of", interrupted)
    try:
        with alone(path):
            FeedFile(path, LIMITS).write(CONTENTS)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert taken == [CONTENTS]
