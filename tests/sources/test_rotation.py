"""The source file beside whatever rotates its log: each line once, and in order."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import tracemalloc
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from harness import DATA, REAL_ROOT
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from reconciler import SourceUnreadable
from reconciler.execute import run
from sources.file import Settings
from sources.file.generations import Listing, listing
from sources.file.rotation import Unread, unread
from sources.file.source import File


class Rotating(RuleBasedStateMachine):
    """A log that is written, rotated in every way, and read between any two steps.

    ``pending`` is what was written and not read; of an unfinished last line, ``written`` stands
    in the log, and ``seen`` of it was read.
    """

    dated = False
    olddir = ""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.log = Path(self.directory.name) / "kern.log"
        self.log.touch()
        self.number = 0
        self.rotations = 0
        self.pending: list[str] = []
        self.written = self.seen = ""
        self.cursor: str | None = None
        self.fresh = False
        self.copy: Path | None = None
        self.packing: Path | None = None

    def teardown(self) -> None:
        """Remove the log."""
        self.directory.cleanup()

    def generations(self) -> list[Path]:
        """Return them, newest first."""
        found = self.log.parent.glob("kern.log?*")
        if self.dated:
            return sorted(found, reverse=True)
        return sorted(found, key=lambda path: int(path.name.split(".")[2]))

    def next_name(self) -> Path:
        """Make room for a generation."""
        self.fresh = False
        self.rotations += 1
        if self.dated:
            return self.log.with_name(f"kern.log-2026{self.rotations // 28 + 1:02d}"
                                      f"{self.rotations % 28 + 1:02d}")  # fmt: skip
        for path in reversed(self.generations()):
            _, _, number, *packing = path.name.split(".")
            path.rename(path.with_name(".".join(["kern.log", str(int(number) + 1), *packing])))
        return self.log.with_name("kern.log.1")

    def text(self, length: int) -> str:
        """Make a line that no other is like."""
        self.number += 1
        return f"{self.number:06d}" + "x" * length

    def append(self, text: str) -> None:
        """Write at the end, as a logging daemon does."""
        self.fresh &= self.log.exists()
        with self.log.open("a") as file:
            file.write(text)

    def finish(self, rest: str) -> None:
        """End the line."""
        whole, self.written = self.written + rest, ""
        if whole != self.seen:
            self.pending.append(whole)
        self.seen = ""

    @precondition(lambda self: not self.copy)
    @rule(
        lengths=st.lists(st.sampled_from([0, 1, 30, 600, 2000]), min_size=1, max_size=4),
        half=st.booleans(),
    )
    def write(self, lengths: list[int], half: bool) -> None:
        """Write lines; the last one is without its end, or not."""
        if self.written:
            self.append("\n")
            self.finish("")
        for length in lengths[: -1 if half else None]:
            self.append(f"{(text := self.text(length))}\n")
            self.finish(text)
        if half:
            self.written = self.text(lengths[-1])
            self.append(self.written)

    @precondition(lambda self: self.written and not self.copy)
    @rule(rest=st.sampled_from(["", "y", "y" * 1500]), ends=st.booleans())
    def go_on(self, rest: str, ends: bool) -> None:
        """Write more of the last line."""
        self.append(rest + "\n" * ends)
        if ends:
            self.finish(rest)
        else:
            self.written += rest

    @precondition(lambda self: not (self.copy or self.packing) and self.log.exists())
    @rule(packed=st.booleans(), created=st.booleans())
    def rename(self, packed: bool, created: bool) -> None:
        """Rotate by a new name; whoever writes next makes the log, or it is made at once."""
        name = self.next_name()
        self.log.rename(name)
        if created:
            self.log.touch()
        self.cut()
        if packed:
            self.pack(name)

    @precondition(lambda self: not (self.copy or self.packing) and self.log.exists())
    @rule(share=st.floats(0, 1))
    def start_copy(self, share: float) -> None:
        """Begin to rotate by ``copytruncate``."""
        name = self.next_name()
        content = self.log.read_bytes()
        name.write_bytes(content[: int(len(content) * share)])
        self.copy = name

    @precondition(lambda self: self.copy)
    @rule(packed=st.booleans())
    def truncate(self, packed: bool) -> None:
        """End it."""
        assert self.copy
        shutil.copyfile(self.log, self.copy)
        os.truncate(self.log, 0)
        self.cut()
        if packed:
            self.pack(self.copy)
        self.copy = None

    def cut(self) -> None:
        """What stands in the log now stays as it is."""
        self.fresh = False
        if self.written:
            self.finish("")

    def pack(self, path: Path) -> None:
        """Pack a generation."""
        content = path.read_bytes()
        suffix, packed = [
            ("gz", gzip.compress(content)),
            ("bz2", bz2.compress(content)),
            ("xz", lzma.compress(content)),
        ][self.number % 3]
        path.with_name(f"{path.name}.{suffix}").write_bytes(packed)
        path.unlink()

    @precondition(lambda self: not (self.copy or self.packing))
    @rule()
    def start_packing(self) -> None:
        """Begin to pack the newest generation, as ``delaycompress`` does later than the rest."""
        for path in self.generations()[:1]:
            if path.suffix not in {".gz", ".bz2", ".xz"}:
                packed = gzip.compress(path.read_bytes())
                path.with_name(f"{path.name}.gz").write_bytes(packed[: len(packed) // 2])
                self.packing = path

    @precondition(lambda self: self.packing)
    @rule()
    def end_packing(self) -> None:
        """End it."""
        assert self.packing
        packed = self.packing.with_name(f"{self.packing.name}.gz")
        packed.write_bytes(gzip.compress(self.packing.read_bytes()))
        self.packing.unlink()
        self.packing = None

    @rule()
    def move_to_another_disk(self) -> None:
        """Let every file have another inode."""
        for path in [self.log, *self.generations()]:
            if path.exists():
                shutil.copy2(path, copy := path.with_name("copy"))
                copy.replace(path)

    @precondition(lambda self: self.fresh and not self.packing and self.log.exists())
    @rule()
    def remove_the_oldest(self) -> None:
        """Remove a generation that was read, but not the one that was read last."""
        for path in self.generations()[-1:]:
            path.unlink()

    @rule()
    def read(self) -> None:
        """Read what is new: a pass."""
        source = File(Settings(str(self.log), olddir=self.olddir))
        texts = [record.text for record in source.read(self.cursor, ())]
        unfinished = [self.written] if self.written != self.seen else []
        assert texts == self.pending + unfinished
        assert source.notes() == []
        self.cursor = source.cursor()
        self.pending = []
        self.seen = self.written
        # While the log is empty, the writer may still be at the one before: its end is waited for.
        self.fresh = not self.copy and self.log.exists() and self.log.stat().st_size > 0


class DatedRotating(Rotating):
    """The same with dates in the names."""

    dated = True


class MovedRotating(Rotating):
    """The same in another directory, with names that keep the extension."""

    olddir = "old"

    def __init__(self) -> None:
        super().__init__()
        self.log.with_name("old").mkdir()

    def generations(self) -> list[Path]:
        """Return them, newest first."""
        found = self.log.with_name("old").iterdir()
        return sorted(found, key=lambda path: int(path.name.split(".")[1]))

    def next_name(self) -> Path:
        """Make room for a generation."""
        self.fresh = False
        for path in reversed(self.generations()):
            stem, number, *rest = path.name.split(".")
            path.rename(path.with_name(".".join([stem, str(int(number) + 1), *rest])))
        return self.log.with_name("old") / "kern.1.log"


for machine in (Rotating, DatedRotating, MovedRotating):
    machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestNumbered = Rotating.TestCase
TestDated = DatedRotating.TestCase
TestMoved = MovedRotating.TestCase


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one line."""
    path = tmp_path / "kern.log"
    path.write_text("last\n")
    return path


