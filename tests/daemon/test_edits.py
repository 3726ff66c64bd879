"""The files that the daemon goes by: what wakes it, and what it does where nothing can."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import inotify
from reconciler.daemon import edits
from reconciler.daemon.edits import Edits
from reconciler.daemon.loop import Loop
from reconciler.errors import TreasonError

LIBC = inotify._libc  # noqa: SLF001 - the one place that asks the kernel


class _EnoughError(Exception):
    """Ends a loop, which may be run again then."""


class Daemon:
    """Counts the looks, and ends the loop behind so many."""

    def __init__(self, *paths: Path) -> None:
        self.loop = Loop()
        self.paths = paths
        self.looks = self.most = 0
        self.told: list[str] = []

    def trouble(self, _subject: str, text: str) -> None:
        """Keep what is told."""
        self.told.append(text)

    def look(self) -> tuple[Path, ...]:
        """Look."""
        self.looks += 1
        if self.looks == self.most:
            self.loop.after(0, "enough", self.end)
        return self.paths

    def end(self) -> None:
        """End the loop."""
        raise _EnoughError

    def run(self, looks: int) -> None:
        """Wait for so many looks more."""
        self.most = self.looks + looks
        self.loop.after(20, "patience", self._impatient)
        with pytest.raises(_EnoughError):
            self.loop.run()
        self.loop.never("patience")

    def _impatient(self) -> None:
        raise AssertionError("nothing woke")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file, in a directory that holds others."""
    path = tmp_path / "etc" / "treason.toml"
    path.parent.mkdir()
    path.write_text("")
    return path


@pytest.fixture
def daemon(file: Path) -> Iterator[tuple[Daemon, Edits]]:
    """One that waits for the file, for one that is missing, and for a directory."""
    (file.parent / "conf.d").mkdir()
    made = Daemon(file, file.with_name("whitelist.toml"), file.parent / "conf.d")
    waits = Edits(made, made.look)
    waits.begin()
    yield made, waits
    waits.close()


def test_each_change_is_looked_at(daemon: tuple[Daemon, Edits], file: Path) -> None:
    """Of a content, of a name, of what a directory holds."""
    made, _ = daemon
    file.write_text("new")
    made.run(1)
    file.with_name("whitelist.toml").write_text("")
    made.run(1)
    (file.parent / "conf.d" / "some").write_text("")
    made.run(1)
    assert not any(made.told)


def test_what_lies_beside_is_not_looked_at(daemon: tuple[Daemon, Edits], file: Path) -> None:
    """The database's journal may be there, for instance."""
    made, _ = daemon
    looks = made.looks
    (file.parent / "other").write_text("")
    made.loop.after(0.2, "enough", made.end)
    with pytest.raises(_EnoughError):
        made.loop.run()
    assert made.looks == looks


def test_other_files_are_waited_for(daemon: tuple[Daemon, Edits], file: Path) -> None:
    """As one that names another would have it."""
    made, _ = daemon
    other = file.with_name("other")
    made.paths = (file, other)
    file.write_text("new")
    made.run(2)
    other.write_text("")
    made.run(1)


def test_looks_by_the_clock_keep_no_descriptor(
    daemon: tuple[Daemon, Edits], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is the second try to wait that fails, again and again."""
    made, _ = daemon

    def refused(_watch: inotify.Watch) -> bool:
        raise TreasonError("cannot watch it")

    monkeypatch.setattr(edits, "_CLOCK", 0.01)
    monkeypatch.setattr(inotify.Watch, "take", refused)
    file.write_text("new")
    made.run(3)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - they are counted
    made.run(10)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


@pytest.mark.parametrize("limit", [errno.EMFILE, errno.ENOSPC])
def test_the_clock_goes_on_where_nothing_wakes(
    limit: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, until a change wakes again."""
    full = [True]

    def limited(name: str, *arguments: int | bytes) -> int:
        if full[0] and name == ("inotify_init1" if limit == errno.EMFILE else "inotify_add_watch"):
            raise OSError(limit, os.strerror(limit))
        return LIBC(name, *arguments)

    monkeypatch.setattr(inotify, "_libc", limited)
    monkeypatch.setattr(edits, "_CLOCK", 0.05)
    made = Daemon(file)
    waits = Edits(made, made.look)
    waits.begin()
    made.run(3)
    assert made.told[-1].startswith("cannot watch")
    assert "each 0.05 s" in made.told[-1]
    full[0] = False
    made.run(2)
    assert made.told[-1] == ""
    monkeypatch.setattr(edits, "_CLOCK", 60)
    file.write_text("new")
    made.run(1)
    waits.close()
