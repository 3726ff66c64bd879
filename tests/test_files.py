"""Reading a file as a whole, with an end; and replacing it."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from harness import REAL_ROOT, Place
from pytest_mock import MockerFixture

from reconciler import TreasonError, files
from reconciler.planning.protection import Protect, protected


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that nobody writes to."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1, 3 << 20])
def test_a_file_is_read_whole(size: int, tmp_path: Path) -> None:
    """Up to the limit, and not a byte more."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    assert files.content(path, size) == path.read_bytes()
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(OSError, match=rf"it holds more than {size >> 20} MiB") as told:
        files.content(path, size)
    assert told.value.filename == str(path)


def test_a_file_that_does_not_say_how_long_it_is_has_the_same_limit() -> None:
    """As those of proc(5) do, whose size is 0."""
    path = Path("/proc/self/maps")
    assert files.content(path, 1 << 24).count(b"\n") > 10
    with pytest.raises(OSError, match="it holds more than 0 MiB"):
        files.content(path, 100)


@pytest.mark.parametrize("device", ["zero", "random", "full"])
def test_a_device_is_no_file(device: str) -> None:
    """Nothing is read of it."""
    with pytest.raises(OSError, match="it is a device, not a file"):
        files.content(Path("/dev", device), 1 << 20)


def test_a_directory_is_no_file_and_the_bit_bucket_an_empty_one(tmp_path: Path) -> None:
    """As for every program."""
    with pytest.raises(IsADirectoryError):
        files.content(tmp_path, 1)
    with pytest.raises(FileNotFoundError):
        files.content(tmp_path / "absent", 1)
    assert files.content(Path("/dev/null"), 1) == b""


def test_a_pipe_is_read_to_its_end(pipe: Path) -> None:
    """In the pieces that its writer gives, however late."""

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for piece in (b"one ", b"two ", b"three"):
                time.sleep(0.02)
                file.write(piece)

    thread = threading.Thread(target=write)
    thread.start()
    assert files.content(pipe, 100) == b"one two three"
    thread.join()


def test_a_pipe_without_end_has_the_limit(pipe: Path) -> None:
    """Its writer is not waited for."""

    def write() -> None:
        with suppress(BrokenPipeError), pipe.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.raises(OSError, match="it holds more than 2 MiB"):
        files.content(pipe, 2 << 20)
    thread.join()


def test_a_pipe_that_nobody_writes_to_is_told(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, but not for ever."""
    monkeypatch.setattr(files, "_WRITER", 0.02)
    with pytest.raises(OSError, match="no program writes to this pipe"):
        files.content(pipe, 100)


@pytest.mark.parametrize("first", [b"", b"something"])
def test_a_pipe_that_nobody_closes_is_told(
    first: bytes, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether anything was written or not."""
    monkeypatch.setattr(files, "_WRITER", 0.02)
    monkeypatch.setattr(files, "_WRITTEN", 0.1)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, first)
    with pytest.raises(OSError, match=r"it had no end within 0\.1 s"):
        files.content(pipe, 100)
    os.close(writer)


@pytest.mark.parametrize("name", ["treason.toml", "whitelist.toml", "observed.json", "list"])
@pytest.mark.parametrize("what", ["zero", "directory", "pipe", "hole"])
def test_every_file_that_people_name_is_bounded(
    name: str, what: str, place: Place, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told in a line which one and what is wrong with it, and nothing is done."""
    monkeypatch.setattr(files, "_WRITER", 0.02)
    path = place.path / name
    path.unlink(missing_ok=True)
    match what:
        case "zero":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "pipe":
            path.symlink_to(pipe)
        case _:
            path.touch()
            os.truncate(path, 1 << 40)
    observed = ("--observed", str(path)) if name == "observed.json" else ()
    backend = ("--backend", f"file:{place.path}/list")
    result = place.treason("reconcile", "--check", "--no-scan", *backend, *observed)
    assert (result.code, len(result.err.splitlines()) <= 2) == (1, True)
    assert str(path) in result.err or str(path.resolve()) in result.err
    said = {"zero": "device", "directory": "directory", "pipe": "pipe", "hole": "it holds more"}
    assert said[what] in result.err or (name, "not a regular file" in result.err) == ("list", True)


def test_a_resolver_file_without_end_is_told(tmp_path: Path) -> None:
    """What is to be protected is not known then."""
    path = tmp_path / "etc" / "resolv.conf"
    path.parent.mkdir()
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(TreasonError, match=r"resolv\.conf: cannot find out .* more than 1 MiB"):
        protected(Protect(), (), tmp_path)


def test_a_new_file_gets_the_mode_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    """The umask does not matter."""
    path = tmp_path / "list"
    files.replace(path, "one\n", mode=0o644)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o640)
    files.replace(path, "two\n", mode=0o644)
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o640, "two\n")


@pytest.mark.skipif(not REAL_ROOT, reason="only root can give files away")
def test_an_old_file_keeps_its_owner(tmp_path: Path) -> None:
    """Whoever owned it can still write it."""
    path = tmp_path / "list"
    path.touch()
    os.chown(path, 65534, 65534)
    files.replace(path, "x", mode=0o644)
    assert path.stat().st_uid == 65534


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The file behind it is replaced, the link stays."""
    (tmp_path / "link").symlink_to(tmp_path / "list")
    files.replace(tmp_path / "link", "x", mode=0o644)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "list").read_text() == "x"


