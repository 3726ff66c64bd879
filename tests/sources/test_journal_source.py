"""The source journal, on journal files made by systemd-journal-remote, and on a real journald."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import DATA, REAL_ROOT, Place
from journals import BOOT, REMOTE, JournalFiles

from reconciler import NotingSource, Record, SilenceAwareSource, SourceUnreadable
from reconciler.detection.detect import RULES, detect
from reconciler.testing import WakingSourceContract
from sources.journal import Settings
from sources.journal.journalctl import Journalctl
from sources.journal.source import Journal

NEEDLES = [rule.needle for rule in RULES]
LATER_BOOT = "2" * 32
SAMPLES = [
    sample
    for line in (DATA / "kernel-messages.jsonl").read_text().splitlines()
    if (sample := json.loads(line))["carrier"] == "journal-json"
]


class Files(JournalFiles):
    """A directory of journal files, and the source that reads it."""

    def __init__(self, path: Path, command: tuple[str, ...] = ("journalctl",)) -> None:
        super().__init__(path)
        self.command = command

    def source(self) -> Journal:
        """Read it."""
        return Journal(Settings(str(self.path)), Journalctl(str(self.path), self.command))

    def read(self, cursor: str | None = None, needles: Iterable[str] = NEEDLES) -> "Pass":
        """Read it as a pass does."""
        source = self.source()
        records = [*source.read(cursor, [*needles])]
        return Pass(records, source.cursor(), [*source.notes()])


class Pass:
    """What a pass read, and where it ended."""

    def __init__(self, records: list[Record], cursor: str | None, notes: list[str]) -> None:
        self.records, self.cursor, self.notes = records, cursor, notes

    @property
    def texts(self) -> list[str]:
        """The records' texts."""
        return [record.text for record in self.records]


def offence(number: int) -> str:
    """Return a message about a peer; each number has its own."""
    return f"TCP: Treason uncloaked! Peer 192.0.2.7:{number}/80 shrinks window 1:2. Repaired."


def offences(*numbers: int) -> list[str]:
    """Return several."""
    return [offence(number) for number in numbers]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A directory of journal files."""
    return Files(tmp_path / "journal")


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    """Make a journalctl of the test's own; `exec journalctl "$@"` is the real one."""

    def make(script: str) -> tuple[str, ...]:
        path = tmp_path / "journalctl"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return (str(path),)

    return make


class TestJournal(WakingSourceContract):
    """The contract, on journal files."""

    @pytest.fixture
    def carrier(self, files: Files) -> Files:
        """A directory of them."""
        self.files = files
        return files

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The directory is not there."""
        self.files.path.rename(self.files.path.with_name("gone"))
        yield

    def forge(self, text: str) -> None:
        """Write as journald stores what a process writes to /dev/kmsg."""
        identifier, _, message = text.partition(": ")
        self.files.entries(
            [
                {"MESSAGE": message, "SYSLOG_IDENTIFIER": identifier, "SYSLOG_FACILITY": "1"},
                {"MESSAGE": text, "_TRANSPORT": "syslog"},
                {"MESSAGE": text, "_TRANSPORT": "journal"},
            ]
        )


def found(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return what the samples expect of records."""
    offences = [offence for record in records if (offence := detect(record))]
    return [
        {
            "address": str(offence.address),
            "peer_port": offence.peer_port,
            "local_port": offence.local_port,
            "form": offence.rule,
            "count": offence.count,
        }
        for offence in offences
        if offence.trusted
    ]


def test_every_sample_yields_what_it_must(files: Files) -> None:
    """Each stands in a real journal file, and is read by the real journalctl."""
    files.entries(
        {
            name: bytes(value) if isinstance(value, list) else value
            for name, value in json.loads(sample["text"]).items()
            if not name.startswith("__") and value is not None
        }
        for sample in SAMPLES
    )
    assert len(SAMPLES) > 8
    done = files.read()
    assert found(done.records) == [each for sample in SAMPLES for each in sample["expect"]]
    assert [record for record in done.records if not record.trusted]


def test_a_record_has_exact_times_and_its_boot(files: Files) -> None:
    """Microseconds since boot are the kernel's, those since the epoch journald's."""
    files.entries([{"MESSAGE": offence(1), "_SOURCE_MONOTONIC_TIMESTAMP": "83925308441"}])
    [record] = files.read().records
    assert record.monotonic is not None
    assert round(record.monotonic * 1e6) == 83925308441
    assert record.time == pytest.approx(time.time(), abs=60)
    assert (record.boot_id, record.facility, record.carrier) == (BOOT, 0, "journal")


