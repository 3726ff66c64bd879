"""What the backends have carried out of the history, and what is kept of it for them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import Network, Networks
from reconciler.model import Ban
from reconciler.store.store import Store, open_store

A, B = map(Network.parse, ("192.0.2.1", "192.0.2.2"))
NOW = 1_000_000
DAY = 86400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with two bans that were lifted one after the other."""
    with open_store(tmp_path / "treason.db", write=True) as opened:
        opened.bans.add([Ban(each, NOW, None, "manual") for each in (A, B)])
        opened.bans.lift([A], NOW)
        yield opened


def left(store: Store) -> list[str]:
    """Return what is left of the history long after."""
    store.bans.lift([B], NOW + 1)
    store.prune(NOW + 9 * DAY, 0, DAY, ["it"])
    return [event.network for event in store.history.latest(None, 9) if event.action != "ban"]


def test_without_a_backend_the_old_history_goes(store: Store) -> None:
    """Nothing was ever enforced."""
    assert left(store) == []


def test_what_a_backend_has_not_carried_out_is_kept(store: Store) -> None:
    """Up to the last event of its last verified pass it has; what came later it has not."""
    store.carried.begin(["it"], NOW)
    store.carried.verify(["it"], store.carried.last_event, NOW)
    assert left(store) == [str(B)]


def test_a_backend_that_was_never_verified_waits_for_all(store: Store) -> None:
    """From when it was asked for on."""
    store.carried.begin(["it"], NOW)
    assert left(store) == [str(B), str(A)]


def test_the_slowest_backend_counts_and_one_that_is_gone_does_not(store: Store) -> None:
    """Gone is what is not configured, and was verified last longer ago than history is kept."""
    store.carried.verify(["it"], store.carried.last_event, NOW)
    store.carried.begin(["gone"], NOW)
    assert left(store) == [str(B)]


def test_one_that_is_not_configured_counts_for_a_while(store: Store) -> None:
    """As long as history is kept after it was verified last."""
    store.carried.begin(["other"], NOW + 9 * DAY - 10)
    assert left(store) == [str(B), str(A)]


def test_numbers_that_are_given_again_are_not_carried_out(store: Store) -> None:
    """SQLite goes on behind the highest that is left; also where somebody deletes the history."""
    store.bans.lift([B], NOW)
    store.carried.verify(["it"], store.carried.last_event, NOW)
    store.prune(NOW + 9 * DAY, 0, DAY, ["it"])
    assert store.carried.last_event == 0
    store.bans.add([Ban(A, NOW, None, "manual")])
    store.bans.lift([A], NOW)
    store.prune(NOW + 18 * DAY, 0, DAY, ["it"])
    assert store.history.last_events(NOW)[0] == Networks.of([A])


def test_what_has_not_changed_is_not_written(store: Store) -> None:
    """But once a day, so that it is known to be there still."""
    other = sqlite3.connect(store.path)
    store.carried.verify(["it"], 2, NOW)
    times = []
    for now in (NOW + 60, NOW + DAY - 1, NOW + DAY, NOW - 60):
        store.carried.begin(["it"], now)
        store.carried.verify(["it"], 2, now)
        times += other.execute("SELECT time - ? FROM carried_out", (NOW,)).fetchone()
    other.close()
    assert times == [0, 0, DAY, -60]
