"""The source kmsg, on the real /dev/kmsg; what cannot be had for real is played."""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import DATA, Place
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler import SourceUnreadable
from reconciler.detection.detect import RULES, detect
from reconciler.execute import run
from reconciler.interfaces import NotingSource, SilenceAwareSource
from reconciler.testing import WakingSourceContract
from sources import kmsg as module
from sources.kmsg import Kmsg

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
GONE = BrokenPipeError(errno.EPIPE, "Broken pipe")


def played(*script: bytes | OSError) -> Kmsg:
    """Make a source whose device gives these records, and fails where the script says so.

    Each opening begins with the first.
    """
    coming = iter(script)

    def opened(_path: Path) -> int:
        nonlocal coming
        coming = iter(script)
        return os.open(os.devnull, os.O_RDONLY)

    def read(_descriptor: int, _size: int) -> bytes:
        event = next(coming, BlockingIOError(errno.EAGAIN, "Try again"))
        if isinstance(event, OSError):
            raise event
        return event

    return Kmsg(open_device=opened, read_record=read)


def record(sequence: int, text: str = "hello", *, flags: str = "-") -> bytes:
    """Write a record of the kernel as the device gives it."""
    return f"6,{sequence},{sequence * 1000},{flags};{text}\n".encode()


def texts(source: Kmsg, cursor: str | None = None, *needles: str) -> list[str]:
    """Read it to its end."""
    return [each.text for each in source.read(cursor, needles)]


class Buffer:
    """The kernel's message buffer, as a process may write it."""

    device = Path("/dev/kmsg")

    def write(self, *texts: str) -> None:
        """Write a record for each; a descriptor is allowed ten in a burst."""
        for text in texts:
            descriptor = os.open("/dev/kmsg", os.O_WRONLY)
            os.write(descriptor, f"<6>{text}\n".encode())
            os.close(descriptor)

    def source(self) -> Kmsg:
        """Read it."""
        return Kmsg(device=self.device)


@pytest.mark.kmsg
class TestKmsg(WakingSourceContract):
    """The contract, on the real buffer; it is small, and others read it too."""

    many = 100
    heard = False

    @pytest.fixture
    def carrier(self, kmsg: Callable[[str], None]) -> Buffer:
        """The buffer."""
        self.buffer = Buffer()
        return self.buffer

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """Another device stands in its place, as in a container."""
        self.buffer.device = Path("/dev/null")
        yield

    def forge(self, text: str) -> None:
        """Write with the kernel's own facility; the kernel changes it."""
        self.buffer.write(text)


@pytest.mark.kmsg
def test_a_written_record_is_read_once(kmsg: Callable[[str], None]) -> None:
    """The cursor resumes behind what was read; the record is a process's, and untrusted."""
    first = Kmsg()
    list(first.read(None, ()))
    word = f"treason-test {os.urandom(8).hex()}"
    kmsg(f"<6>{word}: hello")
    second = Kmsg()
    [record] = second.read(first.cursor(), [word])
    assert (record.text, record.facility, record.level) == (f"{word}: hello", 1, 6)
    assert not record.trusted
    assert list(Kmsg().read(second.cursor(), [word])) == []


@pytest.fixture
def kernel_speaks() -> None:
    """Let the kernel itself print two records: a namespace's loopback device turns promiscuous."""
    for state in ("on", "off"):
        run(["unshare", "--net", "ip", "link", "set", "lo", "promisc", state])


@pytest.mark.kmsg
def test_the_kernels_own_records_are_trusted(
    kmsg: Callable[[str], None], kernel_speaks: None
) -> None:
    """Those of facility 0 come with boot, sequence and times."""
    records = [record for record in Kmsg().read(None, ()) if record.facility == 0]
    assert records
    assert all(record.trusted and record.boot_id for record in records)
    numbers = [record.sequence or 0 for record in records]
    assert numbers == sorted(numbers)


@pytest.mark.kmsg
@pytest.mark.parametrize("cursor", ["", "nonsense", "00000000-0000-0000-0000-000000000000:5"])
def test_a_cursor_of_another_boot_starts_anew(kmsg: Callable[[str], None], cursor: str) -> None:
    """Sequence numbers mean nothing across boots."""
    word = f"treason-test {os.urandom(8).hex()}"
    kmsg(f"<6>{word}")
    assert len(list(Kmsg().read(cursor, [word]))) == 1


def test_another_device_is_not_the_kernels_buffer() -> None:
    """Containers put /dev/null in its place: that is unreadable, not empty."""
    with pytest.raises(SourceUnreadable, match="not the kernel's message buffer"):
        list(Kmsg(device=Path("/dev/null")).read(None, ()))


def test_a_missing_device_is_unreadable(tmp_path: Path) -> None:
    """It is named, with the system's reason."""
    with pytest.raises(SourceUnreadable, match="No such file"):
        list(Kmsg(device=tmp_path / "kmsg").read(None, ()))


