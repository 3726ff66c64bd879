"""Waiting for a path, whatever becomes of it."""

import errno
import os
import select
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import REAL_ROOT

from reconciler import TreasonError
from reconciler.inotify import Watch


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file in a directory that is named by two links."""
    (tmp_path / "disk" / "logs").mkdir(parents=True)
    (tmp_path / "disk" / "logs" / "kern.log").write_text("first\n")
    (tmp_path / "var").symlink_to("disk")
    (tmp_path / "log").symlink_to(tmp_path / "var" / "logs" / ".." / "logs" / "kern.log")
    return tmp_path / "log"


@pytest.fixture
def watch(log: Path) -> Iterator[Watch]:
    """It waits for the file."""
    watch = Watch(str(log))
    assert watch.take()
    assert not woken(watch)
    yield watch
    watch.close()


def woken(watch: Watch) -> bool:
    """Whether its descriptor is readable."""
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def append(path: Path) -> None:
    """Write at the end."""
    with path.open("a") as file:
        file.write("more\n")


def real(log: Path) -> Path:
    """Return the file behind the links."""
    return log.parent / "disk" / "logs" / "kern.log"


@pytest.mark.parametrize("change", [append, lambda path: os.truncate(path, 0)])
def test_its_content_wakes(log: Path, watch: Watch, change: Callable[[Path], None]) -> None:
    """What is written or cut off; it is still the same file."""
    change(real(log))
    assert woken(watch)
    assert not watch.take()
    assert not woken(watch)


def renamed(log: Path) -> None:
    """Rotate it."""
    real(log).rename(real(log).with_name("kern.log.1"))


def replaced(log: Path) -> None:
    """Put another file in its place at once."""
    (log.parent / "new").write_text("new\n")
    (log.parent / "new").replace(real(log))


def removed(log: Path) -> None:
    """Remove it while somebody has it open."""
    with real(log).open():
        real(log).unlink()


def directory_moved(log: Path) -> None:
    """Rename its directory."""
    real(log).parent.rename(log.parent / "elsewhere")


def ancestor_moved(log: Path) -> None:
    """Rename what its directory stands in."""
    (log.parent / "disk").rename(log.parent / "old disk")


def link_changed(log: Path) -> None:
    """Let the first link lead elsewhere."""
    log.unlink()
    log.symlink_to(log.parent / "other")


def directory_link_changed(log: Path) -> None:
    """Let the link in the middle lead elsewhere, at once."""
    (log.parent / "next").symlink_to("other disk")
    (log.parent / "next").rename(log.parent / "var")


@pytest.mark.parametrize(
    "change",
    [renamed, replaced, removed, directory_moved, ancestor_moved, link_changed,
     directory_link_changed],
)  # fmt: skip
def test_another_file_wakes(log: Path, watch: Watch, change: Callable[[Path], None]) -> None:
    """Whatever makes the path stand for another file, or for none; and that one is watched then."""
    change(log)
    assert woken(watch)
    assert watch.take()
    assert not woken(watch)
    Path(os.path.realpath(log)).parent.mkdir(parents=True, exist_ok=True)
    append(Path(os.path.realpath(log)))
    assert woken(watch)
    watch.take()
    append(log)
    assert woken(watch)
    assert not watch.take()


def test_what_is_missing_is_waited_for(tmp_path: Path) -> None:
    """Directory after directory, and then the file."""
    path = tmp_path / "one" / "two" / "log"
    watch = Watch(str(path))
    watch.take()
    for make in (path.parent.parent.mkdir, path.parent.mkdir, path.touch):
        make()
        assert woken(watch)
        assert watch.take()
        assert not woken(watch)
    append(path)
    assert woken(watch)
    assert not watch.take()
    watch.close()


def test_other_files_of_the_directory_are_of_no_interest(log: Path, watch: Watch) -> None:
    """They may wake when they come or go, but not when they are written; the path is the same."""
    other = real(log).with_name("other.log")
    other.touch()
    assert not watch.take()
    append(other)
    assert not woken(watch)


def test_a_file_that_was_renamed_can_be_watched_on(log: Path, watch: Watch) -> None:
    """Who writes a log goes on writing it for a while."""
    with real(log).open("a") as file:
        renamed(log)
        assert watch.take()
        watch.also(file.fileno())
        assert not woken(watch)
        file.write("late\n")
        file.flush()
        assert woken(watch)
        assert not watch.take()


def test_a_relative_path_is_one_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In which the program is when it begins to wait."""
    monkeypatch.chdir(tmp_path)
    watch = Watch("log")
    watch.take()
    (tmp_path / "log").touch()
    assert watch.take()
    watch.close()


def test_links_that_lead_round_are_no_path(tmp_path: Path) -> None:
    """It ends, and waits for the links to change."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    watch = Watch(str(tmp_path / "a"))
    watch.take()
    (tmp_path / "b").unlink()
    assert watch.take()
    (tmp_path / "b").touch()
    assert watch.take()
    watch.close()


def test_lost_events_are_a_change(log: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel's queue ran over, anything may have happened."""
    coming = [struct.pack("=iIII", -1, 0x4000, 0, 0)]  # IN_Q_OVERFLOW

    def read(descriptor: int, size: int) -> bytes:
        if coming and descriptor == watch.fileno():
            return coming.pop()
        raise BlockingIOError

    monkeypatch.setattr(os, "read", read)
    assert watch.take()


LIMITED = """
import sys
from reconciler.errors import TreasonError
from reconciler.inotify import Watch
try:
    watches = [Watch(sys.argv[1]) for _ in range(3)]
except TreasonError as error:
    print(error)
"""


@pytest.mark.skipif(not REAL_ROOT, reason="needs root: sets a limit in a namespace")
@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ("max_inotify_instances", 1, "raise fs.inotify.max_user_instances"),
        ("max_inotify_watches", 2, "raise fs.inotify.max_user_watches"),
    ],
)
def test_a_limit_is_told(limit: str, value: int, told: str, log: Path) -> None:
    """With the setting to raise; nothing is taken for watched that is not."""
    script = f'echo {value} > /proc/sys/user/{limit} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", LIMITED, str(log)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("cannot watch ")
    assert told in done.stdout


def test_what_may_not_be_watched_is_told(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of watches, at the first of them; the descriptor is given back."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are what is compared

    def full(name: str, *arguments: int | bytes) -> int:
        if name == "inotify_add_watch":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr("reconciler.inotify._libc", full)
    with pytest.raises(TreasonError, match="limit of inotify watches is reached"):
        Watch(str(log))
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above
