"""The counts that are kept: true whoever writes, and whatever becomes of what keeps them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from harness import Place, page, take_back_eleventh, wipe
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import Network
from reconciler.errors import StoreError
from reconciler.model import Ban, Offence
from reconciler.store.counting import RECOUNTS, TRIGGERS
from reconciler.store.counts import OriginCount, SourceCount
from reconciler.store.store import Store, open_store

NOW = 1_000_000
A, B, C = map(Network.parse, ("192.0.2.1", "2001:db8::1", "192.0.2.0/24"))
NETWORKS = st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.0/24", "192.0.2.1/32", "nobody"])
UNTILS = st.sampled_from([None, NOW - 1, NOW + 60])
ORIGINS = st.sampled_from(["manual", "rule", "badips"])
OR = st.sampled_from(["", "OR IGNORE", "OR REPLACE"])

INSERT = "INSERT clause INTO bans (network, until, origin, since, reason) VALUES (?, ?, ?, 1, '')"
UPSERT = " ON CONFLICT (network) DO UPDATE SET until = excluded.until, origin = excluded.origin"
RENAME = "UPDATE clause bans SET network = ? WHERE network = ?"
OFFEND = (
    "INSERT INTO offences (source, time, address, rule, count, evidence)"
    " VALUES (?, ?, '192.0.2.1', 'rule', 1, '')"
)
SOURCES, IDS = st.sampled_from(["kmsg", "file", None]), st.integers(1, 4)


def done(statement: str, *values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Any]]:
    """Make a statement of any clause, and of any values."""
    clauses = OR if "clause" in statement else st.just("")
    return st.tuples(clauses.map(lambda one: statement.replace("clause", one)), st.tuples(*values))


SQL = st.one_of(
    done(INSERT, NETWORKS, UNTILS, ORIGINS),
    done(INSERT.replace("clause", "") + UPSERT, NETWORKS, UNTILS, ORIGINS),
    done(RENAME, NETWORKS, NETWORKS),
    done("UPDATE bans SET until = ?, origin = ? WHERE network = ?", UNTILS, ORIGINS, NETWORKS),
    done("DELETE FROM bans WHERE network = ?", NETWORKS),
    done("INSERT INTO badips (ip) VALUES (?)", NETWORKS),
    done("PRAGMA recursive_triggers = 1"),
    done("PRAGMA recursive_triggers = 0"),
    done(OFFEND, SOURCES, st.floats(1, 9)),
    done("UPDATE offences SET source = ? WHERE id = ?", SOURCES, IDS),
    done("DELETE FROM offences WHERE id = ?", IDS),
)
"""What other programs may do to the tables."""

OURS: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(NETWORKS, UNTILS, ORIGINS), max_size=3)),
    st.tuples(st.just("lift"), st.lists(NETWORKS, max_size=2)),
    st.tuples(st.sampled_from(["expire", "tidy", "prune"]), st.just([])),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with three bans, one of which has ended, and two offences."""
    with open_store(tmp_path / "treason.db", write=True) as opened:
        opened.bans.add([ban(A), ban(B, NOW + 60), Ban(C, 1, NOW, "rule", "")])
        opened.offences.add("kmsg", [offence(5.0), offence(7.0)], NOW)
        opened.cursors.move("file", "3", NOW - 9)
        yield opened


COUNTED = (OriginCount("manual", 1, 1),)
READ = (SourceCount("file", NOW - 9, 0, None), SourceCount("kmsg", None, 2, 7.0))


def ban(network: Network, until: int | None = None) -> Ban:
    """Make a ban."""
    return Ban(network, 1, until, "manual", "")


def offence(time: float) -> Offence:
    """Make an offence."""
    return Offence(A, "rule", "", True, time=time)


KEPT = {
    "bans_counted": "SELECT origin, permanent, number FROM bans_counted WHERE number",
    "offences_counted": "SELECT source, number FROM offences_counted WHERE number",
}


def shown(database: sqlite3.Connection, query: str, kinds: int) -> dict[Any, Any]:
    """Return the numbers by their kind."""
    return {row[:kinds]: row[kinds] for row in database.execute(query)}


def carry_out(store: Store, what: str, which: list[Any]) -> None:
    """Do what this program does."""
    match what:
        case "add":
            bans = [
                (Network.parse(x), until, origin) for x, until, origin in which if x != "nobody"
            ]
            store.bans.add(Ban(x, 1, until, origin, "") for x, until, origin in bans)
        case "lift":
            store.bans.lift([Network.parse(x) for x in which if x != "nobody"], NOW)
        case "expire":
            store.bans.expire(NOW)
        case "tidy":
            store.bans.tidy()
        case "prune":
            store.offences.prune(5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(SQL, OURS), max_size=25))
