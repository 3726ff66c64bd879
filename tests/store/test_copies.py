"""Copies of a database: whole while others write, checked, and nothing left of those that fail."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from harness import Place, page, take_back_seventh, wipe
from residents import full

from reconciler import Network
from reconciler.config.setup import Setup
from reconciler.errors import StoreError
from reconciler.execute import run
from reconciler.model import Ban
from reconciler.store import copies
from reconciler.store.schema import VERSION
from reconciler.store.store import open_store


def fill(path: Path, number: int = 20) -> None:
    """Store so many bans."""
    with open_store(path, write=True) as store:
        store.bans.add(
            Ban(Network.of(4, 0x0B000000 + i, 32), 1, None, "manual", "why") for i in range(number)
        )


def refused(place: Place, *arguments: str) -> str:
    """Return why a backup is refused; nothing is changed, and nothing left."""
    before = place.snapshot()
    result = place.treason("backup", *arguments)
    assert (result.code, result.out) == (1, "")
    assert place.snapshot() == before
    return result.err


def test_a_backup_is_the_database_for_nobody_else(place: Place) -> None:
    """Of mode 600, whatever the umask; with all that was stored."""
    fill(place.database)
    target = place.path / "copy"
    old = os.umask(0)
    try:
        result = place.treason("backup", str(target))
    finally:
        os.umask(old)
    assert result.out.startswith(f"{target}: 20 bans, ")
    assert result.out.endswith(f"MiB, schema {VERSION}; checked\n")
    assert target.stat().st_mode & 0o777 == 0o600
    with open_store(target, write=False) as copy, open_store(place.database, write=False) as own:
        assert copy.identity == own.identity
        assert [*copy.bans.active(2)] == [*own.bans.active(2)]
    assert sorted(path.name for path in place.path.iterdir()) == [
        *("copy", "treason.db", "treason.toml"),
    ]


def test_a_file_is_replaced_only_by_force(place: Place) -> None:
    """And has mode 600 then: an earlier backup, or an empty file."""
    fill(place.database)
    target = place.path / "copy"
    target.touch(0o644)
    for _ in range(2):
        assert "already exists, unchanged" in refused(place, str(target))
        target.chmod(0o644)
        assert place.treason("backup", str(target), "--force").code == 0
        assert copies.examine(target, target) == 20
        assert target.stat().st_mode & 0o777 == 0o600


def test_what_is_no_database_is_never_replaced(place: Place) -> None:
    """The configuration, say, whose name slipped in; nor is the lock, though it is empty."""
    fill(place.database)
    assert "is no database, and not replaced" in refused(place, str(place.config), "--force")
    lock = Setup(str(place.config)).config.treason.lock
    lock.touch()
    assert "is the lock of passes" in refused(place, str(lock), "--force")


def test_the_database_itself_is_never_the_target(place: Place) -> None:
    """By no name, nor are the files that SQLite keeps beside it."""
    fill(place.database)
    linked = place.path / "linked"
    linked.hardlink_to(place.database)
    (place.path / "here").symlink_to(place.path)
    names = ("treason.db", "linked", "here/treason.db", "treason.db-journal", "here/treason.db-wal")
    for name in names:
        assert "is the database itself" in refused(place, str(place.path / name), "--force")


def test_what_is_no_file_is_refused(place: Place) -> None:
    """A directory, a link, and what lies in a directory that is not there."""
    fill(place.database)
    (place.path / "link").symlink_to("elsewhere")
    assert "is a directory" in refused(place, str(place.path), "--force")
    assert "is a link" in refused(place, str(place.path / "link"), "--force")
    error = refused(place, str(place.path / "no" / "copy"))
    assert "cannot write the copy: No such file or directory" in error


def test_without_a_database_there_is_nothing_to_copy(place: Place) -> None:
    """Whether it is missing or empty; none is made."""
    assert "there is no database" in refused(place, str(place.path / "copy"))
    place.database.touch(0o600)
    assert "the database is empty" in refused(place, str(place.path / "copy"))


def test_a_damaged_database_gives_no_copy(place: Place) -> None:
    """It would not be worth anything when it is needed."""
    fill(place.database, 2000)
    page(place.database, "bans", wipe, last=True)
    assert "damaged" in refused(place, str(place.path / "copy"))


def test_an_older_schema_is_copied_as_it_is(place: Place) -> None:
    """A reading command does not migrate."""
    fill(place.database)
    with closing(sqlite3.connect(place.database)) as database:
        take_back_seventh(database)
    assert "schema 6; checked" in place.treason("backup", str(place.path / "copy")).out
    with closing(sqlite3.connect(place.path / "copy")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (6,)


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a disk of 1 MiB."""
    path.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)])
    try:
        yield path
    finally:
        run(["umount", str(path)])


def test_a_full_disk_is_told_and_left_as_it_was(place: Place) -> None:
    """Whether it is full from the beginning or in the middle of the copy."""
    fill(place.database, 40_000)
    with small_disk(place.path.with_name(f"{place.path.name}-disk")) as disk:
        for _ in range(2):
            result = place.treason("backup", str(disk / "copy"))
            assert result.code == 1
            assert f"{disk / 'copy'}: the disk is full" in result.err
            assert list(disk.iterdir()) == []
        with full(disk):
            assert place.treason("backup", str(disk / "copy")).code == 1
            assert [path.name for path in disk.iterdir()] == ["filler"]


def test_it_is_whole_while_others_write(place: Place) -> None:
    """Each copy has all bans of a transaction, or none; and comes to an end."""
    fill(place.database, 3000)
    end = threading.Event()

    def write() -> None:
        for number in range(1_000_000):
            if end.is_set():
                return
            start = 0x0C000000 + number * 10
            with open_store(place.database, write=True, timeout=60) as store:
                store.bans.add(
                    Ban(Network.of(4, start + i, 32), 1, None, "manual", "") for i in range(10)
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        numbers = [
            copies.save(place.database, place.path / f"copy-{number}").bans for number in range(10)
        ]
    finally:
        end.set()
        writer.join()
    assert all(number % 10 == 0 for number in numbers)
    assert numbers == sorted(numbers)


def test_an_interrupted_write_is_not_in_the_copy(place: Place) -> None:
    """What a killed writer left is undone in it; the database is as the writer left it."""
    fill(place.database, 3000)
    code = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('BEGIN')\n"
        "database.execute('DELETE FROM bans')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(place.database)], check=True)
    assert place.database.with_name("treason.db-journal").stat().st_size
    assert copies.save(place.database, place.path / "copy").bans == 3000


def test_a_locked_database_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it was waited for."""
    fill(place.database)
    monkeypatch.setattr(copies, "_PATIENCE", 0.1)
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another program"):
            copies.save(place.database, place.path / "copy")
    assert not (place.path / "copy").exists()
