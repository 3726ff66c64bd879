"""The backend file: a blocklist that is always whole."""

import os
import resource
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest

from backends.file import Settings
from backends.file.blocklist import File
from reconciler import (
    BackendError,
    BackendFailed,
    BackendUnreadable,
    Network,
    Observed,
    Plan,
    files,
)
from reconciler.planning.desired import desired
from reconciler.planning.plan import plan
from reconciler.testing import (
    AskableContract,
    BackendContract,
    DigestedContract,
    WatchedContract,
)

NETWORKS = ("192.0.2.9", "192.0.2.10", "10.0.0.0/8", "2001:db8::/32")
WANTED = desired(map(Network.parse, NETWORKS), [Network.parse("10.1.0.0/16")])


class TestFile(BackendContract, DigestedContract, AskableContract):
    """The contract, on a list whose change runs a command."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> File:
        """A list that is not there yet."""
        self.path = tmp_path / "list"
        self.allowed = tmp_path / "allowed"
        self.allowed.touch()
        return File(Settings(str(self.path), ("test", "-e", str(self.allowed))))

    def rewrite(self, old: str, new: str) -> None:
        """Edit the list by hand."""
        self.path.write_text(self.path.read_text().replace(old, new), newline="")

    @contextmanager
    def moved(self, path: Path) -> Iterator[None]:
        """Put a directory in the place of a file."""
        aside = path.rename(path.with_name("aside"))
        path.mkdir()
        yield
        path.rmdir()
        aside.rename(path)

    @contextmanager
    def forbidden(self) -> Iterator[None]:
        """Let the command fail."""
        self.allowed.unlink()
        yield
        self.allowed.touch()

    @contextmanager
    def full(self) -> Iterator[None]:
        """A file may have 4096 bytes."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "a line missing": lambda self: self.rewrite("192.0.2.7\n", ""),
        "a line too many": lambda self: self.rewrite("192.0.2.7\n", "9.9.9.9\n192.0.2.7\n"),
        "another order": lambda self: self.rewrite("192.0.2.7\n198", "198.51.100.0/24\n192"),
        "a comment": lambda self: self.rewrite("192.0.2.7\n", "192.0.2.7\n# by hand\n"),
        "other line ends": lambda self: self.rewrite("\n", "\r\n"),
        "a half line": lambda self: self.path.write_text(self.path.read_text()[:-4]),
        "emptied": lambda self: self.path.write_text(""),
        "removed": lambda self: self.path.unlink(),
    }
    faults: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "writing": lambda _: patch.object(files, "replace", side_effect=OSError(28, "full")),
        "the command": lambda self: self.forbidden(),
    }

    def unreadable(self) -> AbstractContextManager[None]:
        """A directory stands in its place."""
        return self.moved(self.path)

    def foreign(self) -> Callable[[], object]:
        """Another list beside it."""
        other = self.path.with_name("other")
        other.write_text("10.0.0.0/8\n")
        return lambda: (other.read_bytes(), other.stat().st_mtime_ns, other.stat().st_ino)

    def owned(self) -> object:
        """The whole list."""
        return self.path.read_bytes()


def _replaced(contract: Any) -> None:
    new = contract.path.with_name("new")
    new.write_text("9.9.9.9\n")
    new.rename(contract.path)


def _appended(path: Path) -> None:
    with path.open("a") as file:
        file.write("9.9.9.9\n")


def _in_a_new_directory(contract: Any) -> None:
    directory = contract.path.parent
    directory.rename(directory.with_name(f"away{len([*directory.parent.iterdir()])}"))
    directory.mkdir()


class TestWatchedFile(WatchedContract):
    """The list is waited for, whatever becomes of it."""

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "written": lambda self: self.path.write_text("9.9.9.9\n"),
        "a line more": lambda self: _appended(self.path),
        "emptied": lambda self: os.truncate(self.path, 0),
        "removed": lambda self: self.path.unlink(),
        "replaced": _replaced,
        "its directory replaced": _in_a_new_directory,
    }

    @pytest.fixture
    def backend(self, tmp_path: Path) -> File:
        """A list that is not there yet, behind a link."""
        (tmp_path / "lists").mkdir()
        (tmp_path / "link").symlink_to("lists")
        self.path = tmp_path / "lists" / "list"
        return File(Settings(str(tmp_path / "link" / "list")))


def test_what_is_done_beside_a_list_is_no_change(tmp_path: Path) -> None:
    """Its directory is watched, but for the names that lead to it alone."""
    path = tmp_path / "list"
    path.write_text("192.0.2.7\n")
    with closing(File(Settings(str(path))).watcher()) as watcher:
        assert watcher.changed()
        (tmp_path / ".list.temporary").write_text("")
        (tmp_path / ".list.temporary").unlink()
        assert not watcher.changed()