def read(
    log: Path, cursor: str | None = None, rotated: bool = True
) -> tuple[list[str], list[str], str]:
    """Return the texts that are read, what is said, and the cursor."""
    source = File(Settings(str(log), rotated=rotated))
    texts = [record.text for record in source.read(cursor, ())]
    return texts, source.notes(), source.cursor() or ""


def append(log: Path, text: str) -> None:
    """Write at the end."""
    with log.open("a") as file:
        file.write(text)


def beside(log: Path, suffix: str, content: bytes | str) -> Path:
    """Write a file beside the log."""
    path = log.with_name(log.name + suffix)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


GENERATIONS = [
    [".10", ".9.gz", ".2", ".1", ".0"],
    ["-20251231", "-20261119.gz", "-20261120"],
    ["-2026112009", "-2026112010", "-20261121"],
    [".2026-11-19", ".2026-11-20.xz", "-20261121"],
    ["-1732490000", "-1732490001.bz2"],
    ["-20261120-1732490000", "-20261120-1732490001"],
    ["_20261119", "-20261120T010203", "-20261120T010204.zst"],
    ["-202610", "-202611"],
    ["-2026-09", "-2026-48.gz", "-2027-01"],
    [".2.gzip", ".1.zstd"],
]


@pytest.mark.parametrize("suffixes", GENERATIONS, ids="".join)
def test_generations_are_in_the_order_of_their_names(log: Path, suffixes: list[str]) -> None:
    """Whatever the times of the files say."""
    for time, suffix in enumerate(reversed(suffixes)):
        os.utime(beside(log, suffix, ""), (time, time))
    assert [each.path for each in listing(str(log)).generations] == [
        f"{log}{each}" for each in suffixes
    ]