def test_a_message_is_no_other_entry_whatever_it_holds(files: Files) -> None:
    """The name of a device may hold newlines, other bytes, and a whole forged entry."""
    forged = (
        f"usb 1-1: Product: x\n\n__CURSOR=s=1\nMESSAGE={offence(1)}\n_TRANSPORT=kernel\n"
        "SYSLOG_FACILITY=0\nSYSLOG_IDENTIFIER=kernel\n\n"
    )
    odd = b"caf\xe9 \x00 " + offence(2).encode()
    long = f"{'x' * 100_000} {offence(3)}"
    files.entries([{"MESSAGE": forged}, {"MESSAGE": odd}, {"MESSAGE": long}])
    done = files.read()
    assert done.texts == [forged, odd.decode(errors="replace"), long]
    assert found(done.records) == []


def test_a_field_that_stands_twice_vouches_for_nothing(files: Files) -> None:
    """A sender of journals may write one facility for the filter and another beside it."""
    twice = b"0\nSYSLOG_FACILITY=1"
    text = f"__REALTIME_TIMESTAMP={files.micros}\n__MONOTONIC_TIMESTAMP=1\n_BOOT_ID={BOOT}\n"
    text += f"_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\nMESSAGE={offence(1)}\nSYSLOG_FACILITY="
    subprocess.run(
        [REMOTE, "--output", files.path / files.file, "-"],
        input=text.encode() + twice + b"\n\n", capture_output=True, check=True,
    )  # fmt: skip
    [record] = files.read().records
    assert not record.trusted


@pytest.mark.parametrize("needles", [(), ("",), ("nonsense", "")])
def test_without_a_needle_everything_of_the_kernel_is_read(
    files: Files, needles: tuple[str, ...]
) -> None:
    """And nothing of anybody else."""
    files.entries([{"MESSAGE": "one"}, {"MESSAGE": "two", "_TRANSPORT": "syslog"}])
    files.write("three")
    assert files.read(None, needles).texts == ["one", "three"]


@pytest.mark.parametrize("needle", ["a.c", "(x", "[", "\\E", "a|b", "^", "ä☃", "x\0y", " #", "--"])
def test_a_needle_is_taken_by_the_letter(files: Files, needle: str) -> None:
    """It is no pattern, and upper case is not lower case."""
    texts = ["abc", "A.C", f"<{needle}>", "nothing"]
    files.write(*texts)
    expected = [text for text in texts if needle in text]
    assert files.read(None, [needle, "no such"]).texts == expected != []


def test_what_holds_no_needle_is_not_looked_at_again(
    files: Files,
) -> None:
    """The cursor goes on behind it, also where nothing was found."""
    files.write(*["of no interest"] * 50)
    first = files.read()
    assert first.records == []
    files.entries([{"MESSAGE": "a process's", "_TRANSPORT": "syslog"}] * 3)
    files.write(offence(1), *["of no interest"] * 7)
    second = files.read(first.cursor, ())
    assert second.texts == [offence(1), *["of no interest"] * 7]
    third = files.read(second.cursor)
    assert (third.records, third.cursor, third.notes) == ([], second.cursor, [])


def test_two_boots_and_rotated_files_are_one_journal(files: Files) -> None:
    """In the order of time; the cursor holds across them."""
    files.write(*offences(1, 2))
    first = files.read()
    (files.path / "system.journal").rename(files.path / "system@old.journal")
    files.boot = LATER_BOOT
    files.write(*offences(3, 4))
    assert files.read(first.cursor).texts == offences(3, 4)
    done = files.read()
    assert done.texts == offences(1, 2, 3, 4)
    assert [record.boot_id for record in done.records] == [BOOT, BOOT, LATER_BOOT, LATER_BOOT]
    assert done.notes == []


