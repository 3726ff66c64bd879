"""What is remembered of a pass: never more than what was so."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import Change, Network, Networks, Plan
from reconciler.model import Ban
from reconciler.passes.enforce import Goal, Recalled, State, enforce
from reconciler.passes.recall import Recall
from reconciler.planning.desired import desired
from reconciler.store.changes import KEPT
from reconciler.store.store import Store, open_store
from reconciler.testing import Memory as Firewall

HOST, OTHER, WIDE = map(Network.parse, ("192.0.2.1", "192.0.2.2", "198.51.100.0/24"))
NOW = 1_000_000


class MarkedFirewall(Firewall):
    """One that tells when it may have changed."""

    def __init__(self, mark: object = "a new mark") -> None:
        super().__init__()
        self._mark = mark

    def fingerprint(self) -> object:  # type: ignore[override]  # one of the tests is about that
        """Return what the test says."""
        return self._mark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with bans that were verified to be enforced."""
    made = tmp_path / "treason.db"
    with open_store(made, write=True) as store:
        store.bans.add(Ban(network, NOW, None, "manual") for network in (HOST, WIDE))
        store.changes.begin("it", NOW)
        memory(store).keep("it", "mark", 2, read=True)
    return made


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """The same, open."""
    with open_store(path, write=True) as opened:
        yield opened


def memory(store: Store) -> Recall:
    """Begin a pass."""
    untidy = store.bans.exceptions(NOW, lambda _: True).untidy
    extra = Networks.of(untidy)
    return Recall(
        store, NOW, "digest", 60, Networks(), lambda _: True, extra,
        lambda: desired(store.bans.networks(NOW)[0] | extra, ()),
    )  # fmt: skip


def needed(store: Store) -> Change | None:
    """Return the change that follows from what is remembered."""
    known = memory(store).recall("it", "mark")
    assert isinstance(known, Recalled)
    return known.needed.banned if isinstance(known.needed, Plan) else None


def edit(path: Path, statement: str) -> None:
    """Change a row by hand."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        """REPLACE INTO bans (network, since, until, origin, reason)
           VALUES ('192.0.2.1', 0, 1, 'manual', '')""",
        """INSERT OR REPLACE INTO bans (network, since, until, origin, reason, key)
           SELECT network, since, 1, origin, reason, key FROM bans WHERE network = '192.0.2.1'""",
        """UPDATE OR REPLACE bans SET network = '192.0.2.1', until = 1
           WHERE network = '198.51.100.0/24'""",
    ],
)
def test_a_ban_that_a_hand_replaced_is_lifted(statement: str, path: Path) -> None:
    """SQLite fires no trigger of deletion for the row that had to go."""
    edit(path, statement)
    with open_store(path, write=True) as store:
        store.bans.expire(NOW)
        change = needed(store)
    assert change is not None
    assert HOST in change.remove


def test_what_changed_during_a_pass_is_not_remembered_as_if_before(store: Store) -> None:
    """A ban lifted while a pass ran, after its revision was told, and then made again."""
    store.bans.add([Ban(OTHER, NOW, None, "manual")])
    running = memory(store)
    store.bans.lift([HOST], NOW)
    assert running.recall("it", "mark") is not None
    running.keep("it", "another mark", 2, read=False)  # the backend holds HOST no more
    store.bans.add([Ban(HOST, NOW, None, "manual")])
    assert memory(store).recall("it", "another mark") is None


def test_a_ban_whose_row_is_untidy_holds_what_lies_inside(path: Path) -> None:
    """A check, which cannot tidy the row, sees no drift in it."""
    edit(path, "UPDATE bans SET key = NULL WHERE network = '198.51.100.0/24'")
    edit(
        path,
        """INSERT INTO bans (network, since, origin, reason)
           VALUES ('198.51.100.7', 0, 'manual', '')""",
    )
    with open_store(path, write=False) as store:
        assert needed(store) is None


def test_a_store_that_cannot_be_written_fails_no_pass(path: Path) -> None:
    """That it was not remembered is kept; the backend holds what it is to hold."""
    with open_store(path, write=False) as store:
        bans = store.bans.networks(NOW)[0]
        goal = Goal(lambda: desired(bans, ()), knowledge=memory(store))
        [outcome] = enforce({"it": MarkedFirewall}, goal, check=False)
    assert (outcome.state, outcome.error) == (State.CHANGED, "")
    assert "the database is read-only" in str(store.unwritten)


def test_a_fingerprint_that_is_no_text_is_a_mistake_of_the_plugin(store: Store) -> None:
    """It is told as one."""
    firewall = MarkedFirewall(b"mark")
    goal = Goal(lambda: desired((), ()), knowledge=memory(store))
    [outcome] = enforce({"it": lambda: firewall}, goal, check=False)
    assert (
        "it: the plugin failed: TypeError: the fingerprint b'mark' is not a text" in outcome.error
    )


def test_changes_that_nobody_asks_for_are_forgotten(path: Path) -> None:
    """Also while no backend is ever verified; who would have needed them reads everything."""
    with open_store(path, write=True) as store:
        store.changes.begin("never verified", NOW)
        store.bans.add(Ban(Network.of(4, k, 32), NOW, None, "manual") for k in range(KEPT + 10))
        store.changes.forget(NOW)
        assert memory(store).recall("it", "mark") is None
    with sqlite3.connect(path) as database:
        [kept] = database.execute("SELECT count(*) FROM changes").fetchone()
    database.close()
    assert kept == KEPT