@pytest.mark.parametrize("call", ["os.fsync", "os.fchmod"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, mocker: MockerFixture
) -> None:
    """A full disk, for one."""
    path = tmp_path / "list"
    path.write_text("old")
    mocker.patch(call, side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, "new", mode=0o644)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("list", "old")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EACCES, "rights"),
    ],
)
def test_a_disk_has_a_remedy_of_its_own(code: int, said: str) -> None:
    """Whatever else could be wrong with the file."""
    assert files.remedy(OSError(code, os.strerror(code)), "see its rights").find(said) >= 0


def killed(path: Path) -> Path:
    """Let a writer of a file be killed before it is done, and return what it leaves."""
    code = (
        "import os, sys; from pathlib import Path; from reconciler import files\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "files.replace(Path(sys.argv[1]), 'half', mode=0o644)"
    )
    before = {*path.parent.iterdir()}
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    [found] = {*path.parent.iterdir()} - before
    return found


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Also through a link; one beside it that belongs to another file stays until its turn."""
    path = tmp_path / "list"
    path.write_text("old")
    (tmp_path / "link").symlink_to(path)
    found, other = killed(path), killed(tmp_path / "list.two")
    assert files.left(tmp_path / "link") == [found]
    assert path.read_text() == "old"
    files.replace(tmp_path / "link", "new", mode=0o644)
    assert {*tmp_path.iterdir()} == {path, tmp_path / "link", other}


def test_two_who_write_at_once_leave_each_other_alone(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    """Who lives is not swept away; the last one to finish is right."""
    path = tmp_path / "list"
    synced = os.fsync

    def meanwhile(descriptor: int) -> None:
        mocker.patch("os.fsync", synced)
        assert files.left(path) == []
        files.replace(path, "second", mode=0o644)
        assert path.read_text() == "second"
        synced(descriptor)

    mocker.patch("os.fsync", meanwhile)
    files.replace(path, "first", mode=0o644)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("list", "first")]


def test_who_was_swept_away_before_he_had_the_lock_begins_again(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    """Between the making of a file and its lock it looks like a dead one's."""
    path, lock = tmp_path / "list", fcntl.flock
    locks: list[int] = []

    def late(descriptor: int, how: int) -> None:
        if not locks:
            [made] = tmp_path.iterdir()
            made.unlink()
        locks.append(how)
        lock(descriptor, how)

    mocker.patch("fcntl.flock", late)
    files.replace(path, "new", mode=0o644)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("list", "new")]
    assert len(locks) == 2


def test_what_only_looks_like_one_stays(tmp_path: Path) -> None:
    """A copy of somebody's, a link, a directory, a pipe."""
    path = tmp_path / "list"
    (tmp_path / ".list.original").write_text("mine")
    (tmp_path / ".list.treason-mine").write_text("mine")
    (tmp_path / ".list.treason-2026.bak").write_text("mine")
    (tmp_path / ".list.treason-abcdefg1").symlink_to(tmp_path / ".list.original")
    (tmp_path / ".list.treason-abcdefg2").mkdir()
    os.mkfifo(tmp_path / ".list.treason-abcdefg3")
    before = {*tmp_path.iterdir()}
    assert files.left(path) == []
    files.replace(path, "new", mode=0o644)
    assert {*tmp_path.iterdir()} == before | {path}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_what_somebody_else_put_there_is_no_reason_to_write(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    """In a directory like /tmp it can be made by anybody, and removed by him alone."""
    found = killed(tmp_path / "list")
    os.chown(found, 4321, 4321)
    assert files.left(tmp_path / "list") == [found]
    mocker.patch("os.geteuid", return_value=1234)
    assert files.left(tmp_path / "list") == []


def test_a_file_system_without_locks_can_be_written(tmp_path: Path, mocker: MockerFixture) -> None:
    """As NFS is without its lock daemon; what is killed there stays."""
    mocker.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available"))
    found = killed(tmp_path / "list")
    files.replace(tmp_path / "list", "new", mode=0o644)
    assert (tmp_path / "list").read_text() == "new"
    assert {*tmp_path.iterdir()} == {found, tmp_path / "list"}


@pytest.mark.parametrize("of", ["list", ".list.pending"])
def test_a_pass_removes_what_a_killed_one_left(place: Place, of: str) -> None:
    """Though nothing else is to be changed; a check sees it, and removes nothing."""
    place.configure(
        f'[backend.file]\npath = "{place.path}/list"\ncommand = ["true"]',
        main='backends = ["file"]',
    )
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    found = killed(place.path / of)
    checked = place.treason("reconcile", "--check", "--no-scan")
    assert (checked.code, f"{found}: was left by an interrupted write" in checked.out) == (2, True)
    assert found.exists()
    assert place.treason("reconcile", "--no-scan").code == 0
    assert not found.exists()
    assert place.treason("reconcile", "--check", "--no-scan").code == 0


def test_a_pass_removes_what_a_killed_writer_of_the_whitelist_left(place: Place) -> None:
    """Whoever wrote it."""
    place.configure(f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file"]')
    place.treason("whitelist", "add", "192.0.2.7")
    found = killed(place.path / "whitelist.toml")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert not found.exists()
