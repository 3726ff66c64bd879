"""A log without end: so much of it is read, and the rest is told."""

import os
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from harness import SEED, Place

from reconciler import SourceUnreadable
from sources.file import Settings
from sources.file.source import File
from sources.file.stream import Stream

MOST = 1 << 20


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that are reached quickly."""
    monkeypatch.setattr("sources.file.stream._MOST", MOST)
    monkeypatch.setattr("sources.file.stream._GROWTH", MOST)


def read(path: object, cursor: str | None = None) -> tuple[list[str], list[str], str | None]:
    """Return the texts, what was noted, and the cursor."""
    source = File(Settings(str(path), trusted=True))
    texts = [record.text for record in source.read(cursor, ())]
    return texts, source.notes(), source.cursor()


@contextmanager
def endless(line: bytes) -> Iterator[int]:
    """Write a line again and again into a pipe, until nobody reads any more."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(write_end, "wb") as pipe:
            while True:
                pipe.write(line)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield read_end
    finally:
        os.close(read_end)
        thread.join()


@contextmanager
def on_standard_input(descriptor: int) -> Iterator[None]:
    """Let it be the standard input of this process."""
    before = os.dup(0)
    os.dup2(descriptor, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_what_is_piped_in_without_end_is_read_so_far() -> None:
    """Its lines count, and the rest is told."""
    with endless(b"a line\n") as pipe:
        texts, notes, cursor = read(f"/dev/fd/{pipe}")
    assert texts == ["a line"] * (MOST // 7)
    told = f"'/dev/fd/{pipe}' holds more than 0 GiB; what follows was not read"
    assert (notes, cursor) == ([told], None)


@pytest.mark.parametrize("line", [b"no line ever ends", b"\0"])
def test_what_has_no_lines_ends_in_constant_memory(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that does not end, and what looks like a hole in a log."""
    monkeypatch.setattr("sources.file.stream._MOST", 16 * MOST)
    tracemalloc.start()
    with endless(line) as pipe:
        texts, notes, _ = read(f"/dev/fd/{pipe}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (texts, len(notes)) == ([], 1)
    assert peak < 4 * MOST


def test_standard_input_may_be_a_device_without_end() -> None:
    """``scan --source - </dev/zero`` ends."""
    zero = os.open("/dev/zero", os.O_RDONLY)
    with on_standard_input(zero):
        texts, notes, _ = read("-")
    os.close(zero)
    assert (texts, len(notes)) == ([], 1)
    assert "what follows was not read" in notes[0]


def test_what_ends_at_the_limit_is_whole(tmp_path: Path) -> None:
    """Nothing follows, so nothing is told."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"y\n" * 100)
    os.close(write_end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sources.file.stream._MOST", 200)
        texts, notes, _ = read(f"/dev/fd/{read_end}")
    os.close(read_end)
    assert (texts, notes) == (["y"] * 100, [])


def test_half_a_line_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """198.51.100.1 must not be banned where 198.51.100.123 was written."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"one\nbad login from 198.51.100.123\n")
    os.close(write_end)
    monkeypatch.setattr("sources.file.stream._MOST", len("one\nbad login from 198.51.100.1"))
    assert read(f"/dev/fd/{read_end}")[0] == ["one"]
    os.close(read_end)


def test_what_was_read_before_counts(place: Place) -> None:
    """The bans of what came first are stored, and the rest is told."""
    log = SEED.encode()
    with endless(log + b"noise\n" * 1000) as pipe:
        result = place.treason("scan", "--source", f"file:/dev/fd/{pipe}")
    assert result.code == 0
    assert "2 new bans" in result.out
    assert "what follows was not read" in result.out + result.err


def test_a_writer_that_is_faster_keeps_no_pass_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appends more than each time is read; the next pass reads on, and no line is lost."""
    log = tmp_path / "log"
    log.write_text("".join(f"{number:07d}\n" for number in range(1000)))
    written = 1000
    growing = True
    plain = Stream.read

    def slow(stream: Stream, size: int) -> bytes:
        nonlocal written
        if growing:
            count = 2 * size // 8 + 1
            with log.open("a") as more:
                more.writelines(f"{number:07d}\n" for number in range(written, written + count))
            written += count
        return plain(stream, size)

    monkeypatch.setattr(Stream, "read", slow)
    first, notes, cursor = read(log)
    growing = False
    assert 8 * len(first) <= 8000 + MOST < 8 * written
    assert len(notes) == 1
    assert "grew by more than 1 MiB while it was read" in notes[0]
    monkeypatch.setattr("sources.file.stream._GROWTH", 1 << 30)
    rest, notes, _ = read(log, cursor)
    assert notes == []
    assert [*first, *rest] == [f"{number:07d}" for number in range(written)]


def test_the_bit_bucket_is_an_empty_log(place: Place) -> None:
    """As the path of a log that is not wanted, and by hand; it is told as silent."""
    assert read("/dev/null")[:2] == ([], [])
    assert place.treason("scan", "--source", "file:/dev/null").code == 0
    place.configure('[source.file]\npath = "/dev/null"', main='sources = ["file"]')
    for _ in range(2):
        assert place.treason("scan").out == "file: 0 offences, 0 new bans\n"
    assert "no recent line of the kernel" in (File(Settings("/dev/null")).silence() or "")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/random", "/dev/full"])
def test_another_device_is_no_log(device: str) -> None:
    """Whether it ends or not."""
    with pytest.raises(SourceUnreadable, match=f"'{device}' is not a file"):
        read(device)
