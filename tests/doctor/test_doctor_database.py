"""A database that cannot be read, or that others can change."""

import sqlite3
from contextlib import closing

import pytest
from attrs import evolve
from doctors import do
from harness import Place, page, wipe

from reconciler.config.setup import Setup
from reconciler.diagnosis import Finding
from reconciler.doctor import database
from reconciler.doctor.machine import opened
from reconciler.store.store import open_store


@pytest.fixture
def stored(place: Place) -> Place:
    """A database with a ban."""
    place.path.chmod(0o700)
    place.treason("ban", "192.0.2.7")
    assert found(place) == []
    return place


def found(place: Place) -> list[Finding]:
    """Return what is found of the database."""
    with opened(Setup(str(place.config))) as machine:
        return [*database.check(machine)]


def test_a_directory_that_everybody_shares(stored: Place) -> None:
    """Others need one as /tmp as it is: the database is to leave it."""
    stored.path.chmod(0o1777)
    [one] = found(stored)
    assert one.what == f"{stored.path}: others than its owner may write to it"
    assert one.remedy == (
        f"keep it in a directory of its own: [treason] database in {stored.config}"
    )
    stored.path.chmod(0o777)
    assert [each.remedy for each in found(stored)] == [f"chmod go-w {stored.path}"]


@pytest.mark.parametrize("table", ["bans", "history", "treason_clock"])
def test_a_damaged_table(table: str, stored: Place) -> None:
    """It is named, whatever it holds."""
    page(stored.database, table, wipe)
    assert f"the table {table} cannot be read" in found(stored)[0].what


def test_damage_that_no_pass_reads(stored: Place) -> None:
    """A page of an index of the history, say, is found by SQLite's own search."""
    with closing(sqlite3.connect(stored.database)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'history'"
        ).fetchall()
    page(stored.database, names[0][0], wipe)
    [one, *_] = found(stored)
    assert str(stored.database) in one.what
    assert one.remedy == "restore it from a backup"


@pytest.mark.parametrize(
    ("content", "words", "remedy"),
    [
        (b"no database at all" * 100, "this is not an SQLite database", "restore it from a backup"),
        (b"", "the database is empty, but there was one", "mount it, or restore it"),
    ],
)
def test_no_database(content: bytes, words: str, remedy: str, stored: Place) -> None:
    """What stands in its place is told, with what other commands advise."""
    assert (
        stored.treason("reconcile", "--no-scan", "--backend", f"file:{stored.path}/list").code == 0
    )
    stored.database.write_bytes(content)
    [one] = found(stored)
    assert words in one.what
    assert one.remedy.startswith(remedy)


def test_a_newer_schema(stored: Place) -> None:
    """The program is too old for it."""
    with closing(sqlite3.connect(stored.database)) as connection:
        connection.execute("PRAGMA user_version = 999")
    [one] = found(stored)
    assert "the database has schema 999" in one.what


def test_many_bans_that_are_none(stored: Place) -> None:
    """They are one finding, however many they are."""
    with closing(sqlite3.connect(stored.database)) as connection, connection:
        rows = [(f"nobody{number}",) for number in range(100)]
        connection.executemany("INSERT INTO badips (ip) VALUES (?)", rows)
    [one] = found(stored)
    assert one.what.startswith("100 stored bans are not a network: ")
    assert len(one.remedy) < 1000


def test_an_old_backup(stored: Place) -> None:
    """It is replaced by what the remedy says; who never made one is not asked for it."""
    target = stored.path / "the copy"
    assert stored.treason("backup", str(target)).code == 0
    with open_store(stored.database, write=True) as store:
        made = store.backups.last()
        assert made is not None
        assert made.path == str(target)
        store.backups.note(evolve(made, time=made.time - 31 * 86400))
    before = target.read_bytes()
    [old] = found(stored)
    assert old.what.startswith("the last backup was made at ")
    do(old.remedy)
    assert found(stored) == []
    assert target.read_bytes() != before


def test_an_old_backup_whose_directory_is_gone(stored: Place) -> None:
    """Its disk is not mounted, say: no command is named that would fail."""
    away = stored.path / "away"
    away.mkdir()
    assert stored.treason("backup", str(away / "copy")).code == 0
    with open_store(stored.database, write=True) as store:
        made = store.backups.last()
        assert made is not None
        store.backups.note(evolve(made, time=made.time - 31 * 86400))
    away.rename(stored.path / "elsewhere")
    [old] = found(stored)
    assert old.remedy.startswith(f"make one elsewhere, as {away / 'copy'} is out of reach: ")


def test_damage_where_there_is_a_backup(stored: Place, host: None) -> None:
    """The backup is named, and put in its place by the remedy."""
    stored.configure(main="sources = []")
    target = stored.path / "copy"
    assert stored.treason("backup", str(target)).code == 0
    page(stored.database, "bans", wipe)
    damaged = found(stored)[0]
    assert f"restore {target}" in damaged.remedy
    do(damaged.remedy)
    assert found(stored) == []
    assert "192.0.2.7" in stored.treason("list").out


def test_the_last_backup_is_not_forgotten_by_a_restore(place: Place, host: None) -> None:
    """The present database knows of it, the backup does not."""
    place.configure(main="sources = []")
    place.treason("ban", "192.0.2.7")
    target = place.path / "copy"
    assert place.treason("backup", str(target)).code == 0
    assert place.treason("restore", str(target)).code == 0
    with open_store(place.database, write=False) as store:
        last = store.backups.last()
    assert last is not None
    assert last.path == str(target)