def test_what_was_vacuumed_before_it_was_read_is_told_once(files: Files) -> None:
    """Reading goes on with the first record that is left, and does not pass over it."""
    files.write(*offences(1, 2))
    first = files.read()
    (files.path / "system.journal").unlink()
    files.entries([{"MESSAGE": "a process's", "_TRANSPORT": "syslog"}])
    second = files.read(first.cursor)
    assert second.records == []
    assert len(second.notes) == 1
    assert "not in the journal any more" in second.notes[0]
    files.write(*offences(3, 4))
    for cursor in (first.cursor, second.cursor):
        assert files.read(cursor).texts == offences(3, 4)
    assert files.read(second.cursor).notes == []


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        ("nonsense", offences(1, 2)),
        ("", offences(1, 2)),
        ("s=zz;t={first:x};x=0", offences(1, 2)),
        ("s=zz;t={second:x};x=0", offences(2)),
    ],
)
def test_a_cursor_that_is_none_is_told(files: Files, cursor: str, expected: list[str]) -> None:
    """What came since its time is read again, or everything if it has none; then all is well."""
    files.write(*offences(1, 2))
    cursor = cursor.format(first=files.micros + 1, second=files.micros + 2)
    done = files.read(cursor)
    assert done.texts == expected
    [note] = done.notes
    assert "is not a journal cursor" in note
    later = files.read(done.cursor)
    assert (later.records, later.notes) == ([], [])


def test_the_cursor_of_another_journal_goes_on_by_its_time(files: Files, tmp_path: Path) -> None:
    """And says so."""
    other = Files(tmp_path / "other")
    files.write(*offences(1, 2))
    other.micros = files.micros + 1_000_000
    other.boot = LATER_BOOT
    other.write(offence(3))
    files.micros += 2_000_000
    files.write(offence(4))
    done = files.read(other.read().cursor)
    assert done.texts == [offence(4)]
    assert "reading went on by its time" in done.notes[0]


def test_an_entry_that_journald_copied_is_not_read_twice(files: Files, tmp_path: Path) -> None:
    """Flushed from /run to /var it has another sequence and number, but all else is the same."""
    copy = Files(tmp_path / "copy")
    copy.micros = files.micros
    entries = [{"MESSAGE": text} for text in offences(1, 2, 3)]
    files.entries(entries[:2])
    copy.entries(entries)
    cursor = files.read().cursor
    assert cursor not in {None, copy.read().cursor}
    done = copy.read(cursor)
    assert (done.texts, done.notes) == ([offence(3)], [])


def test_a_reading_that_is_broken_off_goes_on_behind_its_last_record(files: Files) -> None:
    """Nothing is left running."""
    files.write(*offences(*range(2000)))
    source = files.source()
    coming = source.read(None, NEEDLES)
    taken = [next(coming).text for _ in range(700)]
    cursor = source.cursor()
    assert isinstance(coming, Generator)
    coming.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert taken + files.read(cursor).texts == offences(*range(2000))


def test_what_comes_while_it_reads_is_read_once(files: Files) -> None:
    """In this pass or in the next."""
    files.write(*offences(*range(20_000)))
    source = files.source()
    coming = source.read(None, NEEDLES)
    texts = [next(coming).text]
    files.write(*offences(20_001, 20_002))
    texts += [record.text for record in coming]
    assert texts + files.read(source.cursor()).texts == offences(*range(20_000), 20_001, 20_002)


@pytest.mark.parametrize("damage", ["cut", "no header", "emptied"])
def test_a_file_that_cannot_be_opened_is_told(files: Files, damage: str) -> None:
    """Alone it makes the journal unreadable; beside others they are read, with a note."""
    files.write(*offences(1, 2))
    path = files.path / "system.journal"
    with path.open("r+b") as file:
        if damage == "no header":
            file.write(os.urandom(256))
        else:
            file.truncate(0 if damage == "emptied" else 100_000)
    path.rename(files.path / "system@old.journal")
    with pytest.raises(SourceUnreadable, match=r"system@old\.journal"):
        files.read()
    files.write(offence(3))
    done = files.read()
    assert done.texts == [offence(3)]
    assert any("system@old.journal" in note for note in done.notes)


def test_damage_in_the_middle_costs_the_middle_and_is_told(files: Files) -> None:
    """What stands before it is read, and so is what comes behind it later."""
    files.write(*offences(*range(3000)))
    data = (files.path / "system.journal").read_bytes()
    at = data.index(b"MESSAGE=" + offence(1000).encode())
    with (files.path / "system.journal").open("r+b") as file:
        file.seek(at & ~7)
        file.write(bytes(4096))
    done = files.read()
    assert done.texts[:900] == offences(*range(900))
    assert done.texts[-1] == offence(2999)
    assert len(set(done.texts)) == len(done.texts) < 3000
    assert "not all of the journal could be read" in done.notes[0]
    assert files.read(done.cursor).records == []


