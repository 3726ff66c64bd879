"""The generations of a log: by which names they are found, where, and what is told otherwise."""

import gzip
import lzma
import os
import re
import tomllib
from pathlib import Path

import attrs
import pytest
from harness import REAL_ROOT, ROOT

from reconciler.execute import run
from sources.file import Settings
from sources.file.generations import Generation, listing, opened
from sources.file.source import File


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one line, in a directory of its own."""
    (tmp_path / "logs").mkdir(mode=0o755)
    path = tmp_path / "logs" / "kern.log"
    path.write_text("last\n")
    return path


def read(
    log: Path, cursor: str | None = None, olddir: str = ""
) -> tuple[list[str], list[str], str]:
    """Return the texts that are read, what is said, and the cursor."""
    source = File(Settings(str(log), olddir=olddir))
    texts = [record.text for record in source.read(cursor, ())]
    return texts, source.notes(), source.cursor() or ""


def write(log: Path, name: str, text: str, time: int = 0) -> Path:
    """Write a file into the log's directory, as if it had been written ``time`` seconds ago."""
    path = log.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    now = log.stat().st_mtime
    os.utime(path, (now - time, now - time))
    return path


EXTENDED = [
    ["kern.10.log", "kern.2.log.gz", "kern.1.log"],
    ["kern-20251231.log.gz", "kern-20261119.log", "kern-2026112009.log"],
    ["kern-1732490000.log", "kern-1732490001.log.gz"],
    ["kern-202610.log", "kern-202611.log"],
]


@pytest.mark.parametrize("names", EXTENDED, ids=lambda names: names[0])
def test_generations_that_keep_the_extension_are_read_in_order(log: Path, names: list[str]) -> None:
    """The directive is ``extension .log``; whatever is packed has its ending behind that."""
    for name in names:
        write(log, name, f"{name}\n")
    assert read(log)[:2] == ([*names, "last"], [])


@pytest.mark.parametrize(
    "name",
    ["kern-audit.log", "kern.old.log", "kern2.log", "kern-2.log", "kern.log.bak", "kern.1.logs",
     "kern.1.txt", "xkern.1.log", "kern1.log.gz", "kern..log", "kern.1.2.log", "akern.log.1",
     "kern.log.1.gz.asc", "kern.log.2.sha256"],
)  # fmt: skip
def test_another_log_is_not_taken(log: Path, name: str) -> None:
    """Nor is it told of: its name looks like no generation."""
    write(log, name, "other\n")
    assert read(log)[:2] == (["last"], [])


@pytest.mark.parametrize("name", ["messages", ".log", "app.1"])
def test_a_log_without_an_extension_has_generations_behind_its_name_alone(
    log: Path, name: str
) -> None:
    """A dot in front, or a number, is no extension."""
    log = log.rename(log.with_name(name))
    write(log, f"{name}.1", "old\n")
    write(log, f"{log.stem}.2{log.suffix or '.log'}", "other\n")
    assert read(log)[0] == ["old", "last"]


@pytest.mark.parametrize(
    "name",
    ["kern.log-28-11-2026", "kern.log.1.old", "kern.log.1gz", "kern.log.gz", "kern.log.old",
     "kern.log-2026", "kern.log-20261345", "kern.log.123456", "kern-28112026.log.gz",
     "kern.log.20261128212209%z", "kern.log-" + "1" * 200 + "x"],
)  # fmt: skip
def test_a_file_that_looks_like_a_generation_is_told_of(log: Path, name: str) -> None:
    """At the first reading, and where lines may be lost; not while all that is new is read."""
    path = write(log, name, "old\n")
    texts, notes, cursor = read(log)
    assert texts == ["last"]
    (note,) = notes
    assert note == (
        f"'{path}' was not read: it may be a generation of '{log}', but its name ends in neither a"
        " number nor a date like 20261128; to read it now:"
        f" zcat -f {path} | treason scan --source file:-"
    )
    assert read(log, cursor)[:2] == ([], [])
    log.write_text("new\n")
    _, notes, _ = read(log, cursor)
    assert len(notes) == 2


