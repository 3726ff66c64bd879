"""The source file: lines, cursors, and what is no file."""

import os
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from reconciler import SourceUnreadable
from reconciler.testing import WakingSourceContract
from sources.file import Settings
from sources.file.source import File

LINE = "Peer 192.0.2.{}:1/2 unexpectedly shrunk window 3:4 (repaired)"


@frozen
class Log:
    """A log file."""

    path: Path
    trusted: bool

    def write(self, *texts: str) -> None:
        """Append a line for each."""
        append(self.path, "".join(f"{text}\n" for text in texts))

    def source(self) -> File:
        """Read it."""
        return File(Settings(str(self.path), self.trusted))


class TestFile(WakingSourceContract):
    """The contract, on a log file that is not vouched for."""

    @pytest.fixture
    def carrier(self, tmp_path: Path) -> Log:
        """A log of the test's own."""
        self.log = Log(tmp_path / "kern.log", trusted=False)
        return self.log

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """A directory stands in its place."""
        self.log.path.unlink()
        self.log.path.mkdir()
        yield

    def forge(self, text: str) -> None:
        """Write as `logger -t kernel` does."""
        self.log.write(f"Aug 28 13:16:32 host kernel: [61238.407346] {text}")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two lines."""
    path = tmp_path / "kern.log"
    path.write_text("first\nsecond\n")
    return path


def read(log: Path, cursor: str | None = None, *needles: str) -> tuple[list[str], str | None]:
    """Return the texts that are read, and the cursor behind them."""
    source = File(Settings(str(log)))
    return [record.text for record in source.read(cursor, needles)], source.cursor()


def append(log: Path, text: str) -> None:
    """Write at the end."""
    with log.open("a") as file:
        file.write(text)


def test_each_line_is_read_once(log: Path) -> None:
    """The cursor resumes behind the last line, also after more was written."""
    texts, cursor = read(log)
    assert texts == ["first", "second"]
    append(log, "third\n")
    texts, cursor = read(log, cursor)
    assert texts == ["third"]
    assert read(log, cursor)[0] == []


def test_a_last_line_without_newline_is_read_once(log: Path) -> None:
    """It counts when it is first seen, and not again when its newline comes."""
    append(log, "third")
    texts, cursor = read(log)
    assert texts == ["first", "second", "third"]
    texts, cursor = read(log, cursor)
    assert texts == []
    append(log, "\nfourth\nfifth")
    texts, cursor = read(log, cursor)
    assert texts == ["fourth", "fifth"]
    append(log, "\r\nsixth\r\n")
    assert read(log, cursor)[0] == ["sixth"]


def test_a_line_that_was_cut_is_read_when_it_is_whole(log: Path) -> None:
    """Its beginning was seen, but the line is another one now."""
    append(log, "thi")
    _, cursor = read(log)
    append(log, "rd\n")
    assert read(log, cursor)[0] == ["third"]


def test_a_line_that_was_cut_does_not_continue_itself(log: Path) -> None:
    """Its beginning, which has the same stamp, is no record before it."""
    append(log, "[    1.000000] Pe")
    _, cursor = read(log)
    append(log, "er\n")
    assert read(log, cursor)[0] == ["Peer"]


HOST = "Aug 28 13:16:32 {} kernel: [    5.000000]{} {}"
DECODED = "kern  :info  : [    5.000000] {}"
ISO = "2026-11-28T20:52:14,{}+01:00 {}"


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        ([HOST.format("a", "", "1"), HOST.format("b", "", "2"), HOST.format("a", "", "3")], "12"),
        ([HOST.format("a", "[ T1]", "1"), HOST.format("a", "[ T2]", "2"),
          HOST.format("a", "[ T1]", "3")], "12"),
        ([HOST.format("a", "[ T1]", "1"), HOST.format("a", "[T1]", "2")], "1"),
        (["[    5.000000] 1", "[5.000000] 2"], "1"),
        (["[    5.000000] 1", "[    5.000000] a kernel: 2", "[    5.000000] a kernel: 3"], "1"),
        (["[    5.000000] 1", "[    5.000000] [T9] 2", "[    5.000000][T9] 3"], "1"),
        ([HOST.format("a", "", "1"), HOST.format("a", "", "[C1] 2")], "1"),
        ([ISO.format("000000", "1"), ISO.format("000000", "[    7.000000] 2")], "1"),
        (["4,5,1000000,-;1", "4,5,9000000,-;2", "4,5,9000000,-;3"], "12"),
        (["[<    0.000000>] 1", "[<    0.000000>] 2"], "1"),
        (["[Sat Nov 28 20:52:14 2026 <    0.000000>] 1",
          "[Sat Nov 28 21:52:14 2026 <    0.000000>] 2"], "12"),
        ([DECODED.format("1"), DECODED.format("a kernel: 2"), DECODED.format("3")], "1"),
        ([DECODED.format("[    1.000000] [T1] 1"), DECODED.format("2")], "1"),
        (["Aug 28 13:16:32 kernel: [    5.000000] 1", "Aug 28 13:16:33 kernel: [    5.000000] 2"],
         "1"),
        ([ISO.format("000001", "1"), ISO.format("000001", "2"), ISO.format("000000", "3")], "13"),
        (["[<    0.000001>] 1", "[<    0.000000>] 2", "a [+0.000000] 3"], "13"),
        (["\x1b[32m[    5.000000] \x1b[0m1", "[    5.000000] 2"], "1"),
    ],
)  # fmt: skip
def test_a_line_continues_the_record_before_of_its_host_and_caller(
    log: Path, lines: list[str], texts: str
) -> None:
    """These are what the carrier says, nothing in a message; how a stamp is padded says nothing."""
    log.write_text("".join(f"{line}\n" for line in lines))
    assert "".join(text[-1] for text in read(log)[0]) == texts


def test_another_file_under_the_name_is_read_from_its_beginning(log: Path) -> None:
    """After a rotation nothing of the new file is skipped."""
    _, cursor = read(log)
    log.rename(log.with_suffix(".1"))
    log.write_text("new\n")
    assert read(log, cursor)[0] == ["new"]


def test_a_shorter_file_is_read_from_its_beginning(log: Path) -> None:
    """After a truncation, too."""
    _, cursor = read(log)
    os.truncate(log, 0)
    append(log, "new\n")
    assert read(log, cursor)[0] == ["new"]


@pytest.mark.parametrize("cursor", ["", "x", "1:2:3", "::::", "1:2:x:0"])
def test_a_garbage_cursor_reads_everything(log: Path, cursor: str) -> None:
    """A cursor of another program or file is no position."""
    assert read(log, cursor)[0] == ["first", "second"]


def test_only_lines_with_a_needle_are_given(log: Path) -> None:
    """The others are skipped, but lie behind the cursor."""
    texts, cursor = read(log, None, "sec")
    assert texts == ["second"]
    assert read(log, cursor)[0] == []


def test_long_lines_and_bytes_that_are_no_text_are_endured(log: Path) -> None:
    """A megabyte without a newline is skipped, the lines around it are read."""
    log.write_bytes(b"a\0b\n" + b"x" * (1 << 20) + b"\n" + b"\xff\xfe\nlast\n")
    texts, cursor = read(log)
    assert [text for text in texts if text] == ["a\0b", "\ufffd\ufffd", "last"]
    assert read(log, cursor)[0] == []


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 1 << 18, 1 << 20])
def test_the_line_behind_a_long_one_is_read(log: Path, length: int) -> None:
    """The long one is skipped, wherever the chunks end."""
    needle = LINE.format(1)
    log.write_bytes(b"x" * length + b"\n" + needle.encode() + b"\n" + b"y" * length)
    texts, cursor = read(log, None, "shrunk window")
    assert texts == [needle]
    append(log, f"\n{needle}\n")
    assert read(log, cursor, "shrunk window")[0] == [needle]


def test_the_ends_of_lines_are_no_part_of_them(log: Path) -> None:
    """Neither a carriage return, nor NUL bytes that a crash left before the next line."""
    log.write_bytes(b"first\r\n" + b"\0" * 100 + b"<7>[    1.000000] second\r\n")
    assert read(log)[0] == ["first", "second"]


def test_a_repeated_line_counts_as_often_as_it_says(log: Path) -> None:
    """With the time since boot inside or not."""
    head = "Aug 28 13:16:32 host kernel: message repeated 7 times: ["
    log.write_text(f"{head} {LINE.format(1)}]\n{head} [    1.500000] {LINE.format(1)}]\n")
    records = list(File(Settings(str(log), trusted=True)).read(None, ["shrunk window"]))
    assert [(r.text, r.repeated, r.monotonic) for r in records] == [
        (LINE.format(1), 7, None),
        (LINE.format(1), 7, 1.5),
    ]


def test_silence_is_told(log: Path) -> None:
    """Where other programs alone speak at the end of the log, and in the one before."""
    other = "Aug 28 13:16:32 host sshd[7]: Invalid user kernel: x\n"
    log.write_text("Aug 28 13:16:32 host kernel: x\n" + other * 20_000)
    assert "no recent line of the kernel" in str(File(Settings(str(log))).silence())
    log.with_name("kern.log.1").write_text("Aug 27 13:16:32 host kernel: x\n")
    assert File(Settings(str(log))).silence() is None
    assert File(Settings(str(log), rotated=False)).silence() is not None
    append(log, "Aug 28 13:16:32 host kernel: x\n")
    assert File(Settings(str(log), rotated=False)).silence() is None


def test_a_pipe_is_never_called_silent() -> None:
    """What is looked at is gone from it."""
    read_end, write_end = os.pipe()
    os.close(write_end)
    assert File(Settings(f"/dev/fd/{read_end}")).silence() is None
    os.close(read_end)


def test_silence_of_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """It is not silent: nobody knows."""
    with pytest.raises(SourceUnreadable, match="No such file"):
        File(Settings(str(tmp_path / "none"))).silence()


DOCUMENT = b"""{
   "dmesg": [
      {
         "fac": "kern",
         "msg": "window"
      },{
         "msg": "other"
      }
   ]
}
"""
PIECES = [
    b"window\n", b"first\n", b"\n", b"\r\n", b" window\n", b"a window and a window", b"{\n", b"{",
    b"x" * 60, b"x" * 60 + b"window\n", DOCUMENT, DOCUMENT[:50], DOCUMENT[50:], b'   "dmesg": [\n',
]  # fmt: skip


@given(
    before=st.lists(st.sampled_from(PIECES)).map(b"".join),
    after=st.lists(st.sampled_from(PIECES)).map(b"".join),
    chunk=st.integers(1, 100),
    needles=st.sampled_from([(), ("window",), ("first", "window")]),
)
def test_the_size_of_chunks_changes_nothing(
    before: bytes, after: bytes, chunk: int, needles: tuple[str, ...]
) -> None:
    """Lines, records over several lines and cursors are the same, wherever a chunk ends."""
    results = []
    for size in (chunk, 1 << 16):
        with pytest.MonkeyPatch.context() as patch, NamedTemporaryFile() as file:
            patch.setattr("sources.file.lines._CHUNK", size)
            patch.setattr("sources.file.lines.LONGEST", 64)
            log = Path(file.name)
            log.write_bytes(before)
            texts, cursor = read(log, None, *needles)
            log.write_bytes(before + after)
            more, end = read(log, cursor, *needles)
            positions = [each and each.split(":")[2:] for each in (cursor, end)]
            results.append((texts, more, positions))
    assert results[0] == results[1]


def test_a_line_with_two_needles_is_given_once_and_in_its_place(log: Path) -> None:
    """Whichever needle is sought first."""
    append(log, "a second b first\nsecond\n")
    assert read(log, None, "second", "first")[0] == [
        "first",
        "second",
        "a second b first",
        "second",
    ]


def test_an_empty_needle_stands_in_every_line(log: Path) -> None:
    """Whatever others there are."""
    assert read(log, None, "", "sec")[0] == ["first", "second"]


def test_the_memory_it_takes_does_not_grow_with_the_log(log: Path) -> None:
    """Neither with many lines nor with one that must end."""
    log.write_bytes(b"a line\n" * (1 << 20) + b"x" * (8 << 20) + b"\nlast\n")
    source = File(Settings(str(log)))
    tracemalloc.start()
    assert [record.text for record in source.read(None, ["last", "window"])] == ["last"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("facility", "trusted"),
    [
        ('"fac": "kern",', True),
        ('"fac": "user",', False),
        ('"fac": "user",\n         "caller": "{",', False),
    ],
)
def test_a_record_spread_over_lines_is_put_together(
    log: Path, facility: str, trusted: bool
) -> None:
    """``dmesg --json`` writes each member into a line of its own; the facility counts."""
    text = LINE.format(1)
    log.write_text(
        '{\n   "dmesg": [\n      {\n'
        f'         {facility}\n         "pri": "debug",\n         "time":     1.500000,\n'
        f'         "msg": "{text}"\n      }},{{\n         "msg": "other"\n      }}\n   ]\n}}\n'
    )
    records = list(File(Settings(str(log), trusted=True)).read(None, ["window", "other"]))
    assert [(r.text, r.trusted, r.monotonic) for r in records] == [
        (text, trusted, 1.5),
        ("other", True, None),
    ]


def test_such_output_is_read_again_when_it_has_changed(log: Path) -> None:
    """Cut in the middle, or written anew with more in it; not when it is the same."""
    record = '{{\n         "fac": "kern",\n         "msg": "{}"\n      }}'
    whole = '{\n   "dmesg": [\n      ' + ",".join(record.format(LINE.format(i)) for i in (1, 2))
    whole += "\n   ]\n}\n"
    log.write_text(whole[: whole.index('"msg"')])
    texts, cursor = read(log)
    assert texts == []
    log.write_text(whole)
    texts, cursor = read(log, cursor, "window")
    assert texts == [LINE.format(1), LINE.format(2)]
    assert read(log, cursor, "window")[0] == []


def test_what_stands_before_such_output_is_not_read_again(log: Path) -> None:
    """Only the output itself is, from its brace on."""
    append(log, DOCUMENT[:50].decode())
    texts, cursor = read(log)
    assert texts == ["first", "second"]
    append(log, DOCUMENT[50:].decode())
    assert read(log, cursor)[0] == ["window", "other", "}"]  # the last brace is a line as any


def test_a_brace_alone_is_no_such_output(log: Path) -> None:
    """Whoever writes one into a log does not have it read again and again."""
    append(log, "{\nthird\n")
    texts, cursor = read(log)
    assert texts == ["first", "second", "third"]
    append(log, "fourth\n")
    assert read(log, cursor)[0] == ["fourth"]


def test_indented_lines_are_no_record_outside_of_such_output(log: Path) -> None:
    """Journalctl indents what a process wrote behind a line break: nobody vouches for it."""
    log.write_text(f'h evil[7]: hi\n         "fac": "kern",\n         "msg": "{LINE.format(1)}"\n')
    assert list(File(Settings(str(log), trusted=True)).read(None, ["window"])) == []


def test_a_pipe_is_read_to_its_end_and_has_no_cursor(tmp_path: Path) -> None:
    """As a shell's ``<(dmesg)`` gives it."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"first\nsecond\n")
    os.close(write_end)
    assert read(Path(f"/dev/fd/{read_end}")) == (["first", "second"], None)
    os.close(read_end)