def test_a_changed_way_of_rotating_orders_by_the_time_of_the_change(log: Path) -> None:
    """All of one kind are older than all of the other: which, only their times tell."""
    for time, suffix in enumerate([".2", ".1", "-20261119", "-20261120"]):
        os.utime(beside(log, suffix, ""), (time, time))
    paths = [each.path.removeprefix(str(log)) for each in listing(str(log)).generations]
    assert paths == [".2", ".1", "-20261119", "-20261120"]
    os.utime(log.with_name("kern.log.1"), (9, 9))
    paths = [each.path.removeprefix(str(log)) for each in listing(str(log)).generations]
    assert paths == ["-20261119", "-20261120", ".2", ".1"]


@pytest.mark.parametrize(
    "suffix",
    [".conf", ".bak", "~", ".1~", ".1.gz.tmp", "1", "-", ".１", "-audit", ".gzip.log"],
)
def test_other_files_are_no_generations(log: Path, suffix: str) -> None:
    """Only a number or a date makes a name one of the log's."""
    beside(log, suffix, "other\n")
    assert read(log)[:2] == (["last"], [])


def test_directories_and_links_are_no_generations(log: Path) -> None:
    """Only files that stand there themselves."""
    log.with_name("kern.log.1").mkdir()
    log.with_name("kern.log.2").symlink_to(beside(log, ".bak", "other\n"))
    assert read(log)[:2] == (["last"], [])


def test_the_first_reading_begins_with_the_oldest(log: Path) -> None:
    """Packed or not, then the log itself; and nothing again."""
    beside(log, ".3.xz", lzma.compress(b"first\n"))
    beside(log, ".2.gz", gzip.compress(b"second\n") + gzip.compress(b"third\n"))
    beside(log, ".1", "fourth\n")
    texts, notes, cursor = read(log)
    assert (texts, notes) == (["first", "second", "third", "fourth", "last"], [])
    assert read(log, cursor)[0] == []


def test_generations_are_left_alone_where_that_is_set(log: Path) -> None:
    """``rotated = false``: neither at first nor after a rotation, and that is told."""
    beside(log, ".1", "old\n")
    texts, _, cursor = read(log, rotated=False)
    assert texts == ["last"]
    log.rename(log.with_name("kern.log.1"))
    log.write_text("new\n")
    texts, notes, _ = read(log, cursor, rotated=False)
    assert (texts, notes) == (
        ["new"],
        [f"'{log}' was rotated away before its end was read; lines may be lost"],
    )