def test_several_that_look_like_generations_are_told_in_one_line(log: Path) -> None:
    """A year of them is not a page."""
    for day in (13, 14, 15):
        write(log, f"kern.log-{day}-11-2026", "old\n")
    (note,) = read(log)[1]
    assert note.startswith(f"'{log}-13-11-2026' (and 2 more) was not read")


def test_the_archive_of_a_supervised_log_is_read(log: Path) -> None:
    """s6-log, svlogd and multilog write ``current``, and keep ``@TAI64N.s`` or ``.u``."""
    log = log.rename(log.with_name("current"))
    write(log, "@400000006a0a1b2c11111111.u", "first\n")
    write(log, "@400000006a0a1b2d00000000.s", "second\n")
    write(log, "@400000006a0a1b2d00000000.t", "other\n")
    assert read(log)[:2] == (["first", "second", "last"], [])


LOGROTATE = [
    "extension .log",
    "extension .log\ncompress\ndelaycompress",
    "extension .log\ncopytruncate\ncompress",
    "addextension .log\ncompress",
    "olddir old",
    "olddir old\ncompress\ndelaycompress",
    "olddir old\nextension .log\ncopytruncate",
    "compress\ncompresscmd /usr/bin/zstd\ncompressoptions --rm -q\ncompressext .zst",
    "compress\ncompresscmd /usr/bin/xz\ncompressoptions --format=lzma\ncompressext .lzma",
    "compress\ncompressext .gzip",
]


@pytest.mark.parametrize("directives", LOGROTATE, ids=lambda text: text.replace("\n", "-"))
def test_what_logrotate_makes_of_a_log_is_read_once(log: Path, directives: str) -> None:
    """Whether a pass comes between any two rotations, or at the end alone."""
    (log.parent / "old").mkdir(mode=0o755)
    log.write_text("")
    cursor: str | None = None
    found: list[str] = []
    for number in range(9):
        with log.open("a") as file:
            file.write(f"{number} line\n")
        rotate(log, directives)
        if number % 3:
            texts, notes, cursor = read(log, cursor, "old")
            assert notes == []
            found += texts
    expected = [f"{number} line" for number in range(9)]
    assert found + read(log, cursor, "old")[0] == expected
    assert read(log, olddir="old")[:2] == (expected, [])


CHANGED = [
    ("compress", "nocompress"),
    ("nocompress", "compress"),
    ("nocompress", "compress\ndelaycompress"),
    ("compress", "compress\ncompresscmd /bin/bzip2\ncompressext .bz2"),
    ("compress", "extension .log\nnocompress"),
    ("nocompress", "olddir old"),
    ("dateext\ndateformat -%s", "nodateext"),
]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("ways", CHANGED, ids=lambda ways: "|".join(ways).replace("\n", "-"))
def test_a_changed_way_of_rotating_hides_nothing(
    log: Path, ways: tuple[str, str], count: int
) -> None:
    """What logrotate made before, it leaves under names that it then uses again beside them."""
    (log.parent / "old").mkdir(mode=0o755)
    log.write_text("")
    number = 0
    for way in ways:
        for _ in range(count if way == ways[1] else 3):
            number += 1
            log.write_text(f"{number} line\n")
            os.utime(log, (number * 1000, number * 1000))
            rotate(log, way)
            if "%s" in way:  # two rotations of one second have one name
                for path in log.parent.glob("kern.log-1[0-9]*"):
                    path.rename(path.with_name(f"kern.log-20260{number}01"))
    texts, notes, _ = read(log, olddir="old")
    expected = [f"{each} line" for each in range(1, number + 1)]
    if ways == ("nocompress", "compress"):
        expected.remove("3 line")  # logrotate itself renames the log over kern.log.1
    assert (texts, notes) == (expected, [])


def rotate(log: Path, directives: str) -> None:
    """Rotate now."""
    config = log.parent.parent / "logrotate.conf"
    config.touch(mode=0o644)
    config.write_text(f"{log} {{\nrotate 20\ncreate\nifempty\n{directives}\n}}\n")
    run(["logrotate", "--force", "--state", str(log.parent.parent / "state"), str(config)])


