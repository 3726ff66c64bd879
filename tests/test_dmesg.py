"""The source dmesg, on the real command and on lines as it prints them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler import SourceUnreadable
from reconciler.testing import SourceContract
from sources.dmesg import Dmesg

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
    """Give what is read."""
    return [record.text for record in source.read(cursor, ())]


def test_only_the_kernels_records_are_read(printed: Callable[[str], Dmesg]) -> None:
    """The later lines of a message, and other facilities, are none."""
    assert texts(printed(LINES)) == ["first", "second", "third", "fourth"]


def test_each_record_is_read_once_also_among_equal_times(
    printed: Callable[[str], Dmesg],
) -> None:
    """The cursor counts how many of one time were read."""
    source = printed("".join(LINES.splitlines(keepends=True)[:2]))
    assert texts(source) == ["first", "second"]
    later = printed(LINES)
    assert texts(later, source.cursor()) == ["third", "fourth"]
    assert texts(printed(LINES), later.cursor()) == []
    # The oldest are overwritten as new ones come.
    assert texts(printed(LINES[LINES.index("kern  :info  : [    3") :]), source.cursor()) == [
        "fourth"
    ]


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


@pytest.mark.parametrize("command", [["/nonexistent"], ["false"]])
def test_a_command_that_fails_is_unreadable(command: list[str]) -> None:
    """Not empty."""
    with pytest.raises(SourceUnreadable, match="cannot read the kernel's messages"):
        texts(Dmesg(command=command))
