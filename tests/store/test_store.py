"""The store: what is remembered, lifted, and kept together."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from reconciler import Network, Networks
from reconciler.model import Ban, Offence
from reconciler.store.store import Store, open_store

A, B, NET = map(Network.parse, ("192.0.2.1", "2001:db8::1", "192.0.2.0/24"))
NOW = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "treason.db", write=True) as opened:
        yield opened


def ban(network: Network, until: int | None = None) -> Ban:
    """Make a ban."""
    return Ban(network, NOW, until, "manual", "because")


def test_bans_are_kept_as_they_were(store: Store) -> None:
    """Network, times, origin and reason come back."""
    bans = [ban(A), ban(B, NOW + 60)]
    store.bans.add(bans)
    assert list(store.bans.active(NOW)) == bans
    assert sorted(store.bans.networks(NOW)[0]) == [A, B]


def test_a_ban_ends_with_its_last_second(store: Store) -> None:
    """At ``until`` a ban is active no more, and expiry moves it to the history."""
    store.bans.add([ban(A, NOW + 60)])
    assert store.bans.networks(NOW + 59) == (Networks.of([A]), [])
    assert store.bans.networks(NOW + 60) == (Networks(), [])
    assert store.history.last_events(NOW) == (Networks(), Networks.of([A]))
    assert store.history.last_events(NOW + 60) == (Networks.of([A]), Networks())
    store.bans.expire(NOW + 60)
    assert store.history.last_events(NOW) == (Networks.of([A]), Networks())


def test_lifting_one_of_two_overlapping_bans_keeps_the_other(store: Store) -> None:
    """Each ban stands by itself; unbanning tells which there were."""
    store.bans.add([ban(A), ban(NET)])
    assert store.bans.lift([A, B], NOW) == {A}
    assert store.bans.networks(NOW)[0] == {NET}
    assert store.history.last_events(NOW) == (Networks.of([A, B]), Networks.of([NET]))


def test_a_wider_ban_holds_unless_it_is_not_enforced(store: Store) -> None:
    """What came through badips unchecked, and is too wide, holds nothing."""
    store.bans.add([ban(NET)])
    store.bans.add([Ban(Network.parse("2000::/3"), NOW, None, "badips")])
    for network, held in ((A, True), (NET, True), (B, False)):
        assert store.bans.holds(network, NOW, lambda each: each.length > 8) is held


def test_a_refused_row_refuses_no_other_of_its_network(store: Store, tmp_path: Path) -> None:
    """Through badips came, in another spelling, what a person banned."""
    store.bans.add([ban(NET)])
    with sqlite3.connect(tmp_path / "treason.db") as other:
        other.execute("INSERT INTO badips (ip) VALUES ('::ffff:192.0.2.0/120')")
    other.close()
    networks, refused = store.bans.networks(NOW, lambda each: each.is_host)
    assert (networks, refused) == (Networks.of([NET]), ["::ffff:192.0.2.0/120"])


def test_a_row_that_is_no_utf_8_stops_nothing(store: Store, tmp_path: Path) -> None:
    """It is told, and all others are enforced."""
    store.bans.add([ban(A)])
    with sqlite3.connect(tmp_path / "treason.db") as other:
        other.execute("INSERT INTO badips VALUES (datetime('now'), CAST(x'ff31' AS TEXT))")
    other.close()
    store.bans.tidy()
    assert store.bans.networks(NOW) == (Networks.of([A]), ["\\xff1"])
    assert [each.network for each in store.bans.active(NOW)] == [A]


def test_what_came_unchecked_is_judged_by_its_length(store: Store, tmp_path: Path) -> None:
    """Of many networks through badips just the too wide ones are left out, each once."""
    store.bans.add([ban(A)])
    texts = ("10.0.0.0/8", "11.0.0.0/8", "12.1.0.0/16", "2001:db8::/31", "2001:dba::/32")
    with sqlite3.connect(tmp_path / "treason.db") as other:
        other.executemany("INSERT INTO badips VALUES (datetime('now'), ?)", [(t,) for t in texts])
    other.close()
    narrow = Networks.of(map(Network.parse, ("12.1.0.0/16", "2001:dba::/32")))

    def allows(network: Network) -> bool:
        return network.length >= (16 if network.version == 4 else 32)

    for _ in range(2):
        held, refused = store.bans.networks(NOW, allows)
        assert held == narrow | {A}
        assert sorted(refused) == ["10.0.0.0/8", "11.0.0.0/8", "2001:db8::/31"]
        store.bans.tidy()


def test_a_key_that_cannot_be_is_refused(store: Store, tmp_path: Path) -> None:
    """It would shift all that stand behind it."""
    with sqlite3.connect(tmp_path / "treason.db") as other, pytest.raises(sqlite3.IntegrityError):
        other.execute(
            "INSERT INTO bans (network, since, origin, reason, key)"
            " VALUES ('192.0.2.9', 1, 'x', '', x'0401')"
        )
    other.close()


def test_rows_that_are_no_network_are_reported(store: Store, tmp_path: Path) -> None:
    """A row that somebody else wrote wrongly is kept, told, and enforced by nobody."""
    store.bans.add([ban(A)])
    with sqlite3.connect(tmp_path / "treason.db") as other:
        other.execute(
            "INSERT INTO bans (network, since, origin, reason) VALUES ('010.0.0.1', 1, 'x', '')"
        )
    other.close()
    assert store.bans.networks(NOW) == (Networks.of([A]), ["010.0.0.1"])
    assert [each.network for each in store.bans.active(NOW)] == [A]


def test_offences_and_cursor_are_stored_together_or_not_at_all(store: Store) -> None:
    """A failure while offences are written leaves neither them nor the cursor."""

    def broken() -> Iterator[Offence]:
        yield Offence(A, "rule", "text", trusted=True, time=NOW)
        raise RuntimeError

    def reading() -> None:
        with store.transaction():
            store.cursors.move("kmsg", "boot:7", 5)
            store.add_batch("kmsg", broken(), [ban(A)], NOW)

    with pytest.raises(RuntimeError):
        reading()
    assert store.cursors.get("kmsg") is None
    assert store.offences.of([A], 0) == []
    store.cursors.move("kmsg", "boot:7", 5)
    assert store.cursors.get("kmsg") == "boot:7"


def test_offences_are_found_by_address_and_time(store: Store) -> None:
    """Offences of other addresses, and older ones, are left out."""
    offences = [
        Offence(n, "rule", "text", trusted=True, time=t) for n, t in ((A, 5), (A, 9), (B, 9))
    ]
    store.add_batch("kmsg", offences, [], NOW)
    assert store.offences.of([A], 6) == [offences[1]]


def test_a_ban_that_was_lifted_and_made_again_explains_nothing(store: Store) -> None:
    """Only a lift that is the last event of its network does."""
    store.bans.add([ban(A), ban(B)])
    store.bans.lift([A, B], NOW)
    store.bans.add([ban(A)])
    assert store.history.last_events(NOW) == (Networks.of([B]), Networks.of([A]))


def test_offences_are_pruned_once_a_day(store: Store) -> None:
    """The old ones go; so does the old history of what is not banned, and no other."""
    old, young = (Offence(A, "rule", "text", trusted=True, time=NOW - age) for age in (101, 99))
    store.add_batch("kmsg", [old, young], [ban(A), ban(B)], NOW)
    store.bans.lift([B], NOW)
    store.prune(NOW + 1, 100, 0)
    assert store.offences.of([A], 0) == [young]
    store.add_batch("kmsg", [old, young], [], NOW)
    store.prune(NOW + 86_400, 100, 0)
    assert sorted(store.offences.of([A], 0), key=lambda o: o.time or 0) == [old, young, young]
    assert [event.network for event in store.history.latest(None, 9)] == [str(A)]
    store.prune(NOW + 86_401, 86_501, 0)
    assert store.offences.of([A], 0) == [young, young]


def test_a_clock_that_was_set_back_does_not_stop_the_pruning(store: Store) -> None:
    """A pruning that lies ahead counts for nothing."""
    store.prune(NOW + 10**6, 100, 100)
    store.add_batch("kmsg", [Offence(A, "rule", "text", trusted=True, time=5)], [], NOW)
    store.prune(NOW, 100, 100)
    assert store.offences.of([A], 0) == []


def test_no_more_offences_are_kept_than_the_database_can_bear(
    store: Store, mocker: MockerFixture
) -> None:
    """The oldest go, however young they are."""
    mocker.patch("reconciler.store.offences.MOST", 3)
    for port in range(5):
        offence = Offence(A, "rule", "text", trusted=True, time=NOW, peer_port=port)
        store.add_batch("kmsg", [offence], [], NOW)
    assert [offence.peer_port for offence in store.offences.of([A], 0)] == [2, 3, 4]


def test_what_tells_no_time_is_kept_for_its_stamp(store: Store) -> None:
    """As long as the history, since it is known again by the stamp alone."""
    address = Network.parse("192.0.2.1")
    told = Offence(address, "r", "told", True, time=1000.0, micros=1)
    untold, unstamped = (Offence(address, "r", str(n), True, micros=n) for n in (2, None))
    store.offences.add("it", [told, untold, unstamped], 1000)
    store.prune(1000 + 90, 60, 100)
    assert [each.evidence for each in store.offences.of([address], 0)] == ["2"]
    store.prune(1000 + 86400 + 101, 60, 100)
    assert store.offences.of([address], 0) == []
