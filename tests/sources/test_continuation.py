"""No line after a record's first is a message, wherever each line of a record has its prefix.

An ordinary user gets a line break into a message by the name of a file, and would write one of his
own: the kernel prints ``process 'NAME' started with executable stack``, for instance.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from reconciler import SourceUnreadable
from sources import kmsg
from sources.dmesg import source as dmesg
from sources.file import Settings, lines
from sources.file.source import File

FORGED = "Peer 203.0.113.5:1/2 unexpectedly shrunk window 1:2 (repaired)"
TRUE = "Peer 203.0.113.6:1/2 unexpectedly shrunk window 1:2 (repaired)"
RECORD = ("process '/tmp/x", FORGED, "z' started with executable stack")

Shape = Callable[[str, str], str]

SHAPES: dict[str, Shape] = {
    "dmesg -S": lambda stamp, text: f"[{stamp}] {text}",
    "dmesg -S -r": lambda stamp, text: f"<4>[{stamp}] {text}",
    "dmesg -S -x": lambda stamp, text: f"kern  :warn  : [{stamp}] {text}",
    "rsyslog": lambda stamp, text: f"Aug 28 13:16:32 web1 kernel: [{stamp}] {text}",
    "rsyslog, ISO": lambda stamp, text: f"2026-08-28T13:16:32.1Z web1 kernel: [{stamp}] {text}",
    "RFC 5424": lambda stamp, text: f"<4>1 2026-08-28T13:16:32Z web1 kernel - - - [{stamp}] {text}",
    "with its caller": lambda stamp, text: f"[{stamp}][    T1] {text}",
    "kmsg": lambda stamp, text: f"4,{stamp.strip().replace('.', '')},{stamp[-6:]},-;{text}",
    "said to be repeated": lambda stamp, text: (
        f"Aug 28 13:16:32 web1 kernel: [{stamp}] "
        + (text if text == TRUE else f"message repeated 500 times: [ {text}]")
    ),
    "said to be repeated, with a stamp within": lambda stamp, text: (
        f"Aug 28 13:16:32 web1 kernel: [{stamp}] "
        + (text if text == TRUE else f"message repeated 9 times: [ [    9.000001] {text}]")
    ),
    "dmesg -S --time-format iso": lambda stamp, text: (
        f"2026-08-28T13:16:{float(stamp) % 60 // 1:02.0f},{stamp[-6:]}+00:00 {text}"
    ),
    "dmesg -S -d": lambda _, text: f"[<    0.00000{int(text not in RECORD[1:])}>] {text}",
    "dmesg -S -H": lambda _, text: f"[  +0,00000{int(text not in RECORD[1:])}] {text}",
}


def found(path: Path, cursor: str | None = None) -> tuple[list[str], str | None]:
    """Return the messages about peers in a log that is trusted, and the place behind them."""
    source = File(Settings(str(path), trusted=True))
    texts = [record.text for record in source.read(cursor, ["unexpectedly shrunk window"])]
    return texts, source.cursor()


def written(shape: Shape, *between: str, stamp: str = " 1566.236934") -> str:
    """Write the record of several lines, with lines of others in between, and a true one."""
    held = [shape("    1.000000", "eth0: link becomes ready")]
    for text in RECORD:
        held += [shape(stamp, text), *between]
    return "\n".join([*held, shape(" 1566.300000", TRUE), ""])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_line_of_a_record_is_no_message(shape: Shape, tmp_path: Path) -> None:
    """The next record is one."""
    path = tmp_path / "kern.log"
    path.write_text(written(shape))
    assert found(path)[0] == [TRUE]


@pytest.mark.parametrize(
    "between",
    [
        "Aug 28 13:16:32 web1 sshd[77]: Invalid user [    9.000000] from 192.0.2.9",
        "Aug 28 13:16:32 web1 kernel[77]: [    9.000000] not the kernel",
        "Aug 28 13:16:32 web1 cron: \t",
        "Aug 28 13:16:32 web1 prog: kernel: [    9.000000] not the kernel",
        "garbage",
    ],
)
def test_lines_of_other_programs_end_no_record(between: str, tmp_path: Path) -> None:
    """They come in between where a daemon writes both, and say what their writers like."""
    path = tmp_path / "kern.log"
    path.write_text(written(SHAPES["rsyslog"], *[between] * 5))
    assert found(path)[0] == [TRUE]


@pytest.mark.parametrize(
    "between",
    [
        "Aug 28 13:16:32 web2 kernel: [    9.000000] of another machine",
        "[    9.000000] of another printer",
        "<14>Aug 28 13:16:32 web1 kernel: [    9.000000] of a user",
        "Aug 28 13:16:32 web1 user.notice kernel: [    9.000000] of a user",
    ],
)
def test_records_of_others_end_no_record(between: str, tmp_path: Path) -> None:
    """Of another host, another printer, a user, or another processor."""
    path = tmp_path / "kern.log"
    path.write_text(written(SHAPES["rsyslog"], between))
    assert found(path)[0] == [TRUE]


def test_records_of_two_processors_may_have_one_stamp(tmp_path: Path) -> None:
    """The one who called printk is told behind the stamp."""
    path = tmp_path / "kern.log"
    path.write_text(f"[    7.000001][    T1] {TRUE}\n[    7.000001][    T2] {TRUE}\n")
    assert found(path)[0] == [TRUE] * 2


@pytest.mark.parametrize("passes", [1, 2])
def test_a_record_goes_on_in_the_next_log(passes: int, tmp_path: Path) -> None:
    """Where a log is rotated between two lines of it."""
    path = tmp_path / "kern.log"
    first, second = (SHAPES["rsyslog"](" 1566.236934", text) + "\n" for text in RECORD[:2])
    path.write_text(first)
    cursor = found(path)[1] if passes == 2 else None
    path.rename(tmp_path / "kern.log.1")
    path.write_text(second)
    assert found(path, cursor)[0] == []


@pytest.mark.parametrize("size", [64, 100, 200, 300])
def test_it_is_the_same_wherever_a_log_is_cut(
    size: int, tmp_path: Path, mocker: MockerFixture
) -> None:
    """Into the pieces that are read at once."""
    mocker.patch.object(lines, "_CHUNK", size)
    path = tmp_path / "kern.log"
    path.write_text(written(SHAPES["rsyslog"]) * 3)
    assert found(path)[0] == [TRUE] * 3


@pytest.mark.parametrize("whole", [1, 2, 3])
def test_it_is_the_same_wherever_reading_stopped(whole: int, tmp_path: Path) -> None:
    """A pass may come while a record is being written."""
    path = tmp_path / "kern.log"
    log = written(SHAPES["rsyslog"]).splitlines(keepends=True)
    path.write_text("".join(log[:whole]))
    first, cursor = found(path)
    path.write_text("".join(log))
    assert first + found(path, cursor)[0] == [TRUE]


def test_much_of_others_ends_no_record(tmp_path: Path) -> None:
    """Also where it was read in the pass before."""
    path = tmp_path / "kern.log"
    first, second = (SHAPES["rsyslog"](" 1566.236934", text) + "\n" for text in RECORD[:2])
    between = "Aug 28 13:16:32 web1 sshd[77]: Invalid user\n" * 4000
    path.write_text(first + between)
    texts, cursor = found(path)
    path.write_text(first + between + second)
    assert texts + found(path, cursor)[0] == []


@pytest.mark.parametrize("before", ["x" * 300, "[ 1566.236934]"])
def test_what_stands_before_a_record_changes_nothing(
    before: str, tmp_path: Path, mocker: MockerFixture
) -> None:
    """A line that is too long is passed over, and a stamp without a text is none."""
    mocker.patch.multiple(lines, LONGEST=200, _CHUNK=64)
    path = tmp_path / "kern.log"
    first, second = (SHAPES["dmesg -S"](" 1566.236934", text) for text in (TRUE, FORGED))
    path.write_text(f"{before}\n{first}\n{second}\n")
    assert found(path)[0] == [TRUE]


def test_what_dmesg_writes_as_json_has_stamps_too(tmp_path: Path) -> None:
    """Each line of the record is one of its own there."""
    path = tmp_path / "dmesg.json"
    entries = [{"pri": 4, "time": 1566.236934, "msg": text} for text in RECORD]
    entries.append({"pri": 4, "time": 1566.3, "msg": TRUE})
    whole = json.dumps({"dmesg": entries}, indent=3).replace("\n         ", "\n            ")
    path.write_text(whole)
    assert found(path)[0] == [TRUE]


def test_records_of_other_stamps_count_each(tmp_path: Path) -> None:
    """Also the same text, and in the microsecond after."""
    path = tmp_path / "kern.log"
    stamps = ("1566.236934", "1566.236935", "1566.236936")
    path.write_text("".join(f"[ {stamp}] {TRUE}\n" for stamp in stamps))
    assert found(path)[0] == [TRUE] * 3


@given(st.lists(st.sampled_from(["a", "b", FORGED, TRUE]), min_size=1, max_size=4))
def test_of_a_record_only_the_first_line_may_be_a_message(texts: list[str]) -> None:
    """Whatever its lines are."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "kern.log")
        shape = SHAPES["dmesg -S"]
        path.write_text("".join(f"{shape(' 5.000001', text)}\n" for text in texts))
        assert found(path)[0] == [text for text in texts[:1] if text in {FORGED, TRUE}]


@pytest.fixture
def fallen_back(tmp_path: Path, mocker: MockerFixture) -> Path:
    """A machine without /dev/kmsg: dmesg reads syslog(2)."""
    path = tmp_path / "printed"
    path.write_text(written(SHAPES["dmesg -S -x"]))
    mocker.patch.object(kmsg, "DEVICE", tmp_path / "kmsg")
    return path


def test_a_dmesg_that_would_print_lines_is_refused(fallen_back: Path) -> None:
    """It cannot be told what is a record; the error says why, and what to do."""
    with pytest.raises(SourceUnreadable, match="cannot be told from records") as refused:
        [*dmesg.Dmesg(command=("cat", str(fallen_back))).read(None, [])]
    assert "journal" in refused.value.hint
    (fallen_back.parent / "kmsg").touch()
    with pytest.raises(SourceUnreadable, match="is not the kernel's message buffer"):
        [*dmesg.Dmesg(command=("cat", str(fallen_back))).read(None, [])]