def test_of_much_damage_a_few_lines_are_told(
    files: Files, command: Callable[[str], tuple[str, ...]]
) -> None:
    """Each once, then how many more there are."""
    files.write(offence(1))
    bad = "Entry item $((i % 7)) data object is bad, skipping over it: Bad message"
    files.command = command(
        f'i=0; while [ $i -lt 20 ]; do echo "{bad}" >&2; i=$((i + 1)); done; exec journalctl "$@"'
    )
    done = files.read()
    assert done.texts == [offence(1)]
    assert [note[:47] for note in done.notes[:3]] == [
        "not all of the journal could be read: Entry ite"
    ] * 3
    assert done.notes[3:] == ["and 4 more; journalctl --verify tells what is damaged"]


def test_without_patterns_the_needles_are_sought_here(
    files: Files, command: Callable[[str], tuple[str, ...]]
) -> None:
    """A journalctl may be built without PCRE2."""
    files.write("nothing", offence(1), "nothing")
    files.command = command(
        'case "$*" in *--grep*)\n'
        'echo "Compiled without pattern matching support" >&2; exit 1;; esac\n'
        'exec journalctl "$@"'
    )
    done = files.read()
    assert (done.texts, done.notes) == ([offence(1)], [])
    assert files.read(done.cursor).records == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Failed to add match: no' >&2; exit 1", "Failed to add match: no"),
        ("exit 3", "failed with exit code 3"),
        ("kill -9 $$", "was killed by signal 9"),
        ('case "$*" in *=export*) echo odd >&2; exit 2;; esac; exec journalctl "$@"', "odd"),
        ('case "$*" in *=export*) exit 1;; esac; exec journalctl "$@"', "gave up"),
        (
            'case "$*" in *=export*) echo "An error was x.journal, ignoring" >&2; exit 1;; esac',
            "x.journal, ignoring",
        ),
    ],
)
def test_a_journalctl_that_fails_is_no_empty_journal(
    files: Files, command: Callable[[str], tuple[str, ...]], script: str, reason: str
) -> None:
    """Whatever it says, and however it ends."""
    files.write(offence(1))
    files.command = command(script)
    with pytest.raises(SourceUnreadable, match=reason):
        files.read()


@pytest.mark.parametrize("when", ["*", "*=export*"])
def test_a_journalctl_that_hangs_is_ended(
    files: Files, command: Callable[[str], tuple[str, ...]], when: str
) -> None:
    """At the first look, and in the middle of reading."""
    files.write(*offences(1, 2))
    hanging = command(f'case "$*" in {when}) echo A=1; exec sleep 60;; esac; exec journalctl "$@"')
    source = Journal(None, Journalctl(str(files.path), hanging, patience=0.5))
    start = time.monotonic()
    with pytest.raises(SourceUnreadable, match=r"did not end|produced no output"):
        list(source.read(None, NEEDLES))
    assert time.monotonic() - start < 30


def test_a_journalctl_that_is_missing_is_named() -> None:
    """With what to do."""
    source = Journal(None, Journalctl(command=("/nonexistent/journalctl",)))
    with pytest.raises(SourceUnreadable, match=r"program not found") as raised:
        list(source.read(None, NEEDLES))
    assert "install" in raised.value.hint


def test_where_there_is_no_journal_it_is_unreadable(files: Files) -> None:
    """Not empty."""
    with pytest.raises(SourceUnreadable, match="there are no journal files"):
        files.read()


def test_an_empty_journal_is_empty(files: Files) -> None:
    """It has files, and nothing of the kernel; silence says so."""
    files.entries([{"MESSAGE": offence(1), "_TRANSPORT": "syslog"}])
    done = files.read()
    assert (done.records, done.cursor) == ([], None)
    source = files.source()
    assert isinstance(source, SilenceAwareSource)
    assert isinstance(source, NotingSource)
    assert "no record of the kernel" in (source.silence() or "")
    files.entries([{"MESSAGE": "x", "SYSLOG_FACILITY": "1", "SYSLOG_IDENTIFIER": "x"}])
    assert files.source().silence()
    files.write("Linux version 6.1")
    assert files.source().silence() is None