@pytest.mark.parametrize(
    ("path", "said"),
    [("/nonexistent/log", "No such file"), ("/", "Is a directory"), ("/dev/zero", "is not a file"),
     ("a\0b", "null (?:byte|character)")],
)  # fmt: skip
def test_what_is_no_file_is_unreadable(path: str, said: str) -> None:
    """It is named with the reason, never read as empty."""
    with pytest.raises(SourceUnreadable, match=said):
        list(File(Settings(path)).read(None, ()))


@pytest.mark.parametrize("space", ["", " "])
def test_a_message_that_is_written_as_numbers_is_looked_into(log: Path, space: str) -> None:
    """Journalctl does so where a message is no UTF-8; its words stand nowhere in the line."""
    text = "Peer 192.0.2.1:1/2 unexpectedly shrunk window 3:4 (repaired)"
    fields = '"_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","SYSLOG_IDENTIFIER":"kernel"'
    log.write_text(f'noise\n{{"MESSAGE"{space}:{space}{list(text.encode())},{fields}}}\n')
    source = File(Settings(str(log), trusted=True))
    assert [record.text for record in source.read(None, ["shrunk window"])] == [text]


def test_an_address_that_may_go_on_is_judged_when_it_ends(log: Path) -> None:
    """Half a line must not get 198.51.100.1 banned where 198.51.100.123 was written."""
    half = "bad login from 198.51.100.1"
    log.write_text(f"one\n{half}")
    source = File(Settings(str(log), trusted=True))
    assert [record.text for record in source.read(None, ())] == ["one"]
    with log.open("a") as more:
        more.write("23\n")
    again = File(Settings(str(log), trusted=True))
    assert [record.text for record in again.read(source.cursor(), ())] == [f"{half}23"]