def test_records_lost_between_passes_are_counted() -> None:
    """Between the cursor and the oldest record that is left."""
    source = played(record(104), record(105))
    assert texts(source, f"{BOOT}:100") == ["hello", "hello"]
    [note] = source.notes()
    assert note.startswith("3 records lost: overwritten before they were read; run treason more")
    assert source.cursor() == f"{BOOT}:105"


@pytest.mark.parametrize(
    ("cursor", "read", "lost"),
    [
        (None, 4, "4 records"),
        (f"{BOOT}:7", 4, "4 records"),
        (f"{BOOT}:10", 2, "3 records"),
        (f"{BOOT}:12", 2, "1 record "),
    ],
)
def test_records_lost_while_reading_are_counted(cursor: str | None, read: int, lost: str) -> None:
    """Only those behind the cursor: what an earlier pass has read is no loss."""
    source = played(record(8), record(9), GONE, record(14), record(15))
    assert len(texts(source, cursor)) == read
    [note] = source.notes()
    assert note.startswith(f"{lost.strip()} lost")


@pytest.mark.parametrize("cursor", [None, "nonsense", f"{BOOT}:", f"{BOOT}:³", f"{BOOT}:41"])
def test_nothing_is_said_to_be_lost_that_was_not(cursor: str | None) -> None:
    """A first reading does not know what was there before; behind the cursor nothing is missing."""
    source = played(record(42), record(43))
    assert len(texts(source, cursor)) == 2
    assert list(source.notes()) == []


@pytest.mark.parametrize("number", ["44", "99999999999999999999", "9" * 5000])
def test_a_cursor_that_no_record_can_have_reads_all(number: str) -> None:
    """Numbers only grow: one ahead of the newest record was never read."""
    source = played(record(42), record(43))
    assert len(texts(source, f"{BOOT}:{number}")) == 2
    assert source.cursor() == f"{BOOT}:43"


def test_a_restart_is_told() -> None:
    """The old boot's last records are gone, and those that the new one has overwritten."""
    source = played(record(5), record(6))
    assert len(texts(source, "00000000-0000-0000-0000-000000000000:700")) == 2
    restart, loss = source.notes()
    assert "was restarted" in restart
    assert loss.startswith("5 records lost")


def test_a_record_larger_than_any_is_an_error() -> None:
    """EINVAL cannot happen with 8192 bytes; if it does, that is not taken for the end."""
    with pytest.raises(SourceUnreadable, match="Invalid argument"):
        texts(played(record(1), OSError(errno.EINVAL, "Invalid argument")))


def test_malformed_records_are_skipped() -> None:
    """Whatever the device gives, the records behind it are read."""
    strange = [
        b"",
        b"\n",
        b";",
        b"6",
        b"6,x,1,-;hello\n",
        b"6,2",
        b"\xff,\xff,\xff,\xff;\n",
        b"x,2,3,-;\n",
    ]
    assert texts(played(record(1), *strange, record(3, "last"))) == ["hello", "last"]


@given(st.lists(st.binary(max_size=80) | st.from_regex(rb"[0-9]{1,3},[0-9]{1,3},[^;]*;.*")))
@example([b"0,1,1,-;" + b"x" * 8000])
def test_no_record_can_break_the_reader(records: list[bytes]) -> None:
    """It reads on, and trusts nothing that does not say facility 0."""
    for each in played(*records).read(None, ()):
        assert each.trusted == (each.facility == 0)
        assert each.sequence is not None


def test_lines_behind_the_text_are_not_the_text() -> None:
    """They hold the device's properties: SUBSYSTEM and DEVICE."""
    data = record(1, "usb 1-1: new device\n SUBSYSTEM=usb\n DEVICE=c189:1")
    assert texts(played(data)) == ["usb 1-1: new device"]


def test_escapes_are_bytes_of_utf8() -> None:
    r"""The kernel writes each byte that is not printable ASCII, and the backslash, as ``\xNN``."""
    data = record(1, r"caf\xc3\xa9 \xe2\x98\x83 \x5cx41 \xff\x09.")
    assert texts(played(data)) == ["caf\xe9 \u2603 \\x41 \ufffd\t."]


def test_needles_are_found_as_the_buffer_writes_them() -> None:
    """Also those with letters or backslashes that the kernel escapes."""
    script = [record(1, r"a caf\xc3\xa9"), record(2, r"a \x5cn"), record(3, "a word")]
    assert texts(played(*script), None, "caf\xe9", "\\n") == ["a caf\xe9", "a \\n"]


@pytest.mark.parametrize("flags", ["c", "+", "c,caller=T1", "-,ncfrag=0/99"])
def test_pieces_of_a_line_are_no_message(flags: str) -> None:
    """What stands behind the kernel's own words can be a stranger's, and look like a message."""
    source = played(record(1, "usb 1-1: Product: "), record(2, "TCP: Peer", flags=flags), record(3))
    assert texts(source) == ["usb 1-1: Product: ", "hello"]
    assert source.cursor() == f"{BOOT}:3"


def test_no_time_lies_ahead() -> None:
    """The kernel's clock may run faster than ours."""
    [late] = played(f"6,1,{10**15},-;hello\n".encode()).read(None, ())
    assert late.monotonic == 1e9
    assert late.time is not None
    assert late.time <= time.time()


