"""The daemon and feeds that lie, fail or rage: what was taken stays, and nothing else suffers.

docs/reference/faults-of-the-daemon.md names these tests, and quotes what they expect to read.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from harness import Place
from residents import Resident, drops, feed_says, in_force, running, until, with_feeds

Nft = Callable[..., str]
KEPT, LISTED = "198.51.100.1", "192.0.2.7"
"""Who is banned, and whom the feeds have named, before anything happens."""

OTHER, OFFENDER, GUEST = "203.0.113.6/31", "198.51.100.9", "198.51.100.20"


@pytest.fixture
def file(place: Place) -> Path:
    """The feed's own file, which was taken before."""
    with_feeds(place, "a", "b")
    place.treason("ban", KEPT)
    for name in ("a", "b"):
        feed_says(place, LISTED, name=name)
    return place.path / "a" / "feed.db"


def says(place: Place, words: str, code: int) -> bool:
    """Whether `status` says this, and ends with that code."""
    result = place.treason("status")
    return words in result.out + result.err and result.code == code


def told(daemon: Resident, words: str, times: int) -> bool:
    """Whether it has printed this so many times."""
    return daemon.error.count(words) == times


def goes_on(daemon: Resident, nft: Nft) -> None:
    """Keep in force what was, do what people ask for, and take what the other feed says."""
    feed_says(daemon.place, LISTED, OTHER, name="b")
    until(lambda: drops(OTHER), daemon.error)
    nft("flush ruleset")
    until(lambda: drops(KEPT, LISTED, OTHER), daemon.error)
    daemon.offend(OFFENDER)
    until(lambda: drops(OFFENDER), daemon.error)
    assert daemon.place.treason("ban", GUEST).out.endswith("in force: nftables\n")
    result = daemon.place.treason("unban", GUEST)
    assert (result.code, result.err) == (0, ""), result
    assert not drops(GUEST)


def gone(file: Path) -> None:
    """Remove it, with its directory."""
    file.unlink()
    file.parent.rmdir()


def empty(file: Path) -> None:
    """Leave no byte of it."""
    os.truncate(file, 0)


