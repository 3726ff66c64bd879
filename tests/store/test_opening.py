"""Whether there is a database at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

from reconciler.store.opening import is_blank
from reconciler.store.store import open_store


def test_a_database_of_ours_is_not_blank(tmp_path: Path) -> None:
    """Without a single ban either; one that is missing, or emptied, is."""
    path = tmp_path / "treason.db"
    assert is_blank(path)
    with open_store(path, write=True):
        pass
    assert not is_blank(path)
    path.write_bytes(b"")
    assert is_blank(path)


def test_what_another_program_made_is_not_blank_unless_it_has_no_table(tmp_path: Path) -> None:
    """Nor is a damaged first page."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE badips (ip)")
        assert not is_blank(path)
        database.execute("DROP TABLE badips")
    assert is_blank(path)
    path.write_bytes(bytes(4096))
    assert not is_blank(path)


def test_what_stands_in_a_write_ahead_log_alone_is_not_blank(tmp_path: Path) -> None:
    """The file itself has no table yet."""
    path = tmp_path / "wal.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        assert is_blank(path)
        database.execute("CREATE TABLE badips (ip)")
        assert not is_blank(path)
