"""The mark of a database, which is looked at beside the thread that writes to it."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.daemon.marks import Marks, mark
from reconciler.store.adoption import APPLICATION_ID

_WRITE = (
    "import sqlite3, sys; "
    "sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')"
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of the third schema."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE some (one)")
        connection.execute("PRAGMA user_version = 3")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return path


def test_it_is_another_one_after_every_write_and_of_every_file(database: Path) -> None:
    """Whichever thread looks."""
    marks = Marks(os.close)
    first = marks.look(database)
    assert first == mark(database)
    assert first is not None
    assert first.schema == 3
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO some VALUES (1)")
    second = marks.look(database)
    assert second == mark(database) != first
    other = database.with_name("other.db")
    other.write_bytes(database.read_bytes())
    other.replace(database)
    assert marks.look(database) == mark(database) != second
    database.unlink()
    assert marks.look(database) is mark(database) is None


def test_the_version_of_a_script_is_none_of_ours(database: Path) -> None:
    """A database that was not adopted yet may use it for anything."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA application_id = 0")
        connection.execute("PRAGMA user_version = 1000")
    found = mark(database)
    assert found is not None
    assert found.schema == 0


def test_a_damaged_one_is_of_no_newer_version(database: Path) -> None:
    """Whatever stands where the version would be."""
    database.write_bytes(b"\xff" * database.stat().st_size)
    found = mark(database)
    assert found is not None
    assert found.schema == 0


def test_a_look_leaves_the_locks_of_a_transaction(database: Path) -> None:
    """Also where the file was replaced, and another one is looked at."""
    left = list[int]()
    marks = Marks(left.append)
    content = database.read_bytes()  # now: the test, too, closes what it opens
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        marks.look(database)
        connection.execute("BEGIN IMMEDIATE")
        marks.look(database)
        away = database.rename(database.with_name("away.db"))
        database.write_bytes(content)
        marks.look(database)
        tried = subprocess.run(
            [sys.executable, "-c", _WRITE, str(away)], capture_output=True, check=False
        )
        assert b"locked" in tried.stderr
    [descriptor] = left
    os.close(descriptor)