def test_a_packed_file_that_is_being_written_is_not_read_beside_its_whole_one(log: Path) -> None:
    """However much of it there is; what holds something else is a generation of its own."""
    text = "".join(f"{number} line\n" for number in range(2000))
    plain = write(log, "kern.log.1", text, time=5)
    for length in (0, 5, 2000, None):
        log.with_name("kern.log.1.gz").write_bytes(gzip.compress(text.encode())[:length])
        assert [each.path for each in listing(str(log)).generations] == [str(plain)]
    write(log, "kern.log.1.gz", "other\n", time=9)
    assert read(log)[0][:2] == ["other", "0 line"]


def test_two_packed_files_of_one_name_are_both_read_if_they_differ(log: Path) -> None:
    """Of two that hold the same, one is."""
    write(log, "kern.log-20261120.gz", "old\n")
    log.with_name("kern.log-20261120.xz").write_bytes(lzma.compress(b"old\n"))
    assert read(log)[0] == ["old", "last"]
    log.with_name("kern.log-20261120.xz").write_bytes(lzma.compress(b"other\n"))
    write(log, "kern.log-20261119", "older\n", time=-100)
    assert read(log)[0] == ["older", "old", "other", "last"]


def test_two_names_of_one_date_are_two_generations(log: Path) -> None:
    """Each of two programs may have made one."""
    write(log, "kern.log-20261120", "first\n")
    write(log, "kern.log.2026-11-20", "second\n")
    assert read(log)[0] == ["first", "second", "last"]


@pytest.mark.skipif(not REAL_ROOT, reason="gives a file to another user")
def test_a_file_of_another_user_hides_none_of_the_same_name(log: Path) -> None:
    """What stands beside it is read, and it is told of."""
    write(log, "kern.log.1.gz", "old\n", time=9)
    os.chown(forged := write(log, "kern.log.1", "forged\n"), 12345, -1)
    texts, notes, _ = read(log)
    assert texts == ["old", "last"]
    assert notes == [f"'{forged}' was not read: it belongs to another user than the log"]


@pytest.mark.parametrize("absolute", [False, True])
def test_generations_are_searched_in_olddir_and_beside_the_log(log: Path, absolute: bool) -> None:
    """Those from before ``olddir`` was switched on have the same names."""
    for age, name in enumerate(["old/kern.log.1", "old/kern.2.log.gz", "kern.log.1", "kern.log.2"]):
        write(log, name, f"{name}\n", time=100 * age)
    olddir = str(log.with_name("old")) if absolute else "old"
    texts, notes, cursor = read(log, olddir=olddir)
    assert texts == ["kern.log.2", "kern.log.1", "old/kern.2.log.gz", "old/kern.log.1", "last"]
    assert notes == []
    log.rename(log.with_name("old") / "kern.log.0")
    log.write_text("new\n")
    assert read(log, cursor, olddir)[:2] == (["new"], [])
    assert read(log)[0] == ["kern.log.2", "kern.log.1", "new"]


def test_the_log_s_own_directory_is_searched_once(log: Path) -> None:
    """By whatever path it is named."""
    write(log, "kern.log.1", "old\n")
    for olddir in (".", str(log.parent), "../logs"):
        assert read(log, olddir=olddir)[:2] == (["old", "last"], [])


def test_an_olddir_of_a_linked_log_begins_where_the_log_is(log: Path) -> None:
    """There logrotate works."""
    write(log, "old/kern.log.1", "old\n")
    (link := log.parent.parent / "link.log").symlink_to(log)
    assert read(link, olddir="old")[0] == ["old", "last"]