@pytest.mark.skipif(not REAL_ROOT, reason="needs root, to be somebody else")
def test_who_may_not_read_it_is_told_what_to_do(
    files: Files, command: Callable[[str], tuple[str, ...]]
) -> None:
    """For journalctl it is no error where some files can be read."""
    files.write(offence(1))
    files.path.joinpath("system.journal").chmod(0o600)
    for directory in (files.path, *files.path.parents):
        directory.chmod(directory.stat().st_mode | 0o011)
    nobody = 'exec setpriv --reuid=65534 --regid=65534 --clear-groups journalctl "$@"'
    files.command = command(nobody)
    with pytest.raises(SourceUnreadable, match="no permission") as raised:
        files.read()
    assert "systemd-journal" in raised.value.hint


def test_a_hundred_thousand_records_are_read_in_little_memory(files: Files) -> None:
    """No more than when there are none."""
    files.write(*offences(*range(100_000)))
    script = (
        "import resource, sys\n"
        "from sources.journal import Settings\n"
        "from sources.journal.source import Journal\n"
        "needle = sys.argv[2]\n"
        "read = sum(1 for _ in Journal(Settings(sys.argv[1])).read(None, [needle]))\n"
        "print(read, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )

    def measured(needle: str) -> list[int]:
        argv = [sys.executable, "-c", script, str(files.path), needle]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    (none, least), (every, most) = measured("no such words"), measured("uncloaked")
    assert (none, every) == (0, 100_000)
    assert most - least < 8_000  # kilobytes; the records are 30,000 in the export format


def test_the_command_line_takes_a_directory(files: Files, place: Place) -> None:
    """The configuration as well; a second pass finds nothing new."""
    files.write(offence(1))
    result = place.treason("scan", "--source", f"journal:{files.path}")
    assert (result.code, "1 offence, 1 new ban" in result.out) == (0, True)
    result = place.treason("scan", "--source", f"journal:{files.path}")
    assert "0 offences" in result.out
    place.configure(f'[source.journal]\ndirectory = "{files.path}"', main='sources = ["journal"]')
    assert place.treason("scan").code == 0


@pytest.mark.kmsg
@pytest.mark.skipif(not REAL_ROOT, reason="needs root, for a journald of its own")
def test_a_real_journald_tells_the_kernels_records_from_a_process(
    tmp_path: Path, kmsg: Callable[[str], None]
) -> None:
    """What the kernel wrote is trusted; the same words written to /dev/kmsg are refused."""
    word = os.urandom(8).hex()
    kmsg(f"<6>TCP: Treason uncloaked! {word}")
    script = tmp_path / "inside.py"
    script.write_text(INSIDE)
    outside = str(Path("/proc/self/ns/mnt").readlink())
    argv = ["unshare", "--mount", sys.executable, str(script), word, outside]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["kernel"] > 0
    assert said["forged"] == [[f"TCP: Treason uncloaked! {word}", False, 1]]
    assert said["again"] == 0
    assert said["silence"] is None
    assert "no permission" in said["nobody"]
    assert said["member"] == said["all"]


INSIDE = r'''
"""Start a journald that sees no other's files, and read what it stores of the real /dev/kmsg."""

import grp
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from reconciler import SourceUnreadable
from sources.journal.source import Journal

assert os.readlink("/proc/self/ns/mnt") != sys.argv[2]
for place in ("/run", "/var/log"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)
Path("/run/systemd/journal").mkdir(parents=True)
daemon = subprocess.Popen(["/lib/systemd/systemd-journald"], stderr=subprocess.DEVNULL)


def read(needles, cursor=None):
    source = Journal()
    return [*source.read(cursor, needles)], source.cursor()


def attempt():
    try:
        return len(read(())[0])
    except SourceUnreadable as error:
        return str(error)


def somebody(groups):
    ends = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups(groups)
        os.setgid(65534)
        os.setuid(65534)
        os.write(ends[1], json.dumps(attempt()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return json.loads(os.read(ends[0], 10_000))


try:
    deadline = time.monotonic() + 20
    forged = []
    while not forged and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            forged, cursor = read([sys.argv[1]])
        except SourceUnreadable:
            pass
    records, cursor = read(())
    group = grp.getgrnam("systemd-journal").gr_gid
    for path in (Path("/run/log/journal"), *Path("/run/log/journal").rglob("*")):
        os.chown(path, 0, group)
    print(json.dumps({
        "kernel": sum(r.trusted and r.facility == 0 and bool(r.monotonic) for r in records),
        "forged": [[r.text, r.trusted, r.facility] for r in forged],
        "again": len(read([sys.argv[1]], cursor)[0]),
        "silence": Journal().silence(),
        "all": attempt(),
        "nobody": somebody([]),
        "member": somebody([group]),
    }))
finally:
    daemon.terminate()
    daemon.wait()
'''


def come(source: Journal, number: int) -> list[str]:
    """Return so many messages, which are read whenever they wake."""
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    found: list[str] = []
    while len(found) < number:
        assert poll.poll(10_000), "nothing comes"
        found += [record.text for record in source.read(source.cursor(), NEEDLES)]
    return found


def test_no_program_runs_for_what_comes(
    files: Files, command: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    """One that goes on tells all of it, also over rotation; those that are run are counted."""
    files.command = command(f'echo run >> "{tmp_path}/runs"; exec journalctl "$@"')
    files.write(*offences(1))
    source = files.source()
    source.fileno()
    assert len([*source.read(None, NEEDLES)]) == 1
    files.write(*offences(2))
    assert come(source, 1) == offences(2)
    runs = (tmp_path / "runs").read_text()
    for number in range(3, 9):
        files.file = f"system@{number}.journal"
        files.write(*offences(number))
        assert come(source, 1) == offences(number)
    assert (tmp_path / "runs").read_text() == runs
    assert files.read(source.cursor()).texts == []
    source.close()


def test_a_program_that_ends_is_an_error_and_started_anew(
    files: Files, command: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    """What came meanwhile is read then; until then nothing wakes."""
    files.command = command(f'echo $$ > "{tmp_path}/pid"; exec journalctl "$@"')
    files.write(*offences(1))
    source = files.source()
    source.fileno()
    assert len([*source.read(None, NEEDLES)]) == 1
    files.write(*offences(2))
    assert come(source, 1) == offences(2)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(SourceUnreadable, match="was killed by signal 9"):
        come(source, 1)
    files.write(*offences(3, 4))
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    assert not poll.poll(0)
    assert [r.text for r in source.read(source.cursor(), NEEDLES)] == offences(3, 4)
    files.write(*offences(5))
    assert come(source, 1) == offences(5)
    source.close()


def test_what_the_program_prints_must_be_entries(
    files: Files, command: Callable[[str], tuple[str, ...]]
) -> None:
    """Or it is ended: however much it prints, little is held."""
    files.command = command(
        'for each; do case "$each" in --follow) exec yes;; esac; done; exec journalctl "$@"'
    )
    files.write(*offences(1))
    source = files.source()
    source.fileno()
    assert len([*source.read(None, NEEDLES)]) == 1
    with pytest.raises(SourceUnreadable, match="printed something that is not an entry"):
        come(source, 1)
    source.close()


FOLLOWING = """
import sys
from sources.journal import Settings
from sources.journal.journalctl import Journalctl
from sources.journal.source import Journal
source = Journal(Settings(sys.argv[1]), Journalctl(sys.argv[1], (sys.argv[2],)))
source.fileno()
print([*source.read(None, ())], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_no_program_is_left_running(
    signum: signal.Signals,
    files: Files,
    command: Callable[[str], tuple[str, ...]],
    tmp_path: Path,
) -> None:
    """It ends by itself once nobody reads what it prints."""
    files.write(*offences(1))
    tells = f'echo $$ > "{tmp_path}/new" && mv "{tmp_path}/new" "{tmp_path}/pid"'
    [script] = command(f'case "$*" in *--follow*) {tells};; esac; exec journalctl "$@"')
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOWING, str(files.path), script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        descriptor = _running(tmp_path / "pid")
        process.send_signal(signum)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(10_000)
    os.close(descriptor)


def _running(told: Path) -> int:
    """Wait for a program to tell its process id; return a descriptor of it."""
    for _ in range(1000):
        if told.exists():
            return os.pidfd_open(int(told.read_text()))
        time.sleep(0.01)
    raise AssertionError("it was not started")


def test_a_journal_without_entries_is_waited_for(files: Files) -> None:
    """Whatever cursor there was."""
    files.write("first")
    for cursor in (None, "nonsense"):
        source = files.source()
        source.fileno()
        assert len([*source.read(cursor, ["first"])]) == 1
        files.write(*offences(1))
        assert come(source, 1) == offences(1)
        source.close()