@pytest.mark.parametrize("damage", ["cut", "changed", "trailing", "none of it"])
def test_a_damaged_generation_is_told_and_the_rest_is_read(log: Path, damage: str) -> None:
    """As much of it as there is, then the newer ones."""
    content = b"".join(b"%06d\n" % (number * 7919) for number in range(50_000))
    packed = gzip.compress(content)
    damaged = {
        "cut": packed[:-1000],
        "changed": packed[:-4000] + b"x" * 10 + packed[-3990:],
        "trailing": packed + b"more",
        "none of it": content,
    }[damage]
    beside(log, ".2.gz", damaged)
    beside(log, ".1", "second\n")
    texts, notes, cursor = read(log)
    assert texts[-2:] == ["second", "last"]
    assert len(notes) == 1
    assert notes[0].startswith(f"'{log}.2.gz' is damaged; its end was not read: ")
    assert damage == "none of it" or texts[0] == "000000"
    assert read(log, cursor)[:2] == ([], [])


@pytest.mark.skipif(not REAL_ROOT, reason="gives a file to another user")
def test_a_generation_of_another_user_is_not_read(log: Path) -> None:
    """Who may write into the directory could name offenders in the log's name."""
    os.chown(beside(log, ".1", "forged\n"), 12345, -1)
    texts, notes, _ = read(log)
    assert texts == ["last"]
    assert notes == [f"'{log}.1' was not read: it belongs to another user than the log"]


def test_a_generation_that_is_gone_is_told(log: Path) -> None:
    """What is newer than it is read, and nothing of what is older again."""
    beside(log, ".1", "old\n")
    _, _, cursor = read(log)
    log.with_name("kern.log.1").rename(log.with_name("kern.log.3"))
    log.unlink()
    beside(log, ".1", "newer\n")
    log.write_text("newest\n")
    texts, notes, cursor = read(log, cursor)
    assert texts == ["newer", "newest"]
    assert notes == [f"'{log}' was rotated away before its end was read; lines may be lost"]
    assert read(log, cursor)[:2] == ([], [])


def test_a_truncated_log_without_a_copy_is_told(log: Path) -> None:
    """Also when it is as long as before."""
    _, _, cursor = read(log)
    log.write_text("next\n")
    texts, notes, _ = read(log, cursor)
    assert (texts, len(notes)) == (["next"], 1)


def test_logs_that_begin_alike_are_told_apart(log: Path) -> None:
    """As those of each boot do; what was read last and what stood before it tell which is which."""
    start = "[    0.000000] Linux version\n" * 50
    for suffix, text in ((".1", "old\n"), ("", "first\n")):
        beside(log, suffix, start + text)
    _, _, cursor = read(log)
    for name, new in ((".2", ".3"), (".1", ".2"), ("", ".1")):
        if (path := log.with_name(f"kern.log{name}")).exists():
            path.rename(log.with_name(f"kern.log{new}"))
    append(log.with_name("kern.log.1"), "second\n")
    log.write_text(start + "third of them\n")
    texts, notes, cursor = read(log, cursor)
    assert notes == []
    assert [text for text in texts if text != "Linux version"] == ["second", "third of them"]
    log.write_text(start + "fourth of them\n")
    texts, notes, _ = read(log, cursor)
    assert len(notes) == 1
    assert [text for text in texts if text != "Linux version"] == ["fourth of them"]


