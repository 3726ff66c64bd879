"""The source file, while it is waited for: rotation, pipes, and what it costs."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import define, field
from harness import REAL_ROOT

from reconciler import Record, SourceUnreadable
from reconciler.execute import run
from sources.file import Settings, rotation
from sources.file.source import File


@define
class Followed:
    """A log that is waited for, as the resident process does it."""

    path: Path
    source: File = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.source = File(Settings(str(self.path)))
        self.source.fileno()

    def woken(self) -> bool:
        """Whether more may have come."""
        poll = select.poll()
        poll.register(self.source.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def read(self) -> list[str]:
        """Read what came."""
        return [record.text for record in self.source.read(self.source.cursor(), ())]

    def come(self) -> list[str]:
        """Read as long as something wakes."""
        found: list[str] = []
        for _ in range(10):
            if not self.woken():
                return found
            found += self.read()
        raise AssertionError("it wakes again and again")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Followed]:
    """A log of one line, which was read."""
    path = tmp_path / "kern.log"
    path.write_text("one\n")
    followed = Followed(path)
    assert followed.read() == ["one"]
    yield followed
    followed.source.close()


def append(path: Path, text: str) -> None:
    """Write at the end."""
    with path.open("a") as file:
        file.write(text)


def test_a_rotated_log_is_followed(log: Followed) -> None:
    """What its writer still adds to the old file, and what comes in the new one."""
    for number in range(3):
        with log.path.open("a", buffering=1) as writer:
            writer.write(f"before {number}\n")
            log.path.rename(log.path.with_name(f"kern.log.{9 - number}"))
            assert log.come() == [f"before {number}"]
            writer.write(f"between {number}\n")
            assert log.come() == [f"between {number}"]
            log.path.touch()
            assert log.come() == []
            writer.write(f"after {number}\n")
            assert log.come() == [f"after {number}"]
    append(log.path, "last\n")
    assert log.come() == ["last"]
    assert log.source.notes() == []


def test_a_log_that_is_rotated_between_two_looks_is_read_to_its_end(log: Followed) -> None:
    """However much happened meanwhile."""
    append(log.path, "two\n")
    log.path.rename(log.path.with_name("kern.log.1"))
    append(log.path, "three\n")
    assert log.come() == ["two", "three"]


def test_a_truncated_log_is_followed(log: Followed) -> None:
    """copytruncate: the copy has what was not read, and the log begins anew."""
    append(log.path, "two\n")
    shutil.copy(log.path, log.path.with_name("kern.log.1"))
    os.truncate(log.path, 0)
    append(log.path, "three\n")
    assert log.come() == ["two", "three"]
    append(log.path, "four\n")
    assert log.come() == ["four"]


def test_a_log_that_is_longer_than_before_it_was_truncated_is_another_one(log: Followed) -> None:
    """Its length alone says nothing."""
    shutil.copy(log.path, log.path.with_name("kern.log.1"))
    log.path.write_text("a much longer first line\nand a second\n")
    assert log.come() == ["a much longer first line", "and a second"]


def test_a_log_that_is_missing_is_unreadable_until_it_is_made(tmp_path: Path) -> None:
    """It wakes when it is made, also where its directory is made only then."""
    log = Followed(tmp_path / "later" / "kern.log")
    for _ in range(2):
        with pytest.raises(SourceUnreadable, match="No such file"):
            log.read()
        assert not log.woken()
    log.path.parent.mkdir()
    with pytest.raises(SourceUnreadable, match="No such file"):
        log.come()
    append(log.path, "one\n")
    assert log.come() == ["one"]
    log.path.unlink()
    with pytest.raises(SourceUnreadable, match="No such file"):
        log.come()
    append(log.path, "two\n")
    assert log.come() == ["two"]
    log.source.close()


@pytest.mark.skipif(not REAL_ROOT, reason="needs root, to mount a file system")
def test_a_log_whose_file_system_goes_away_is_unreadable(tmp_path: Path) -> None:
    """It wakes; and is read again, when it is tried, once the file system is back."""
    (tmp_path / "disk").mkdir()
    run(["mount", "-t", "tmpfs", "treason-test", str(tmp_path / "disk")])
    try:
        append(tmp_path / "disk" / "kern.log", "one\n")
        log = Followed(tmp_path / "disk" / "kern.log")
        assert log.read() == ["one"]
        run(["umount", str(tmp_path / "disk")])
        with pytest.raises(SourceUnreadable, match="No such file"):
            log.come()
        assert not log.woken()
        run(["mount", "-t", "tmpfs", "treason-test", str(tmp_path / "disk")])
        append(tmp_path / "disk" / "kern.log", "two\n")
        log.source.close()
        log.source.fileno()
        assert log.read() == ["two"]
        log.source.close()
    finally:
        run(["umount", str(tmp_path / "disk")])


def test_a_log_that_may_not_be_read_wakes_when_it_may(log: Followed) -> None:
    """Its mode is changed."""
    log.path.chmod(0o200)
    with suppress(SourceUnreadable):  # root may read all the same
        log.come()
    assert not log.woken()
    append(log.path, "two\n")
    log.path.chmod(0o600)
    assert log.woken()
    assert log.come() == ["two"]


def test_a_link_is_followed_to_the_directory_of_its_log(tmp_path: Path) -> None:
    """Rotation happens there."""
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "kern.log"
    target.write_text("one\n")
    (tmp_path / "kern.log").symlink_to(target)
    log = Followed(tmp_path / "kern.log")
    assert log.read() == ["one"]
    append(target, "two\n")
    target.rename(target.with_name("kern.log.1"))
    append(target, "three\n")
    assert log.come() == ["two", "three"]
    other = tmp_path / "disk" / "other.log"
    other.write_text("another\n")
    (tmp_path / "next").symlink_to(other)
    (tmp_path / "next").rename(tmp_path / "kern.log")
    assert log.come() == ["another"]
    log.source.close()


def test_a_line_is_read_when_it_is_whole(log: Followed) -> None:
    """An address may go on."""
    append(log.path, "Peer 192.0.2.1")
    assert log.come() == []
    append(log.path, "23 went\n")
    assert log.come() == ["Peer 192.0.2.123 went"]


def test_a_log_that_stays_the_same_file_is_not_looked_for(
    log: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its directory nor its generations are read; after a change of names they are."""
    looked: list[str] = []

    def counting(path: str, *rest: object, **options: object) -> object:
        looked.append(path)
        return rotation.unread(path, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("sources.file.source.unread", counting)
    for number in range(5):
        append(log.path, f"{number}\n")
        assert log.come() == [str(number)]
    assert looked == []
    log.path.rename(log.path.with_name("kern.log.1"))
    append(log.path, "new\n")
    assert log.come() == ["new"]
    assert looked


def test_what_cannot_be_watched_any_more_is_unreadable(
    log: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read that nothing would wake for; once it can be, all is read."""
    monkeypatch.setattr("reconciler.inotify._libc", _full)
    append(log.path, "two\n")
    assert log.come() == ["two"]  # this file is watched already
    log.path.rename(log.path.with_name("kern.log.1"))
    append(log.path, "three\n")
    for _ in range(2):
        with pytest.raises(SourceUnreadable, match="limit of inotify watches is reached"):
            log.read()
        assert not log.woken()
    with pytest.raises(SourceUnreadable, match="limit of inotify watches is reached"):
        File(Settings(str(log.path))).fileno()
    monkeypatch.undo()
    assert log.read() == ["three"]


def _full(name: str, *_arguments: int | bytes) -> int:
    raise OSError(28, "No space left on device")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_named_pipe_outlives_its_writers(pipe: Path) -> None:
    """Each line is read when it is whole; a writer that ends may be followed by another."""
    log = Followed(pipe)
    assert log.read() == []
    for number in range(3):
        with pipe.open("w") as writer:
            writer.write(f"{number} one\n{number} tw")
            writer.flush()
            assert log.come() == [f"{number} one"]
            writer.write(f"o\n{number} end")
        assert log.come() == [f"{number} two", f"{number} end"]
    assert not log.woken()
    pipe.unlink()
    os.mkfifo(pipe)
    log.come()
    with pipe.open("w") as writer:
        writer.write("a new pipe\n")
        writer.flush()
        assert log.come() == ["a new pipe"]
    log.source.close()


def test_a_record_by_a_pipe_is_no_two(pipe: Path) -> None:
    """Its second line has its stamp, though it came later."""
    log = Followed(pipe)
    log.read()
    with pipe.open("w") as writer:
        for text in ("first\n", "forged\n"):
            writer.write(f"[    5.000000] {text}")
            writer.flush()
            found = log.come()
            assert found == (["first"] if text == "first\n" else [])
    log.source.close()


def test_a_line_without_end_is_not_held(pipe: Path) -> None:
    """What is too long is no record, and neither is its end."""
    log = Followed(pipe)
    log.read()
    with pipe.open("w") as writer:
        for _ in range(64):
            writer.write("x" * 60_000)
            writer.flush()
            assert log.come() == []
        writer.write("the end of it\nnext\n")
        writer.flush()
        assert log.come() == ["next"]
    log.source.close()


STDIN = """
import select, sys
from reconciler import SourceUnreadable
from sources.file import Settings
from sources.file.source import File
source = File(Settings("-"))
poll = select.poll()
poll.register(source.fileno(), select.POLLIN)
try:
    while True:
        for record in source.read(source.cursor(), ()):
            print(record.text, flush=True)
        if not poll.poll(20_000):
            print("waits", flush=True)
except SourceUnreadable as error:
    print(error.what, bool(poll.poll(0)), flush=True)
"""


def test_standard_input_is_read_until_it_ends() -> None:
    """Then nothing more can come, which is an error, and wakes no more."""
    with subprocess.Popen(
        [sys.executable, "-c", STDIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in ("one", "two"):
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{text}\n"
        process.stdin.close()
        assert process.stdout.read() == ("'-' has ended: no program writes to it any more False\n")


def test_a_file_on_standard_input_is_followed(tmp_path: Path) -> None:
    """As by its name, though another program opened it."""
    path = tmp_path / "kern.log"
    path.write_text("one\n")
    with (
        path.open() as file,
        subprocess.Popen(
            [sys.executable, "-c", STDIN], stdin=file, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        append(path, "two\n")
        assert process.stdout.readline() == "two\n"
        process.kill()


def test_nothing_is_left_open(log: Followed) -> None:
    """After many rotations as after none."""
    log.come()
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are what is compared
    for number in range(20):
        log.path.rename(log.path.with_name("kern.log.1"))
        append(log.path, f"{number}\n")
        assert log.come() == [str(number)]
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
    [told] = filter(None, (_watches(descriptor) for descriptor in before))
    assert told <= len(log.path.parts) + 1


def _watches(descriptor: str) -> int:
    """Count what an open file watches (proc(5), fdinfo)."""
    try:
        return Path("/proc/self/fdinfo", descriptor).read_text().count("inotify wd:")
    except FileNotFoundError:
        return 0


def test_records_keep_their_order_over_reads(log: Followed) -> None:
    """Many small reads give what one large one gives."""
    texts = [f"line {number}" for number in range(300)]
    found: list[str] = []
    for text in texts:
        append(log.path, f"{text}\n")
        found += log.come()
    whole: list[Record] = [*File(Settings(str(log.path))).read(None, ())]
    assert found == texts == [record.text for record in whole][1:]


WRITER = """
import os, random, sys, time
path, chance = sys.argv[1], random.Random(int(sys.argv[2]))
number, log = 0, open(path, "ab", 0)
def write(count):
    global number
    for number in range(number + 1, number + 1 + count):
        log.write(b"[%d.000000] line %d\\n" % (number, number))
        time.sleep(chance.choice((0, 0, 0, 0.0005)))
while number < 2000:
    write(chance.randrange(1, 200))
    for age in range(9, 0, -1):
        if os.path.exists(f"{path}.{age}"):
            os.rename(f"{path}.{age}", f"{path}.{age + 1}")
    os.rename(path, f"{path}.1")
    write(chance.randrange(20))
    if chance.random() < 0.5:
        open(path, "ab").close()
    write(chance.randrange(5))
    log = open(path, "ab", 0)
print(number)
"""


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_while_a_log_is_rotated(log: Followed, seed: int) -> None:
    """Whatever the writer does at which moment, who goes on with the old file for a while."""
    found: list[str] = []
    poll = select.poll()
    poll.register(log.source.fileno(), select.POLLIN)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log.path), str(seed)], stdout=subprocess.PIPE, text=True
    ) as writer:
        while poll.poll(100) or writer.poll() is None:
            found += log.read()
        found += log.come()
        assert writer.stdout is not None
        number = int(writer.stdout.read())
    assert found == [f"line {each}" for each in range(1, number + 1)]
    assert log.source.notes() == []