@pytest.mark.kmsg
def test_times_are_those_of_the_clock(kmsg: Callable[[str], None]) -> None:
    """A record has the time at which it was written, as far as the two clocks agree."""
    word = f"treason-test {os.urandom(8).hex()}"
    kmsg(f"<6>{word}")
    [written] = Kmsg().read(None, [word])
    assert written.time is not None
    assert abs(written.time - time.time()) < 60


def test_the_samples_yield_what_they_must() -> None:
    """Every record of the corpus, as the device gives it, names the peers that it must."""
    lines = map(json.loads, (DATA / "kernel-messages.jsonl").read_text().splitlines())
    samples = [line for line in lines if line["carrier"] == "kmsg"]
    assert samples
    for sample in samples:
        source = played(sample["text"].encode() + b"\n")
        offences = filter(None, map(detect, source.read(None, [rule.needle for rule in RULES])))
        named = [str(offence.address) for offence in offences if offence.trusted]
        assert named == [each["address"] for each in sample["expect"]], sample


def test_an_open_device_is_read_on_and_its_losses_are_counted() -> None:
    """Each read gives what came since; what was overwritten between two is told once."""
    script: list[bytes | OSError] = [record(8), record(9)]

    def read(_descriptor: int, _size: int) -> bytes:
        event = script.pop(0) if script else BlockingIOError(errno.EAGAIN, "Try again")
        if isinstance(event, OSError):
            raise event
        return event

    source = Kmsg(open_device=lambda _path: os.open(os.devnull, os.O_RDONLY), read_record=read)
    descriptor = source.fileno()
    assert len(texts(source)) == 2
    script += [GONE, record(14)]
    assert len(texts(source, source.cursor())) == 1
    assert next(iter(source.notes())).startswith("4 records lost")
    script += [record(15)]
    assert len(texts(source, source.cursor())) == 1
    assert list(source.notes()) == []
    assert texts(source, source.cursor()) == []
    assert source.cursor() == f"{BOOT}:15"
    source.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_another_device_cannot_be_waited_for() -> None:
    """As it cannot be read."""
    with pytest.raises(SourceUnreadable, match="not the kernel's message buffer"):
        Kmsg(device=Path("/dev/null")).fileno()


@pytest.mark.kmsg
def test_the_kernel_is_heard(kmsg: Callable[[str], None], kernel_speaks: None) -> None:
    """Where the buffer holds a record of its own, there is no silence."""
    source = Kmsg()
    assert isinstance(source, SilenceAwareSource)
    assert isinstance(source, NotingSource)
    assert source.silence() is None


def test_silence_is_told() -> None:
    """A buffer without any record of facility 0, and an empty one."""
    others = [b"14,1,1,-;TCP: hello\n", b"8,2,1,-;kernel: hello\n", b"x\n"]
    assert "holds only 3 records of other programs" in str(played(*others).silence())
    assert "holds nothing" in str(played().silence())
    assert played(*others, b"7,3,1,-;hello\n").silence() is None


def test_silence_of_the_unreadable_is_an_error() -> None:
    """It is not told to be silent."""
    with pytest.raises(SourceUnreadable):
        Kmsg(device=Path("/dev/null")).silence()


@pytest.mark.kmsg
def test_a_missing_privilege_is_explained(kmsg: Callable[[str], None], place: Place) -> None:
    """Root without CAP_SYSLOG, as in a container, where kernel.dmesg_restrict is 1."""
    if Path("/proc/sys/kernel/dmesg_restrict").read_text() != "1\n":
        pytest.skip("kernel.dmesg_restrict = 0: everybody may read")
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config), "scan"]
    done = run(["setpriv", "--bounding-set=-syslog", "--inh-caps=-syslog", *command], codes=(1,))
    assert (
        "cannot read /dev/kmsg: Operation not permitted\n  kernel.dmesg_restrict = 1" in done.error
    )


@pytest.mark.parametrize(
    ("restrict", "number", "told"),
    [
        ("1", errno.EPERM, "kernel.dmesg_restrict = 1 requires CAP_SYSLOG"),
        ("0", errno.EPERM, "also allow the device"),
        ("1", errno.EACCES, "also allow the device"),
        ("", errno.EPERM, "also allow the device"),
    ],
)
def test_what_keeps_us_out_is_told_apart(
    restrict: str, number: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's setting, or the device's owner, a container or a unit."""
    setting = tmp_path / "dmesg_restrict"
    if restrict:
        setting.write_text(f"{restrict}\n")
    monkeypatch.setattr(module, "_RESTRICT", setting)

    def refuse(_path: Path) -> int:
        raise PermissionError(number, os.strerror(number))

    with pytest.raises(SourceUnreadable) as caught:
        texts(Kmsg(open_device=refuse))
    assert told in caught.value.hint


def test_the_units_need_its_capability() -> None:
    """The descriptor says so."""
    [plugin] = module.treason_sources()
    assert plugin.capabilities == ("CAP_SYSLOG",)
