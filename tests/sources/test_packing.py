"""Packed generations: what each way of packing makes of a log is read, or told with its remedy."""

import gzip
import lzma
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from reconciler import SourceUnreadable
from sources.file import Settings
from sources.file.packing import zstd
from sources.file.source import File

if sys.version_info >= (3, 14):
    from compression.zstd import compress
else:
    from backports.zstd import compress


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one line, whose newest generation has one as well."""
    path = tmp_path / "kern.log"
    path.write_text("last\n")
    path.with_name("kern.log.1").write_text("second\n")
    return path


def read(log: Path, packing: str, content: bytes) -> tuple[list[str], list[str]]:
    """Return the texts that are read, with a packed generation, and what is said."""
    log.with_name(f"kern.log.2{packing}").write_bytes(content)
    source = File(Settings(str(log)))
    return [record.text for record in source.read(None, ())], source.notes()


@pytest.mark.parametrize("packing", [".zst", ".zstd"])
def test_frames_that_follow_each_other_are_one_log(log: Path, packing: str) -> None:
    """zstd(1) appends them, and so does ``cat a.zst b.zst``; some hold nothing, or no data."""
    skippable = b"\x50\x2a\x4d\x18" + b"\x04\0\0\0" + b"some"
    content = compress(b"fi") + compress(b"") + skippable + compress(b"rst\n")
    assert read(log, packing, content) == (["first", "second", "last"], [])


def test_what_the_program_zstd_packs_is_read(log: Path) -> None:
    """Also with its checksum, at its highest level, and with a long window."""
    lines = "".join(f"{number} line\n" for number in range(3000))
    for options in (["-1"], ["--ultra", "-22"], ["--long=27"], ["--no-check"]):
        packed = subprocess.run(
            ["zstd", "-q", "-c", *options], input=lines.encode(), capture_output=True, check=True
        ).stdout
        texts, notes = read(log, ".zst", packed)
        assert (len(texts), notes) == (3002, [])


def test_a_window_that_takes_too_much_memory_is_told(log: Path) -> None:
    """A file of a few bytes could ask for 2 GiB."""
    packed = subprocess.run(
        ["zstd", "-q", "-c", "--ultra", "-22", "--long=31"],
        input=b"first\n" * 100,
        capture_output=True,
        check=True,
    ).stdout
    texts, notes = read(log, ".zst", packed)
    assert texts == ["second", "last"]
    assert "too much memory" in notes[0]


@pytest.mark.parametrize("damage", ["cut", "cut between frames", "changed", "trailing", "none"])
def test_a_damaged_zst_is_told_and_what_is_before_counts(log: Path, damage: str) -> None:
    """Then the newer ones are read."""
    frames = [
        compress(b"".join(b"%06d\n" % (number * 7919 + frame) for number in range(50_000)))
        for frame in (0, 1)
    ]
    packed = b"".join(frames)
    damaged = {
        "cut": packed[:-1000],
        "cut between frames": frames[0] + frames[1][:3],
        "changed": packed[:-4000] + b"x" * 10 + packed[-3990:],
        "trailing": packed + b"more",
        "none": b"000000\n",
    }[damage]
    texts, notes = read(log, ".zst", damaged)
    assert texts[-2:] == ["second", "last"]
    assert len(notes) == 1
    assert notes[0].startswith(f"'{log}.2.zst' is damaged; its end was not read: ")
    assert damage == "none" or (texts[0] == "000000" and len(texts) > 50_000)


def test_a_zst_bomb_ends_in_constant_memory(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as damaged, however many frames it has."""
    monkeypatch.setattr("sources.file.stream._MOST", 32 << 20)
    bomb = compress(b"\0" * (1 << 20)) * 64
    assert len(bomb) < 1 << 16
    tracemalloc.start()
    texts, notes = read(log, ".zst", bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert texts == ["second", "last"]
    assert "holds more than" in notes[0]
    assert peak < 4 << 20


def test_lzma_is_read_as_xz_is(log: Path) -> None:
    """It is its older format; a damaged one is told."""
    packed = lzma.compress(b"first\n", format=lzma.FORMAT_ALONE)
    assert read(log, ".lzma", packed) == (["first", "second", "last"], [])
    assert read(log, ".lzma", packed[:-3])[1][0].startswith(f"'{log}.2.lzma' is damaged")


def test_without_a_library_zst_is_told_with_both_remedies(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for this file, which the next pass does not look at, and one for those to come."""
    package = sys.modules[compress.__module__.partition(".")[0]]
    monkeypatch.setitem(sys.modules, f"{package.__name__}.zstd", None)
    monkeypatch.delattr(package, "zstd")
    with log.open("rb") as file, pytest.raises(ImportError):
        zstd(file)
    texts, notes = read(log, ".zst", compress(b"first\n"))
    assert texts == ["second", "last"]
    (note,) = notes
    assert note == (
        f"'{log}.2.zst' was not read: that takes Python 3.14 or backports.zstd"
        " (pip install 'treason[zst]'); to read it now:"
        f" zstd -dc < {log}.2.zst | treason scan --source file:-"
    )


@pytest.mark.parametrize(
    ("packing", "unpacker"),
    [(".lz4", "lz4"), (".Z", "gzip"), (".lz", "lzip"), (".lzo", "lzop"), (".br", "brotli")],
)  # fmt: skip
def test_what_is_not_unpacked_here_is_told_with_its_remedy(
    log: Path, packing: str, unpacker: str
) -> None:
    """The program that unpacks it, and how it is read then."""
    texts, notes = read(log, packing, b"x")
    assert texts == ["second", "last"]
    (note,) = notes
    assert note == (
        f"'{log}.2{packing}' was not read: {packing} is not unpacked here; to read it now:"
        f" {unpacker} -dc < {log}.2{packing} | treason scan --source file:-"
    )


def test_a_packed_log_that_is_named_by_itself_is_unpacked(log: Path) -> None:
    """``file:kern.log.2.gz``; what cannot be unpacked is refused, and no other log is taken."""
    log.with_name("kern.log.2.3.gz").write_bytes(b"other")
    for packing, content in ((".gz", gzip.compress(b"first\n")), (".zst", compress(b"first\n"))):
        path = log.with_name(f"kern.log.2{packing}")
        path.write_bytes(content)
        for rotated in (True, False):
            source = File(Settings(str(path), rotated=rotated))
            assert [record.text for record in source.read(None, ())] == ["first"]
            assert source.notes() == []
            again = File(Settings(str(path), rotated=rotated))
            assert list(again.read(source.cursor(), ())) == []
    path.write_bytes(content[:-2])
    source = File(Settings(str(path)))
    assert len(list(source.read(None, ()))) <= 1
    assert "is damaged" in source.notes()[0]
    other = path.rename(path.with_suffix(".lz4"))
    with pytest.raises(SourceUnreadable, match="not unpacked here; to read it now: lz4 -dc"):
        list(File(Settings(str(other))).read(None, ()))
