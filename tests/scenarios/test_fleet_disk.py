"""A fleet's database that cannot write, and one of another version: nothing is unbanned.

docs/reference/faults-of-the-fleet.md names these tests.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fleetplaces import Fleet, founded, server
from postgres import needed

from reconciler.execute import run

pytestmark = needed

KEPT = "203.0.113.1"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk."""
    path = Path(tempfile.mkdtemp(prefix="treason-disk-"))
    run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(path)])
    yield path
    run(["umount", str(path)])
    path.rmdir()


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Let nobody write more to it."""
    filler = disk / "filler"
    space = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
    yield
    filler.unlink()


def test_an_engine_whose_disk_is_full_loses_nothing(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Members go on reading, what is new waits, and is told once there is room."""
    (disk / "engine").mkdir()
    with server(directory=disk / "engine") as made, founded(made, tmp_path, capsys) as fleet:
        one = fleet.add("one", max_new=100_000)
        other = fleet.add("other", text="max_new = 0")
        one.bans(KEPT)
        fleet.agrees()
        fleet.asks("SELECT pg_switch_wal()")
        fleet.asks("UPDATE fleet.members SET max_new = max_new RETURNING 1")  # begins the log anew
        one.tells(*(f"198.18.{number >> 8}.{number & 255}" for number in range(10_000)))
        with full(disk):
            failure = one.goes().failure
            assert "No space left on device" in str(failure)
            assert other.settles().failure is None
            assert other.dropped() == {KEPT}
        one.settles()
        other.settles()
        assert other.told() == {"one": one.own}


def test_a_newer_schema_is_not_read(fleet: Fleet) -> None:
    """What was read before stays; a member that knows it goes on where it was."""
    one, other = fleet.grow("one", "other")
    one.bans(KEPT)
    fleet.agrees()
    fleet.asks("UPDATE fleet.clock SET version = 99 RETURNING 1")
    failure = str(other.goes().failure)
    assert "schema has version 99" in failure
    assert "install a newer treason" in failure
    assert other.dropped() == {KEPT}
    fleet.asks("UPDATE fleet.clock SET version = 1 RETURNING 1")
    fleet.agrees()
