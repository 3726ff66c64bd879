"""What was committed last, read without SQLite: the same as SQLite makes of the same files."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.store import image

WRITES = (
    "UPDATE t SET x = zeroblob(900) WHERE rowid % 3 = 0",
    "DELETE FROM t WHERE rowid > 300",
    "INSERT INTO t SELECT randomblob(700) FROM t",
    "CREATE INDEX i ON t (x)",
    "DROP TABLE t",
)


@pytest.fixture(params=[512, 4096, 65536])
def writer(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    """A connection that writes what it changes to the file at once."""
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {request.param}")
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(os.urandom(300),)] * 500)
        connection.execute("PRAGMA cache_size = 1")
        yield connection


def rolled_back(path: Path, copy: Path) -> bytes:
    """Return what SQLite makes of a copy of the files."""
    for ending in ("", "-journal"):
        if path.with_name(f"{path.name}{ending}").exists():
            shutil.copy(f"{path}{ending}", f"{copy}{ending}")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return copy.read_bytes()


@pytest.mark.parametrize("mode", ["DELETE", "PERSIST", "TRUNCATE"])
def test_an_interrupted_write_is_undone_as_sqlite_undoes_it(
    writer: sqlite3.Connection, mode: str, tmp_path: Path
) -> None:
    """After each statement of a transaction: growing, shrinking, with every size of a page."""
    path = tmp_path / "db"
    writer.execute(f"PRAGMA journal_mode = {mode}")
    before = path.read_bytes()
    writer.execute("BEGIN IMMEDIATE")
    changed = False
    for number, statement in enumerate(WRITES):
        writer.execute(statement)
        changed |= path.read_bytes() != before
        data = image.committed(path)
        assert data == rolled_back(path, tmp_path / f"copy{number}")
        assert data == before
    assert changed  # so there was something to undo
    writer.execute("COMMIT")
    assert image.committed(path) == path.read_bytes() != before


def test_a_journal_that_was_torn_is_undone_up_to_there(tmp_path: Path) -> None:
    """What the journal's checksums do not hold was never followed by a write to the file."""
    path, torn = tmp_path / "db", tmp_path / "torn"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE t (x)")
        writer.executemany("INSERT INTO t VALUES (?)", [(os.urandom(300),)] * 500)
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(WRITES[0])
        files = {ending: Path(f"{path}{ending}").read_bytes() for ending in ("", "-journal")}
    journal = files["-journal"]
    damaged = journal[: 512 + 4 + 100] + b"\xff\xfe\xfd" * 800 + journal[512 + 4 + 2500 :]
    for content in (b"", b"\0" * 512, journal[:20], journal[:512], journal[:5000], damaged):
        torn.write_bytes(files[""])
        Path(f"{torn}-journal").write_bytes(content)
        found = image.committed(torn)
        with closing(sqlite3.connect(torn)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        assert found == torn.read_bytes()


def test_a_file_that_is_written_all_the_time_is_not_guessed(tmp_path: Path) -> None:
    """What was read before a commit and what was read after it do not belong together."""
    path = tmp_path / "db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE t (x)")

        class Busy(type(path)):  # type: ignore[misc]  # a path of this system
            def read_bytes(self) -> bytes:
                data: bytes = super().read_bytes()
                writer.execute("INSERT INTO t VALUES (1)")
                return data

        assert image.committed(Busy(path)) is None
    assert image.committed(path) == path.read_bytes()
