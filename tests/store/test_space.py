"""The file's size: what was deleted goes back to the disk."""

import resource
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from harness import Place

from reconciler.model import Ban
from reconciler.network import Network
from reconciler.store import space
from reconciler.store.store import open_store

COUNT = 20_000
NOW = 1_700_000_000
YEAR = 366 * 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database whose bans, and their history, are over; the last prune is to come."""
    path = tmp_path / "treason.db"
    with open_store(path, write=True) as store:
        numbers = range(0x0A000000, 0x0A000000 + COUNT)
        store.bans.add(Ban(Network.of(4, each, 32), NOW, NOW + 60, "manual") for each in numbers)
        store.bans.expire(NOW + 60)
    return path


def passed(path: Path, *, prune: bool = True) -> None:
    """Do what a pass does, years later."""
    with open_store(path, write=True, timeout=0.1) as store:
        if prune:
            store.prune(NOW + 2 * YEAR, YEAR, YEAR)
        store.compact()


def mode(path: Path) -> int:
    """Return SQLite's auto_vacuum."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA auto_vacuum").fetchone()[0])


def older(path: Path) -> None:
    """Let the file be as versions made it that never gave anything back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    assert mode(path) == 0


def whole(path: Path) -> bool:
    """Whether SQLite finds no fault with the file, which is still ours."""
    with closing(sqlite3.connect(path)) as connection, open_store(path, write=False) as store:
        return (
            connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            and bool(store.identity)
            and not store.bans.ended(NOW * 2)
        )


@pytest.mark.parametrize("was", [0, 2])
def test_what_is_over_takes_no_room(path: Path, was: int) -> None:
    """Of a new database, and of one that must be written anew once."""
    if was == 0:
        older(path)
    before = path.stat().st_size
    passed(path)
    assert path.stat().st_size < before / 8
    assert (mode(path), whole(path)) == (2, True)


def test_a_little_is_left_for_what_comes_next(path: Path) -> None:
    """The file does not shrink and grow each minute."""
    passed(path)
    with open_store(path, write=True) as store:
        store.bans.add(Ban(Network.of(4, each, 32), NOW, NOW + 60, "manual") for each in range(500))
        store.bans.expire(NOW + 60)
        before = path.stat().st_size
        store.compact()
    assert path.stat().st_size == before


def test_a_pass_goes_on_where_the_last_one_stopped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes in all, each takes little."""
    monkeypatch.setattr(space, "_LEAST", 1)
    monkeypatch.setattr(space, "_PIECE", 200)
    monkeypatch.setattr(space, "_BUDGET", -1)
    with open_store(path, write=True) as store:
        store.prune(NOW + 2 * YEAR, YEAR, YEAR)
        sizes = [path.stat().st_size]
        for _ in range(3):
            store.compact()
            sizes.append(path.stat().st_size)
    given = [(before - after) // 4096 for before, after in pairwise(sizes)]
    assert all(200 <= pages <= 202 for pages in given)  # with what told of them


def test_an_older_file_is_written_anew_once_a_day_at_most(path: Path) -> None:
    """Between two prunes nothing is tried."""
    older(path)
    passed(path)
    assert mode(path) == 2
    older(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE great AS SELECT zeroblob(4000000)")
        connection.execute("DROP TABLE great")
    before = path.stat().st_size
    passed(path, prune=False)
    assert (mode(path), path.stat().st_size) == (0, before)


def test_what_takes_too_long_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, and the next thing works."""
    older(path)
    before = path.stat().st_size
    monkeypatch.setattr(space, "_WHOLE", -1)
    monkeypatch.setattr(space, "_STEPS", 1)
    passed(path)
    assert (mode(path), path.stat().st_size, whole(path)) == (0, before, True)


@pytest.mark.parametrize("was", [0, 2])
def test_a_file_that_somebody_uses_is_left_for_later(path: Path, was: int) -> None:
    """It fails no pass."""
    if was == 0:
        older(path)
    with open_store(path, write=True, timeout=0.1) as store:
        store.prune(NOW + 2 * YEAR, YEAR, YEAR)
        before = path.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            store.compact()
        assert path.stat().st_size == before
    assert whole(path)


@pytest.mark.parametrize("was", [0, 2])
def test_a_full_disk_fails_no_pass(
    path: Path, was: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file stays as large as it is, and whole."""
    if was == 0:
        older(path)
    with open_store(path, write=True) as store:
        store.prune(NOW + 2 * YEAR, YEAR, YEAR)
        before = path.stat().st_size
        with monkeypatch.context() as patched:
            patched.setenv("SQLITE_TMPDIR", str(tmp_path))
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
            try:
                store.compact()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.stat().st_size == before
    assert (mode(path), whole(path)) == (was, True)


def test_a_check_leaves_the_file_alone(path: Path, place: Place) -> None:
    """And a pass gives back what there is, by itself."""
    place.configure(f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file"]')
    assert place.treason("reconcile", "--no-scan", "--check").code == 2
    before = path.stat().st_size
    assert place.treason("reconcile", "--no-scan").code == 0
    assert path.stat().st_size < before / 2