@pytest.mark.parametrize("kind", ["missing", "a file", "unreadable", "another user's"])
def test_an_olddir_that_cannot_be_searched_is_told(
    log: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every reading, and what is beside the log is read."""
    write(log, "kern.log.1", "old\n")
    reason = "No such file or directory"
    if kind == "a file":
        log.with_name("old").touch()
        reason = "Not a directory"
    elif kind == "unreadable":
        log.with_name("old").mkdir()
        reason = "Permission denied"
        scandir = os.scandir

        def denied(path: str) -> object:
            if path.endswith("old"):
                raise PermissionError(13, reason)
            return scandir(path)

        monkeypatch.setattr("os.scandir", denied)
    elif kind == "another user's":
        if not REAL_ROOT:
            pytest.skip("gives a directory to another user")
        os.chown(write(log, "old/kern.log.2", "forged\n").parent, 12345, -1)
        reason = "it belongs to another user than the log"
    note = (
        f"'{log.with_name('old')}' was not searched for rotated files: {reason}; correct olddir in"
        " [source.file], or let treason read it"
    )
    texts, notes, cursor = read(log, olddir="old")
    assert (texts, notes) == (["old", "last"], [note])
    assert read(log, cursor, "old")[:2] == ([], [note])


@pytest.mark.skipif(not REAL_ROOT, reason="gives a file to another user")
def test_olddir_holds_only_what_the_log_s_owner_or_root_wrote(log: Path) -> None:
    """No link is followed there, and another user's file is told of."""
    os.chown(forged := write(log, "old/kern.log.3", "forged\n"), 12345, -1)
    other = write(log, "other", "other\n")
    log.with_name("old").joinpath("kern.log.2").symlink_to(other)
    os.chown(write(log, "old/kern.log.1", "old\n"), 4321, -1)
    for path in (log, log.with_name("old")):
        os.chown(path, 4321, -1)
    texts, notes, _ = read(log, olddir="old")
    assert texts == ["old", "last"]
    assert notes == [f"'{forged}' was not read: it belongs to another user than the log"]


def test_a_link_that_takes_the_place_of_a_generation_is_not_followed(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and opening there is time."""
    other = write(log, "other", "other\n")
    place = log.with_name("kern.log.1")

    def swapped(path: str) -> object:
        place.unlink(missing_ok=True)
        place.symlink_to(other)
        return opened(path)

    write(log, "kern.log.1", "old\n")
    listed = listing(str(log))
    monkeypatch.setattr("sources.file.rotation.opened", swapped)
    monkeypatch.setattr("sources.file.rotation.listing", lambda *_: listed)
    texts, notes, _ = read(log)
    assert texts == ["last"]
    assert notes == [f"'{place}' was not read: Too many levels of symbolic links"]


def test_a_generation_says_how_it_is_packed(log: Path) -> None:
    """Wherever its number stands."""
    path = write(log, "kern.1.log.gz", "old\n")
    assert listing(str(log)).generations == [Generation(str(path), path.stat().st_ino, ".gz")]


def test_every_name_in_the_how_to_is_read(tmp_path: Path) -> None:
    """And each that is said to be told of is told."""
    table, _, untold = (
        (ROOT / "docs" / "how-to" / "read-rotated-logs.md").read_text().partition("\n## ")
    )
    names = re.findall(r"`((?:kern|@)[^`/]*)`", table.partition("|---|---|")[2])
    assert len(names) > 10
    for name in names:
        (tmp_path / name).touch()
    logs = [tmp_path / "kern.log", tmp_path / "current"]
    found = [each.path for log in logs for each in listing(str(log)).generations]
    assert sorted(found) == sorted(str(tmp_path / name) for name in names)
    strangers = re.findall(r"`(kern[^`]*)`", untold)
    for name in strangers:
        (tmp_path / name).touch()
    assert listing(str(logs[0])).strangers == sorted(str(tmp_path / name) for name in strangers)


def test_every_key_is_in_the_shipped_configuration_with_its_default() -> None:
    """As a comment, to be switched on."""
    text = (ROOT / "conf" / "treason.toml").read_text()
    block = text.partition("# [source.file]\n")[2].partition("\n\n")[0].replace("# ", "")
    assert Settings(**tomllib.loads(block)) == Settings("/var/log/kern.log")
    assert set(tomllib.loads(block)) == {field.name for field in attrs.fields(Settings)}
