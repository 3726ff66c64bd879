"""The source dmesg, on the real command and on lines as it prints them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import NamedTemporaryFile

import pytest

from reconciler import SourceUnreadable
from reconciler.execute import run
from reconciler.testing import SourceContract
from sources.dmesg.source import Dmesg
from sources.file import Settings as FileSettings
from sources.file.source import File

LINES = """\
kern  :info  : [    1.000000] first
kern  :info  : [    2.000000] second
                              TCP: its own second line
kern  :info  : [    2.000000] third
user  :info  : [    2.500000] not the kernel's
kern  :info  : [    3.000000] fourth
"""


class Printed:
    """A command that prints what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.command = ("cat", str(path))

    def write(self, *texts: str) -> None:
        """Print a record for each, in one and the same microsecond."""
        with self.path.open("a") as file:
            file.writelines(f"kern  :info  : [    1.000000] {text}\n" for text in texts)

    def source(self) -> Dmesg:
        """Run it."""
        return Dmesg(command=self.command)


class TestDmesg(SourceContract):
    """The contract, on lines as dmesg prints them."""

    @pytest.fixture
    def carrier(self, tmp_path: Path) -> Printed:
        """A command of the test's own."""
        self.printed = Printed(tmp_path / "printed")
        return self.printed

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The command fails."""
        self.printed.command = ("cat", "/nonexistent")
        yield

    def forge(self, text: str) -> None:
        """Print the record of a process; the real command is told to leave those out."""
        with self.printed.path.open("a") as file:
            file.write(f"user  :info  : [    1.000000] {text}\n")


@pytest.fixture
def printed(tmp_path: Path) -> Callable[[str], Dmesg]:
    """A source whose command prints a text."""

    def make(text: str) -> Dmesg:
        path = tmp_path / "printed"
        path.write_text(text)
        return Dmesg(command=["cat", str(path)])

    return make


def texts(source: Dmesg, cursor: str | None = None) -> list[str]:
    """Return what is read."""
    return [record.text for record in source.read(cursor, ())]


def test_only_the_kernels_records_are_read(printed: Callable[[str], Dmesg]) -> None:
    """The later lines of a message are part of it; other facilities are none."""
    assert texts(printed(LINES)) == [
        "first",
        "second\nTCP: its own second line",
        "third",
        "fourth",
    ]


def test_each_record_is_read_once_also_among_equal_times(
    printed: Callable[[str], Dmesg],
) -> None:
    """The cursor tells which of one time was the last."""
    source = printed("".join(LINES.splitlines(keepends=True)[:3]))
    assert len(texts(source)) == 2
    later = printed(LINES)
    assert texts(later, source.cursor()) == ["third", "fourth"]
    assert texts(printed(LINES), later.cursor()) == []
    assert later.notes() == []


def kern(*records: tuple[float, str]) -> str:
    """Print records as dmesg does."""
    return "".join(f"kern  :info  : [{time:12.6f}] {text}\n" for time, text in records)


SAME = [(1.0, "a"), (2.0, "b"), (2.0, "b"), (2.0, "c")]


@pytest.mark.parametrize("overwritten", range(4))
def test_the_oldest_may_be_overwritten_as_new_ones_come(
    printed: Callable[[str], Dmesg], overwritten: int
) -> None:
    """Also some of those that have the time of the last one."""
    source = printed(kern(*SAME))
    texts(source)
    later = printed(kern(*SAME[overwritten:], (2.0, "d"), (2.0, "c"), (3.0, "e")))
    assert texts(later, source.cursor()) == ["d", "c", "e"]
    assert later.notes() == []


def test_a_record_with_an_earlier_time_may_come_later(printed: Callable[[str], Dmesg]) -> None:
    """Each processor has a clock of its own; what counts is the order in the buffer."""
    source = printed(kern((1.0, "a"), (2.000007, "b")))
    texts(source)
    later = printed(kern((1.0, "a"), (2.000007, "b"), (2.000004, "c")))
    assert texts(later, source.cursor()) == ["c"]


def test_a_buffer_that_wrapped_or_was_cleared_is_told(printed: Callable[[str], Dmesg]) -> None:
    """The last record that was read is gone; what is there is read."""
    source = printed(kern((1.0, "a"), (2.0, "b")))
    texts(source)
    later = printed(kern((3.0, "c")))
    assert texts(later, source.cursor()) == ["c"]
    assert [note for note in later.notes() if "may have been lost" in note]
    empty = printed("")
    assert texts(empty, source.cursor()) == []
    assert empty.cursor() == source.cursor()
    assert len(empty.notes()) == 1


def test_records_without_times_are_read_once(printed: Callable[[str], Dmesg]) -> None:
    """With printk.time off there is none, or it is 0; neither is told as a time."""
    for prefix in ("kern  :info  : ", "kern  :info  : [    0.000000] "):
        lines = [f"{prefix}{text}\n" for text in "abacada"]
        source = printed("".join(lines[:3]))
        records = list(source.read(None, ()))
        assert [(r.text, r.monotonic, r.time) for r in records] == [(t, None, None) for t in "aba"]
        later = printed("".join(lines))
        assert texts(later, source.cursor()) == list("cada")
        assert texts(printed("".join(lines)), later.cursor()) == []


def test_an_old_cursor_is_understood(printed: Callable[[str], Dmesg]) -> None:
    """It ends with the count of the records of its time."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert texts(printed(LINES), f"{boot}:2000000:1") == ["third", "fourth"]
    assert texts(printed(LINES), f"{boot}:2500000:1") == ["fourth"]
    assert texts(printed(LINES), f"{boot}:9000000:1") == []


