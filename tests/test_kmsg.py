"""The source kmsg, on the real /dev/kmsg."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler import SourceUnreadable
from reconciler.testing import SourceContract
from sources.kmsg import Kmsg


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
class TestKmsg(SourceContract):
    """The contract, on the real buffer; it is small, and others read it too."""

    many = 100

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


@pytest.mark.kmsg
def test_the_kernels_own_records_are_trusted(kmsg: Callable[[str], None]) -> None:
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