def test_a_line_that_nobody_completes_is_judged_in_the_end(log: Path) -> None:
    """After a minute, and at once in a pipe, its writer is not waited for."""
    log.write_text("bad login from 198.51.100.1")
    source = File(Settings(str(log), trusted=True))
    assert list(source.read(None, ())) == []
    os.utime(log, (time.time() - 61,) * 2)
    later = File(Settings(str(log), trusted=True))
    assert len(list(later.read(source.cursor(), ()))) == 1
    assert list(File(Settings(str(log), trusted=True)).read(later.cursor(), ())) == []


def test_a_cursor_that_means_nothing_is_told(log: Path) -> None:
    """All is read again, which counts twice what has no stamp."""
    log.write_text("one\n")
    source = File(Settings(str(log), trusted=True))
    assert len(list(source.read("1:2:3:4:zzzz", ()))) == 1
    assert source.notes() == [
        "'1:2:3:4:zzzz' is not a position in a log: read again from the beginning"
    ]


def test_a_pipe_without_a_writer_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the pass would keep away all others."""
    monkeypatch.setattr("sources.file.source._WRITER", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceUnreadable, match="no program writes to the pipe"):
        list(File(Settings(str(tmp_path / "pipe"))).read(None, ()))


@pytest.mark.parametrize(
    "content",
    [b'192.0.2.1 - - [28/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1\n' * 200,
     "[    1.500000] x\n\n".encode("utf-16-be"), bytes(range(33, 256)) + b"\n", b'{"log": "x"}\n'],
)  # fmt: skip
def test_a_log_that_nobody_understands_is_told(log: Path, content: bytes) -> None:
    """With its first line, so that who named it sees what it is; one known line is enough."""
    log.write_bytes(content)
    source = File(Settings(str(log)))
    assert list(source.read(None, ["window"])) == []
    [note] = source.notes()
    assert note.startswith(f"not one line of {str(log)!r} is understood (")
    append(log, "Nov 28 10:00:00 web1 sshd[7]: hello\n")
    again = File(Settings(str(log)))
    assert list(again.read(source.cursor(), ["window"])) == []
    assert again.notes() == []


def test_a_bare_message_that_is_sought_is_no_strange_line(log: Path) -> None:
    """As ``dmesg -t`` prints them."""
    append(log, f"hello\n{LINE.format(1)}\n")
    source = File(Settings(str(log)))
    assert [record.text for record in source.read(None, ["window"])] == [LINE.format(1)]
    assert source.notes() == []


def test_stamps_tell_the_hour_that_comes_twice(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where summer time ends, lines without a zone go back by an hour; the kernel does not."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        clock = [
            ("01:59:59", 10.0),
            ("02:59:59", 3610.0),
            ("02:00:01", 3612.0),
            ("03:00:01", 7212.0),
        ]
        append(log, "".join(f"Oct 25 {at} h kernel: [{stamp:.6f}] {LINE.format(1)}\n"
                            for at, stamp in clock))  # fmt: skip
        records = list(File(Settings(str(log))).read(None, ["window"]))
    time.tzset()
    first, *others = (record.time or 0 for record in records)
    assert [each - first for each in others] == [3600, 3602, 7202]


def test_the_last_stamp_dates_the_lines_of_a_log(log: Path) -> None:
    """Its last line was written when the file was; an earlier boot came before this one."""
    peer = LINE.format(1)
    stamps = (70.0, 100.0, 100.000005, 130.5, 140.500003)
    append(log, "".join(f"[{stamp:12.6f}] {peer}\n" for stamp in stamps))
    append(log, "[  140.500000] x\n")
    os.utime(log, (1000.0, 1000.0))
    records = File(Settings(str(log))).read(None, ["window"])
    known = [record.latest for record in records]
    assert known == pytest.approx([929.499997, 959.499997, 959.500002, 989.999997, 1000.0])
    append(log, "[    1.000000] another boot\n")
    records = File(Settings(str(log))).read(None, ["window"])
    assert {record.latest for record in records} == {None}


def test_the_stream_of_the_logging_daemon_is_no_log() -> None:
    """What is read from it is gone; it would never end."""
    with pytest.raises(SourceUnreadable, match="is no log") as refused:
        list(File(Settings("/proc/kmsg")).read(None, ["window"]))
    assert "kmsg" in refused.value.hint
