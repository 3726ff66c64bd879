"""The real daemon takes by itself what is little of what a feed says, as a pass would."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from feedfiles import nets, singles
from harness import Place
from residents import Resident, drops, feed_says, publish, running, until, with_feeds

from reconciler.host import lock

A, B, C, GUEST = "203.0.113.5", "203.0.113.6", "203.0.113.7", "198.51.100.7"
SPARED = f'[whitelist]\nnetworks = ["{GUEST}"]\n'


@pytest.fixture
def daemon(place: Place, host: None) -> Iterator[Resident]:
    """One with two feeds that have said little yet; nothing runs any more."""
    with_feeds(place, "a", "b", text=SPARED)
    for name in ("a", "b"):
        feed_says(place, C, name=name)
    with running(place) as resident:
        until(lambda: children(resident) == quiet(resident), resident.error)
        yield resident


def children(daemon: Resident) -> int:
    """Return the time that its passes have taken so far, in ticks."""
    text = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(text[13]) + int(text[14])


def quiet(daemon: Resident) -> int:
    """Return the same, half a second ago."""
    before = children(daemon)
    time.sleep(0.5)
    return before


def test_what_comes_is_in_force_and_stored_without_a_pass(place: Place, daemon: Resident) -> None:
    """All that can be asked tells of it, and a comparison finds no difference."""
    before = children(daemon)
    feed_says(place, A, B, C, GUEST, "10.0.0.1")
    until(lambda: drops(A, B, C), daemon.error)
    assert not drops(GUEST)
    assert not drops("10.0.0.1")
    until(lambda: A in place.treason("list", "--origin", "feed:a").out, daemon.error)
    assert "the feed a" in place.treason("why", A).out
    assert "feed:a" in place.treason("history", A).out
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0
    assert children(daemon) == before
    assert not daemon.error


def test_what_ends_or_is_said_no_more_is_let_go(place: Place, daemon: Resident) -> None:
    """A ban that the daemon has stored ends at its time; for what is removed a pass is made."""
    feed_says(place, A, until=int(time.time()) + 3)
    until(lambda: drops(A), daemon.error)
    until(lambda: not drops(A), daemon.error)
    feed_says(place, B, C)
    until(lambda: drops(B), daemon.error)
    feed_says(place, C)
    until(lambda: not drops(B), daemon.error)
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0
    assert not daemon.error


def test_nobody_waits_for_a_pass(place: Place, daemon: Resident) -> None:
    """While one runs who is new is dropped all the same, and is stored behind it."""
    with lock.held(place.path / "lock", 20):
        feed_says(place, A, C)
        until(lambda: drops(A), daemon.error)
        assert A not in place.treason("list", "--origin", "feed:a").out
    until(lambda: A in place.treason("list", "--origin", "feed:a").out, daemon.error)
    assert drops(A, C)
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_what_was_said_for_a_moment_only_is_let_go(place: Place, daemon: Resident) -> None:
    """Though no pass has ever seen it; the history tells why it was dropped, and is no more."""
    with lock.held(place.path / "lock", 20):
        feed_says(place, A, B, C)
        until(lambda: drops(A, B), daemon.error)
        feed_says(place, B, C)
    until(lambda: not drops(A), daemon.error)
    assert drops(B, C)
    told = place.treason("history", A).out
    assert "ban" in told
    assert "unban" in told
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_who_is_killed_before_it_is_stored_has_it_behind_the_next_start(
    place: Place, daemon: Resident
) -> None:
    """The pass at the start reads the file."""
    with lock.held(place.path / "lock", 20):
        feed_says(place, A, C)
        until(lambda: drops(A), daemon.error)
        daemon.kill()
    with running(place):
        assert drops(A, C)
        assert A in place.treason("list", "--origin", "feed:a").out
        assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_who_brings_too_much_is_quarantined_all_the_same(place: Place, host: None) -> None:
    """The daemon goes by the limits of a pass."""
    with_feeds(place, "a", "b", text=SPARED)
    text = place.config.read_text()
    place.config.write_text(text.replace("[feed.a]", "[feed.a]\nmax_new = 3"))
    feed_says(place, C)
    with running(place) as daemon:
        feed_says(place, B, C)
        until(lambda: drops(B), daemon.error)
        publish(place.path / "a" / "feed.db", nets(B, C) | singles(20))
        until(lambda: place.treason("why", "1.0.0.1").out.count("max_new"), daemon.error)
        assert not drops("1.0.0.1")
        feed_says(place, A, name="b")
        until(lambda: drops(A, B, C), daemon.error)


LOCKING = """\
import fcntl, os, struct, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0x40000000, 512, 0)
fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep its lock, as a writer that never ends does."""
    command = [sys.executable, "-c", LOCKING, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.kill()


@contextmanager
def huge(file: Path) -> Iterator[None]:
    """Let it be as large as one may be, without taking any room."""
    os.truncate(file, 1 << 30)
    yield


@contextmanager
def fifo(file: Path) -> Iterator[None]:
    """Let it be what a reader would wait for."""
    file.unlink()
    os.mkfifo(file)
    yield
    file.unlink()


@contextmanager
def link(file: Path) -> Iterator[None]:
    """Let it lead to what never ends."""
    file.unlink()
    file.symlink_to("/dev/zero")
    yield
    file.unlink()


@contextmanager
def half_written(file: Path) -> Iterator[None]:
    """Leave the journal of a writer that has died."""
    file.with_name("feed.db-journal").write_bytes(b"rows" * 1000)
    os.utime(file)
    yield
    file.with_name("feed.db-journal").unlink()


@pytest.mark.parametrize("fault", [locked, huge, fifo, link, half_written])
def test_a_file_that_nobody_can_read_keeps_nobody_waiting(
    place: Place, daemon: Resident, fault: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """Offenders are dropped meanwhile, and so is whom another feed names; then it is taken."""
    file = place.path / "a" / "feed.db"
    with fault(file):
        for number in range(1, 6):
            if number % 2 and file.is_file() and not file.is_symlink():
                os.utime(file)  # which wakes
            begun = time.monotonic()
            daemon.offend(f"198.51.100.{number}")
            until(lambda: drops(f"198.51.100.{number}"), daemon.error)  # noqa: B023 - at once
            feed_says(place, f"192.0.2.{number}", C, name="b")
            until(lambda: drops(f"192.0.2.{number}"), daemon.error)  # noqa: B023 - as above
            assert time.monotonic() - begun < 5
    feed_says(place, A, C)
    until(lambda: drops(A, C), daemon.error)
