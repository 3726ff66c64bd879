"""The contract of sources, on a directory as systemd-pstore fills it; and whom it believes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from treason_pstore import Pstore, Settings

from reconciler import SourceUnreadable
from reconciler.testing import SourceContract

ROOT = Path(__file__).parent.parent
TEXT = "TCP: Treason uncloaked! Peer 192.0.2.7:1/2 shrinks window 1:2. Repaired."


class Archive:
    """A directory of dumps, one for each crash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._crashes = 1732017600

    def write(self, *texts: str, priority: int = 4) -> None:
        """Let a kernel say this, and die."""
        self._crashes += 1
        path = self.path / f"{self._crashes}" / "dmesg.txt"
        path.parent.mkdir()
        lines = [f"<{priority}>[{number:5}.000123] {text}\n" for number, text in enumerate(texts)]
        path.write_text("".join(["Panic#1 Part1\n", *lines]))
        path.chmod(0o600)

    def source(self) -> Pstore:
        """Make the source."""
        return Pstore(Settings(str(self.path)))


class TestPstore(SourceContract):
    """What every source promises."""

    archive: Archive

    @pytest.fixture
    def carrier(self, tmp_path: Path) -> Archive:
        """An archive that is empty."""
        self.archive = Archive(tmp_path / "pstore")
        self.archive.path.mkdir()
        return self.archive

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The directory is gone."""
        away = self.archive.path.rename(self.archive.path.with_name("away"))
        yield
        away.rename(self.archive.path)

    def forge(self, text: str) -> None:
        """Let a process write to /dev/kmsg, before the kernel dies: its facility is 1."""
        self.archive.write(text, priority=1 << 3 | 4)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive of one dump."""
    made = Archive(tmp_path)
    made.write(TEXT)
    return made


def test_a_record(archive: Archive) -> None:
    """A line of the kernel's is trusted, and tells facility, level and time since boot."""
    [record] = archive.source().read(None, ["window"])
    assert (record.text, record.trusted) == (TEXT, True)
    assert (record.facility, record.level, record.monotonic) == (0, 4, 0.000123)


def test_a_file_that_others_may_write(archive: Archive) -> None:
    """It is read, and not trusted."""
    [path] = archive.path.glob("*/dmesg.txt")
    path.chmod(0o666)
    assert [record.trusted for record in archive.source().read(None, [])] == [False]


def test_a_file_that_grows(archive: Archive) -> None:
    """A dump that was being written is read again, as a whole."""
    source = archive.source()
    assert len(list(source.read(None, []))) == 1
    [path] = archive.path.glob("*/dmesg.txt")
    with path.open("a") as dump:
        dump.write(f"<4>[    9.000000][    T7] {TEXT}\n")
    assert [record.text for record in archive.source().read(source.cursor(), [])] == [TEXT, TEXT]


def test_a_directory_below_that_cannot_be_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error, and not a directory without dumps."""

    def scandir(path: str) -> None:
        raise PermissionError(13, os.strerror(13), path)  # root may read everything

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceUnreadable, match="Permission denied"):
        list(archive.source().read(None, []))


def test_nothing_yet(tmp_path: Path) -> None:
    """Where no kernel has died there is nothing to read, and no error."""
    source = Pstore(Settings(str(tmp_path)))
    assert not list(source.read(None, []))
    assert source.cursor() is None


def test_public_names_only() -> None:
    """The plugin keeps to the public names, as its pyproject.toml says."""
    lint = Path(sys.executable).with_name("lint-imports")
    subprocess.run([lint, "--no-cache"], cwd=ROOT, check=True)


def test_a_line_of_a_record_is_no_message(tmp_path: Path) -> None:
    """An ordinary user gets a line break into a message, and would write one of his own."""
    dump = tmp_path / "1" / "dmesg.txt"
    dump.parent.mkdir()
    dump.write_text(
        "Panic#1 Part1\n<4>[ 7.000001] process 'x\n<4>[ 7.000001] Peer 203.0.113.5:1/2 forged\n"
        "<4>[ 7.000002] Peer 203.0.113.6:1/2 true\n"
    )
    records = Pstore(Settings(str(tmp_path))).read(None, ["Peer"])
    assert [record.text for record in records] == ["Peer 203.0.113.6:1/2 true"]