def test_a_log_that_is_truncated_while_it_is_read_is_unreadable(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next pass finds the copy, and nothing is lost."""
    append(log, "x\n" * 50_000)
    _, _, cursor = read(log)
    append(log, "more\n")

    def late(*arguments: Any, **named: Any) -> Unread:
        found = unread(*arguments, **named)
        shutil.copy(log, f"{log}.1")
        os.truncate(log, 0)
        return found

    with monkeypatch.context() as patched:
        patched.setattr("sources.file.source.unread", late)
        with pytest.raises(SourceUnreadable, match="truncated just now"):
            read(log, cursor)
    append(log, "new\n")
    assert read(log, cursor)[:2] == (["more", "new"], [])


def test_an_old_cursor_is_understood(log: Path) -> None:
    """It knows the file by its inode only; nothing of what is older is read."""
    beside(log, ".1", "old\n")
    status = log.stat()
    cursor = f"{status.st_dev}:{status.st_ino}:5:0"
    assert read(log, cursor)[:2] == ([], [])
    append(log, "more\n")
    log.rename(log.with_name("kern.log.1"))
    log.write_text("new\n")
    texts, notes, cursor = read(log, cursor)
    assert (texts, notes) == (["more", "new"], [])
    assert read(log, cursor)[0] == []
    assert read(log, "1:2:3:0")[:2] == (
        ["new"],
        [f"'{log}' was rotated away before its end was read; lines may be lost"],
    )


def test_a_cursor_far_behind_the_end_is_no_position(log: Path) -> None:
    """However far."""
    status = log.stat()
    for offset in (6, 10**18 - 1):
        assert read(log, f"{status.st_dev}:{status.st_ino}:{offset}:{offset}")[0] == ["last"]


def test_a_missing_log_is_read_from_its_generations(log: Path) -> None:
    """Between the renaming and the next line there is none; without generations it is an error."""
    _, _, cursor = read(log)
    append(log, "more\n")
    log.rename(log.with_name("kern.log.1"))
    texts, notes, cursor = read(log, cursor)
    assert (texts, notes) == (["more"], [])
    log.write_text("new\n")
    assert read(log, cursor)[:2] == (["new"], [])


def test_a_log_that_does_not_keep_still_is_unreadable(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read then, and nothing lost."""
    monkeypatch.setattr("sources.file.rotation._PAUSE", 0)

    def rotated(path: str, olddir: str) -> Listing:
        shutil.copy(log, new := log.with_name("new"))
        new.replace(log)
        return Listing()

    monkeypatch.setattr("sources.file.rotation.listing", rotated)
    with pytest.raises(SourceUnreadable, match="is being rotated"):
        read(log)


def test_a_packed_bomb_ends_in_constant_memory(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as damaged."""
    monkeypatch.setattr("sources.file.stream._MOST", 32 << 20)
    beside(log, ".1.gz", gzip.compress(b"\0" * (64 << 20)))
    tracemalloc.start()
    texts, notes, _ = read(log)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert texts == ["last"]
    assert "holds more than" in notes[0]
    assert peak < 4 << 20


def test_what_a_writer_leaves_that_does_not_append_is_passed_over(log: Path) -> None:
    """After ``copytruncate`` NUL bytes stand where the old lines were."""
    _, _, cursor = read(log)
    shutil.copy(log, f"{log}.1")
    with log.open("r+b") as file:
        file.truncate(0)
        file.seek(1 << 20)
        file.write(b"first\nsecond\n")
    texts, notes, cursor = read(log, cursor)
    assert (texts, notes) == (["first", "second"], [])
    assert read(log, cursor)[0] == []


def test_what_a_writer_adds_to_the_log_before_is_read(log: Path) -> None:
    """A daemon writes where it wrote before until it is told that the log was rotated."""
    log.rename(before := log.with_name("kern.log.1"))
    log.touch()
    texts, notes, cursor = read(log)
    assert (texts, notes) == (["last"], [])
    append(before, "late\n")
    append(log, "new\n")
    texts, notes, cursor = read(log, cursor)
    assert (texts, notes) == (["late", "new"], [])
    assert read(log, cursor)[:2] == ([], [])


def test_a_half_line_behind_empty_generations_is_not_sought_in_older_ones(log: Path) -> None:
    """All logs of a day begin with the same date."""
    log.write_text("Nov 25 first\n")
    *_, cursor = read(log)
    for day in (1, 2):
        log.rename(f"{log}-2026010{day}")
        log.touch()
    append(log, "Nov 25")
    texts, _, cursor = read(log, cursor)
    assert texts == ["Nov 25"]
    append(log, " second\n")
    log.rename(f"{log}-20260103")
    log.touch()
    assert read(log, cursor)[:2] == (["Nov 25 second"], [])


def test_the_corpus_is_read_from_rotated_files(log: Path) -> None:
    """Every sample is read once, wherever it stands."""
    samples = [
        json.loads(line)["text"]
        for line in (DATA / "kernel-messages.jsonl").read_text().splitlines()
    ]
    quarter = len(samples) // 4
    parts = ["".join(f"{text}\n" for text in samples[i * quarter :][:quarter]) for i in range(4)]
    whole = beside(log, ".whole", "".join(parts))
    log.write_text(parts[3])
    beside(log, ".1", parts[2])
    beside(log, ".2.gz", gzip.compress(parts[1].encode()))
    beside(log, ".3.bz2", bz2.compress(parts[0].encode()))
    assert read(log)[:2] == (read(whole)[0], [])
    needles = ["Treason uncloaked! Peer ", "unexpectedly shrunk window", "Probing zero-window"]
    texts = [
        [record.text for record in File(Settings(str(path), trusted=True)).read(None, needles)]
        for path in (log, whole)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 40


LOGROTATE = [
    "rotate 9\ncreate",
    "rotate 9\nnocreate",
    "rotate 9\ncreate\ncompress",
    "rotate 9\ncreate\ncompress\ndelaycompress",
    "rotate 9\ncreate\ncompress\ncompresscmd /bin/bzip2\ncompressext .bz2",
    "rotate 9\ncreate\ndateext",
    "rotate 9\ncreate\ndateext\ncompress\ndelaycompress",
    "rotate 9\ncopytruncate",
    "rotate 9\ncopytruncate\ncompress",
    "rotate 9\ncopytruncate\ncompress\ndelaycompress",
    "rotate 9\ncopytruncate\ndateext\ncompress",
    "rotate 9\ncopytruncate\nstart 0",
]


@pytest.mark.parametrize("directives", LOGROTATE, ids=lambda text: text.replace("\n", "-"))
def test_logrotate_takes_nothing_away(tmp_path: Path, directives: str) -> None:
    """Lines come between passes and rotations; each is read once, in order."""
    (tmp_path / "logs").mkdir(mode=0o755)
    log = tmp_path / "logs" / "kern.log"
    log.touch(mode=0o640)
    config = tmp_path / "logrotate.conf"
    config.touch(mode=0o644)
    config.write_text(f"{log} {{\n{directives}\nifempty\n}}\n")
    cursor: str | None = None
    expected: list[str] = []
    found: list[str] = []
    for number in range(24):
        with log.open("a") as file:
            for line in range(number * 3, number * 3 + number % 4):
                file.write(f"{line:06d} {'x' * (line * 37 % 900)}\n")
                expected.append(f"{line:06d} {'x' * (line * 37 % 900)}")
        if number % 3 == 2:
            rotate(config, tmp_path / "state", number)
        if number % 5 in {1, 2}:
            texts, notes, cursor = read(log, cursor)
            assert notes == []
            found += texts
    assert found + read(log, cursor)[0] == expected
    assert list(log.parent.glob("kern.log?*"))


def rotate(config: Path, state: Path, number: int) -> None:
    """Rotate now; of a date, one of its own is made, as if a day had passed."""
    run(["logrotate", "--force", "--state", str(state), str(config)])
    for path in (config.parent / "logs").glob(f"kern.log-{datetime.now():%Y%m%d}*"):  # noqa: DTZ005 - logrotate takes the local one
        name, _, packing = path.name.partition("-")
        path.rename(path.with_name(f"{name}-202601{number + 1:02d}{packing[8:]}"))