def halved(file: Path) -> None:
    """Cut it in the middle."""
    os.truncate(file, file.stat().st_size // 2)


def garbage(file: Path) -> None:
    """Let it be something else."""
    file.write_bytes(b"<html>" * 1000)


def fifo(file: Path) -> None:
    """Let it be what a reader would wait for."""
    file.unlink()
    os.mkfifo(file)


def link(file: Path) -> None:
    """Let it lead to the database of the other feed."""
    file.unlink()
    file.symlink_to("../b/feed.db")


def directory(file: Path) -> None:
    """Let it hold files."""
    file.unlink()
    file.mkdir()


def test_a_feed_that_cannot_be_read_keeps_what_it_had(place: Place, nft: Nft, file: Path) -> None:
    """It is told in one line, and all else goes on; what it says afterwards is taken at once."""
    faults: dict[Callable[[Path], None], str] = {
        gone: "there is no such file",
        empty: "nothing has been written to it yet",
        halved: "it is damaged",
        garbage: "it is not an SQLite database",
        fifo: "it is not a file",
        directory: "it is not a file",
        link: "it is a link, which is not followed",
    }
    with running(place) as daemon:
        for number, (happens, words) in enumerate(faults.items(), 10):
            before = daemon.error.count(words)
            happens(file)
            until(partial(told, daemon, words, before + 1), daemon.error)
            assert says(place, words, 1)
            nft("flush ruleset")
            until(lambda: drops(KEPT, LISTED), daemon.error)
            if happens is gone:
                goes_on(daemon, nft)
            assert told(daemon, words, before + 1), daemon.error
            if happens is directory:
                file.rmdir()
            fresh = f"192.0.2.{number}"
            feed_says(place, LISTED, fresh)
            until(partial(drops, LISTED, fresh), daemon.error)
            until(partial(says, place, "running since", 0))


def test_another_epoch_waits_for_a_person(place: Place, nft: Nft, file: Path) -> None:
    """What it says is not believed until then; an older copy of the file, say."""
    with running(place) as daemon:
        feed_says(place, "192.0.2.8", epoch="second")
        until(lambda: says(place, "treason feed accept a", 1), daemon.error)
        goes_on(daemon, nft)
        assert not drops("192.0.2.8")
        feed_says(place, "192.0.2.8", epoch="first")
        until(lambda: drops("192.0.2.8"), daemon.error)
        until(lambda: says(place, "running since", 0))


WRITER = """\
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN EXCLUSIVE")
database.execute("DELETE FROM bans")
for number in range(100):
    database.execute("INSERT INTO bans VALUES ('', '', NULL, 0, zeroblob(5000), x'')")
print("writing", flush=True)
sys.stdin.read()
"""


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Let a process be in the middle of a commit, and stop there."""
    command = [sys.executable, "-c", WRITER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"writing\n"
        try:
            yield
        finally:
            writer.kill()


def test_who_dies_while_it_writes_is_waited_for(place: Place, nft: Nft, file: Path) -> None:
    """What is half written is not read: the feed's process rolls it back, and goes on."""
    with running(place) as daemon:
        with writing(file):
            until(lambda: says(place, "it is being written, or its writer died", 1), daemon.error)
            goes_on(daemon, nft)
        file.with_name("feed.db-journal").unlink()
        feed_says(place, "192.0.2.8", LISTED)
        until(lambda: drops("192.0.2.8", LISTED), daemon.error)
        until(lambda: says(place, "running since", 0))


RAGING = """\
import os, sys, time
one, other, path = sys.argv[1:]
contents = [open(each, "rb").read() for each in (one, other)]
number = 0
print("raging", flush=True)
while True:
    number += 1
    with open(path + ".new", "wb") as file:
        file.write(contents[number % 2])
    os.rename(path + ".new", path)
    time.sleep(0.001)
"""


@contextmanager
def raging(place: Place, file: Path) -> Iterator[None]:
    """Rewrite it a thousand times a second, each time with something else."""
    contents = [place.path / "one", place.path / "other"]
    for each, network in zip(contents, ("192.0.2.8", "192.0.2.9"), strict=True):
        feed_says(place, LISTED, network)
        file.rename(each)
    command = [sys.executable, "-c", RAGING, *map(str, contents), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_a_feed_that_rages_costs_little(
    place: Place, nft: Nft, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the sixth pass within a minute on there are pauses; another feed waits for none."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # which would double what it costs
    with running(place) as daemon:
        with raging(place, file):
            often = "feed a: its file is written again and again"
            until(lambda: often in daemon.error, daemon.error, patience=120.0)
            goes_on(daemon, nft)
            assert says(place, "running since", 0)
            time.sleep(3)
            begun, before = time.monotonic(), spent(daemon)
            time.sleep(5)
            assert spent(daemon) - before < 0.5 + 0.5 * (time.monotonic() - begun)
        assert daemon.error.count("again and again") == 1
        feed_says(place, "192.0.2.10", LISTED)
        until(lambda: drops("192.0.2.10") and not drops("192.0.2.8"), daemon.error)
        until(lambda: len(in_force()) == 5)  # what it said for a moment only goes with a pass


def spent(daemon: Resident) -> float:
    """Return the seconds of CPU time that it has used, with the passes that have ended."""
    text = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, text[11:15])) / os.sysconf("SC_CLK_TCK")


def test_a_directory_that_may_not_be_read_is_told(place: Place, nft: Nft, file: Path) -> None:
    """As one of another user, for a daemon that may not read everything; once it may, it does."""
    file.parent.chmod(0)
    os.chown(file.parent, 65534, 65534)
    with running(
        place, by=["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    ) as daemon:
        until(lambda: says(place, "Permission denied", 1), daemon.error)
        goes_on(daemon, nft)
        file.parent.chmod(0o755)
        until(lambda: says(place, "running since", 0))
        assert drops(LISTED)