def test_what_is_kept_is_what_is_counted(changes: list[tuple[str, Any]]) -> None:
    """After any changes, by this program and by any other, with every clause that SQLite has."""
    with TemporaryDirectory() as place:
        path = Path(place) / "treason.db"
        with open_store(path, write=True) as store, closing(
            sqlite3.connect(path, isolation_level=None)
        ) as other:  # fmt: skip
            for what, values in changes:
                if " " in what:
                    try:
                        other.execute(what, values)
                    except sqlite3.IntegrityError:
                        continue
                else:
                    carry_out(store, what, values)
                for table, query in RECOUNTS.items():
                    kinds = 2 if table == "bans_counted" else 1
                    assert shown(other, KEPT[table], kinds) == shown(other, query, kinds)


def test_counts_are_of_what_is_active(store: Store) -> None:
    """What has ended counts no more, moved or not; the last offence stays known when it is gone."""
    assert (store.counted.bans(NOW), store.counted.sources()) == (COUNTED, READ)
    assert store.counted.bans(NOW - 1) == (*COUNTED, OriginCount("rule", 0, 1))
    store.bans.expire(NOW)
    store.offences.prune(9)
    counts = store.counts(NOW)
    assert (counts.permanent, counts.temporary, counts.offences) == (1, 1, 0)
    assert counts.last_offence is None
    assert counts.of_sources[1] == evolve(READ[1], offences=0)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_without_a_trigger_all_is_counted(trigger: str, store: Store, tmp_path: Path) -> None:
    """And what was kept is mended with the next pruning, once the trigger is there again."""
    with closing(sqlite3.connect(tmp_path / "treason.db", isolation_level=None)) as other:
        (made,) = other.execute("SELECT sql FROM sqlite_master WHERE name = ?", (trigger,))
        other.execute(f"DROP TRIGGER {trigger}")
        other.execute("DELETE FROM bans WHERE network = '192.0.2.1'")
        other.execute("DELETE FROM offences WHERE time = 5")
        expected = (OriginCount("manual", 0, 1),), (READ[0], evolve(READ[1], offences=1))
        assert (store.counted.bans(NOW), store.counted.sources()) == expected
        other.execute(made[0])
    store.prune(NOW, 9 * NOW, 9 * NOW)
    assert (store.counted.bans(NOW), store.counted.sources()) == expected


def test_a_count_that_cannot_be_true_is_not_believed(store: Store, tmp_path: Path) -> None:
    """Where somebody wrote into the counts, the bans are counted."""
    with closing(sqlite3.connect(tmp_path / "treason.db", isolation_level=None)) as other:
        other.execute("UPDATE bans_counted SET number = -1")
        assert store.counted.bans(NOW) == COUNTED
        other.execute("DELETE FROM bans_counted")
        assert store.counted.bans(NOW) == COUNTED


@pytest.mark.parametrize("table", RECOUNTS)
def test_counts_that_cannot_be_read_are_counted(table: str, store: Store, tmp_path: Path) -> None:
    """Damage there tells nothing of the bans; damage of the bans is an error, and not none."""
    path = tmp_path / "treason.db"
    page(path, table, wipe)
    with open_store(path, write=False) as damaged:
        assert (damaged.counted.bans(NOW), damaged.counted.sources()) == (COUNTED, READ)
    page(path, table.partition("_")[0], wipe)
    with open_store(path, write=False) as damaged, pytest.raises(StoreError):
        damaged.counts(NOW)


def test_an_older_database_is_counted_once(store: Store, tmp_path: Path) -> None:
    """When it comes to this schema, or is read as if it had; nobody knows when sources moved."""
    path = tmp_path / "treason.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        take_back_eleventh(database)
    for write in (False, True):
        with open_store(path, write=write) as opened:
            assert opened.counted.bans(NOW) == COUNTED
            assert opened.counted.sources() == (evolve(READ[0], moved=None), READ[1])


def test_the_table_of_the_script_is_counted(place: Place) -> None:
    """Rows of an adopted database, and those that are inserted into its view."""
    with closing(sqlite3.connect(place.database, isolation_level=None)) as script:
        script.execute("CREATE TABLE badips (addedtime TEXT, ip TEXT)")
        script.execute("INSERT INTO badips VALUES ('2026-01-01 00:00:00', '192.0.2.7')")
    with open_store(place.database, write=True) as store:
        assert [each.permanent for each in store.counted.bans(NOW)] == [1]
        with closing(sqlite3.connect(place.database, isolation_level=None)) as script:
            script.execute("INSERT INTO badips (ip) VALUES ('192.0.2.8')")
        assert sum(each.permanent for each in store.counted.bans(NOW)) == 2


def test_a_cursor_moves_when_it_becomes_another(store: Store) -> None:
    """To read again, and find nothing, is no move."""
    store.cursors.move("file", "3", NOW)
    assert store.counted.sources()[0].moved == NOW - 9
    store.cursors.move("file", "4", NOW)
    assert store.counted.sources()[0].moved == NOW
