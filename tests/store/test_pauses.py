"""The mark of a pause: which counts, which does not, and how it follows the clock."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness import Place, page, take_back_tenth, wipe

from reconciler.errors import StoreError
from reconciler.store.pauses import Pause
from reconciler.store.schema import VERSION
from reconciler.store.store import Store, open_store

NOW = 1_800_000_000
DAY = 86400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own."""
    with open_store(tmp_path / "treason.db", write=True) as opened:
        yield opened


def marks(store: Store) -> list[tuple[int, int | None]]:
    """Return what is stored."""
    with closing(sqlite3.connect(store.path)) as database:
        return database.execute("SELECT since, until FROM pause").fetchall()


def test_a_pause_counts_until_its_end(store: Store) -> None:
    """And not at it; one without an end counts for ever."""
    assert store.pauses.active(NOW) is None
    store.pauses.begin(Pause(NOW, NOW + 60))
    assert store.pauses.active(NOW + 59) == Pause(NOW, NOW + 60)
    assert store.pauses.active(NOW + 60) is None
    store.pauses.begin(Pause(NOW, None))
    assert store.pauses.active(NOW + 9999 * DAY) == Pause(NOW, None)
    store.pauses.end()
    assert store.pauses.active(NOW) is None
    assert store.pauses.is_over(NOW)


def test_pausing_again_replaces_the_end(store: Store) -> None:
    """There is one mark, also where the new end is the earlier one."""
    for until in (None, NOW + 60, NOW + 10):
        store.pauses.begin(Pause(NOW, until))
        assert marks(store) == [(NOW, until)]


@pytest.mark.parametrize(
    ("since", "until"),
    [(NOW, NOW), (NOW + 20, NOW + 10), (NOW + 2 * DAY, NOW + 3 * DAY), (NOW + 2 * DAY, None)],
)
def test_an_impossible_mark_is_not_a_pause(store: Store, since: int, until: int | None) -> None:
    """It ends before it begins, or begins in a time that is far away; a writing pass removes it."""
    store.pauses.begin(Pause(since, until))
    assert store.pauses.active(NOW) is None
    store.pauses.tidy(NOW)
    assert marks(store) == []


@pytest.mark.parametrize("wrong", ["'soon', NULL", "NULL, NULL", f"{NOW}, 'later'"])
def test_what_is_no_time_cannot_be_stored(store: Store, wrong: str) -> None:
    """Not by other programs either."""
    with closing(sqlite3.connect(store.path)) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute(f"INSERT INTO pause VALUES ({wrong})")  # noqa: S608 - constants


def test_of_several_marks_the_last_to_end_counts(store: Store) -> None:
    """Somebody else has stored them."""
    ends = [NOW + 10, NOW + 30, NOW + 20]
    with closing(sqlite3.connect(store.path)) as database, database:
        database.executemany("INSERT INTO pause VALUES (?, ?)", [(NOW, end) for end in ends])
    assert store.pauses.active(NOW) == Pause(NOW, NOW + 30)
    with closing(sqlite3.connect(store.path)) as database, database:
        database.execute("INSERT INTO pause VALUES (?, NULL)", (NOW,))
    assert store.pauses.active(NOW) == Pause(NOW, None)


def test_only_what_is_over_is_tidied(store: Store) -> None:
    """A pause that lasts stays, to the second."""
    store.pauses.begin(Pause(NOW, NOW + 60))
    store.pauses.tidy(NOW + 59)
    assert marks(store) == [(NOW, NOW + 60)]
    store.pauses.tidy(NOW + 60)
    assert marks(store) == []


def test_a_time_of_the_last_boot_may_be_ahead(store: Store) -> None:
    """A machine without a clock believes, at boot, what it remembers: that is earlier."""
    store.pauses.begin(Pause(NOW, None))
    assert store.pauses.active(NOW - DAY // 2) == Pause(NOW, None)


def test_an_older_database_has_no_pause(place: Place, host: None) -> None:
    """It is read as it would be migrated; the first command that writes does that."""
    assert place.treason("ban", "192.0.2.7").code == 0
    with closing(sqlite3.connect(place.database)) as database:
        take_back_tenth(database)
    with open_store(place.database, write=False) as opened:
        assert opened.pauses.active(NOW) is None
    assert place.treason("pause", "--for", "1h").code in {0, 1}
    assert place.treason("list", "-o", "json").json["bans"][0]["network"] == "192.0.2.7"
    with closing(sqlite3.connect(place.database)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert database.execute("SELECT count(*) FROM pause").fetchone() == (1,)


def test_a_damaged_mark_is_told_and_is_not_a_pause(store: Store) -> None:
    """Whoever asks gets an error, which passes take for no pause."""
    store.pauses.begin(Pause(NOW, None))
    page(store.path, "pause", wipe)
    with open_store(store.path, write=False) as opened:
        with pytest.raises(StoreError):
            opened.pauses.active(NOW)
        [told] = opened.integrity.unreadable()
        assert "the table pause cannot be read" in told