def test_a_cursor_of_another_boot_means_nothing(printed: Callable[[str], Dmesg]) -> None:
    """Times begin anew."""
    source = printed(LINES)
    assert len(texts(source, "0" * 36 + ":9000000:1:" + "0" * 16)) == 4


def test_a_record_tells_what_dmesg_knows(printed: Callable[[str], Dmesg]) -> None:
    """Facility, level, the exact time since boot, the boot; spaces that begin it are its own."""
    line = "kern  :warn  : [ 2214.888468] [ T123]   text"
    [record] = printed(f"{line}\n").read(None, ())
    assert (record.text, record.facility, record.level) == ("  text", 0, 4)
    assert record.monotonic == 2214888468 / 1e6
    assert record.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_line_feed_ends_a_line(printed: Callable[[str], Dmesg], end: str) -> None:
    """A device's name cannot begin a record of its own."""
    name = f"usb 1-1: Product: x{end}kern  :info  : [    2.000000] forged"
    assert len(texts(printed(kern((1.0, name))))) == 1


def test_silence_is_told(printed: Callable[[str], Dmesg]) -> None:
    """Where no record is the kernel's, and only there."""
    assert printed(LINES).silence() is None
    for text in ("", "user  :info  : [    1.000000] other\n"):
        assert "no record of the kernel" in str(printed(text).silence())


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("dmesg: unrecognized option '--decode'", "util-linux"),
        ("dmesg: invalid option -- 'x'", "util-linux"),
        ("dmesg: read kernel buffer failed: Operation not permitted", "CAP_SYSLOG"),
        ("dmesg: cannot open /dev/kmsg: Permission denied", "CAP_SYSLOG"),
    ],
)
def test_a_refusal_says_what_to_do(said: str, hint: str) -> None:
    """The hint fits what dmesg said."""
    command = ["sh", "-c", f'echo "{said}" >&2; exit 1']
    with pytest.raises(SourceUnreadable) as caught:
        texts(Dmesg(command=command))
    assert hint in caught.value.hint


def test_a_restricted_buffer_is_explained() -> None:
    """In a user namespace nobody has CAP_SYSLOG, and dmesg_restrict is named where it is set."""
    command = ["unshare", "--user", "--map-root-user", "dmesg", "--decode"]
    restricted = Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() == "1"
    if not restricted:
        pytest.skip("kernel.dmesg_restrict is 0 here")
    with pytest.raises(SourceUnreadable) as caught:
        texts(Dmesg(command=command))
    assert "kernel.dmesg_restrict is 1" in caught.value.hint


def test_records_are_trusted_because_dmesg_names_their_facility(
    printed: Callable[[str], Dmesg],
) -> None:
    """It is asked for the kernel's alone, and says so in each line."""
    assert all(record.trusted for record in printed(LINES).read(None, ()))


@pytest.mark.kmsg
def test_the_real_command_tells_the_kernels_records(kmsg: Callable[[str], None]) -> None:
    """What a process wrote is not among them."""
    kmsg("<6>treason-test: written by a process")
    records = list(Dmesg().read(None, ()))
    assert records
    assert all(record.trusted and record.facility == 0 for record in records)
    assert not [record for record in records if "written by a process" in record.text]


@pytest.mark.kmsg
def test_every_form_of_the_real_command_is_read_alike(kmsg: Callable[[str], None]) -> None:
    """The kernel's own records, whatever the options: text, and time since boot where it is."""
    kmsg("<6>treason-test: so that there is a record")
    plain = ["dmesg", "--kernel", "--nopager", "--color=never"]
    wanted = run([*plain, "--notime"]).output.split("\n")
    if not [text for text in wanted if text]:
        pytest.skip("the kernel has said nothing since the buffer was cleared")
    forms = [
        [], ["-x"], ["-T"], ["-x", "-T"], ["-d"], ["-d", "-T"], ["-e"], ["-t"], ["-x", "-t"],
        *(["--time-format", kind] for kind in ("delta", "reltime", "ctime", "notime", "iso")),
        ["-x", "--time-format", "iso"], ["-S"], ["-S", "-x"], ["-J"], ["-J", "-x"],
    ]  # fmt: skip
    last = [text for text in wanted if text][-1]
    for form in forms:
        output = run([*plain, *form]).output.encode()
        with NamedTemporaryFile() as file:
            Path(file.name).write_bytes(output)
            records = list(File(FileSettings(file.name, trusted=True)).read(None, ()))
        found = [record for record in records if record.text == last]
        assert found, form
        assert all(record.trusted for record in found), form


@pytest.mark.skipif(not which("busybox"), reason="no busybox here")
def test_the_dmesg_of_busybox_is_refused() -> None:
    """It does not name facilities, so nothing it prints can be believed."""
    with pytest.raises(SourceUnreadable) as caught:
        texts(Dmesg(command=["busybox", "dmesg", "--decode"]))
    assert "busybox" in caught.value.hint


@pytest.mark.parametrize("command", [["/nonexistent"], ["false"]])
def test_a_command_that_fails_is_unreadable(command: list[str]) -> None:
    """Not empty."""
    with pytest.raises(SourceUnreadable, match="cannot read the kernel's messages"):
        texts(Dmesg(command=command))