def needed(backend: File) -> Plan | None:
    """Return the plan that would be needed now."""
    return plan(WANTED, backend.observe())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the list is to be."""
    return tmp_path / "list"


def enforce(path: Path, *command: str) -> None:
    """Make the list hold what is desired."""
    backend = File(Settings(str(path), command))
    made = needed(backend)
    assert made is not None
    backend.apply(made)
    assert needed(backend) is None


def test_the_list_is_canonical_and_sorted(path: Path) -> None:
    """One network in a line, the whitelist cut out, readable by everybody."""
    enforce(path)
    lines = path.read_text().splitlines()
    assert lines[-3:] == ["192.0.2.9", "192.0.2.10", "2001:db8::/32"]
    assert "10.0.0.0/16" in lines
    assert "10.1.0.0/16" not in lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "\n\n",
        "192.0.2.9\n",
        "192.0.2.10\n192.0.2.9\n",
        "192.0.2.9",
        "9.9.9.9\n# mine\n",
        "9.9.9.9\r\n",
    ],
)
def test_every_other_content_is_drift_and_replaced(path: Path, damage: str) -> None:
    """Also the right networks in another order, or without the last newline."""
    enforce(path)
    right = path.read_text()
    path.write_text(damage, newline="")
    enforce(path)
    assert path.read_text() == right
    path.write_text("".join(sorted(right.splitlines(keepends=True), reverse=True)))
    enforce(path)
    assert path.read_text() == right


@pytest.mark.parametrize("damage", ["192.0.2.9\n", "9.9.9.9\n192.0.2.9\n", "x", "192.0.2.9\r\n"])
def test_a_change_is_confirmed_to_the_byte(path: Path, damage: str) -> None:
    """A line less, more or other is none."""
    backend = File(Settings(str(path), ("true",)))
    made = needed(backend)
    assert made is not None
    assert not backend.confirm(made)
    backend.apply(made)
    assert backend.confirm(made)
    right = path.read_text()
    path.write_text(right.replace("192.0.2.9\n", "" if damage == "192.0.2.9\n" else damage))
    assert not backend.confirm(made)
    path.write_text(right)
    path.with_name(".list.pending").touch()
    assert not backend.confirm(made)


def test_what_stands_for_ipv4_is_read_as_ipv4(path: Path) -> None:
    """However it is spelt, but a longer zero run is IPv6."""
    for text in ("::ffff:192.0.2.9\n", "::FFFF:c000:209\n", "1.1.1.1\n::ffff:192.0.2.9/128\n"):
        path.write_text(text)
        assert Network.parse("192.0.2.9") in File(Settings(str(path))).observe().banned
    path.write_text("::192.0.2.9\n")
    assert str(*File(Settings(str(path))).observe().banned) == "::192.0.2.9"


def test_the_command_runs_after_a_change(path: Path, tmp_path: Path) -> None:
    """And finds the new list."""
    enforce(path, "cp", str(path), str(tmp_path / "seen"))
    assert (tmp_path / "seen").read_text() == path.read_text()


@pytest.mark.parametrize("command", ["false", "/nonexistent", "/etc/passwd"])
def test_a_command_that_failed_is_run_again_by_the_next_pass(path: Path, command: str) -> None:
    """Also one that cannot be run at all; until it was, the list is not in sync."""
    backend = File(Settings(str(path), (command,)))
    made = needed(backend)
    assert made is not None
    with pytest.raises(BackendError, match="the command behind it failed"):
        backend.apply(made)
    assert needed(backend) is not None
    enforce(path, "true")
    assert needed(File(Settings(str(path), ("false",)))) is None


def test_a_command_may_leave_something_running(path: Path) -> None:
    """Only its own end counts, not that of what it started."""
    start = time.monotonic()
    enforce(path, "sh", "-c", "sleep 5 & exit 0")
    assert time.monotonic() - start < 4


def test_other_peoples_files_are_not_overwritten(tmp_path: Path) -> None:
    """A file without a single network, a device and a pipe are no blocklist."""
    (tmp_path / "passwd").write_text("root:x:0:0\n")
    (tmp_path / "hosts").write_text("# by hand\n10.0.0.1\nserver {}\n")
    os.mkfifo(tmp_path / "pipe")
    for name in ("passwd", "hosts", "pipe", "/dev/null"):
        backend = File(Settings(str(tmp_path / name)))
        for touch in (backend.observe, backend.teardown):
            with pytest.raises(BackendUnreadable, match=r"not a blocklist|not a regular file"):
                touch()
    with pytest.raises(ValueError, match="not an absolute path"):
        Settings("list")


def test_what_cannot_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    """A directory in its place is not an empty list; a missing one is named."""
    with pytest.raises(BackendUnreadable, match="is not a regular file"):
        File(Settings(str(tmp_path))).observe()
    missing = File(Settings(str(tmp_path / "no" / "list")))
    made = needed(missing)
    assert made is not None
    with pytest.raises(BackendFailed, match="cannot write it: No such file"):
        missing.apply(made)


def test_an_empty_list_is_in_sync_with_nothing(path: Path) -> None:
    """The file stands, without a line."""
    backend = File(Settings(str(path)))
    made = plan(desired([], []), backend.observe())
    assert made is not None
    backend.apply(made)
    assert backend.observe() == Observed(passed=None)


def test_another_file_beside_the_list_is_left_alone(path: Path) -> None:
    """Where the mark of a command that is due would stand: it is told, and neither goes."""
    enforce(path, "true")
    beside = path.with_name(".list.pending")
    beside.write_text("mine")
    backend = File(Settings(str(path), ("true",)))
    for touch in (backend.observe, backend.teardown):
        with pytest.raises(BackendUnreadable, match="not the empty file that treason"):
            touch()
    assert (beside.read_text(), path.exists()) == ("mine", True)
    beside.unlink()
    beside.symlink_to(path)
    with pytest.raises(BackendUnreadable, match="not the empty file that treason"):
        backend.observe()
    assert path.read_text()
