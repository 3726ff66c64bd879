"""What was taken of feeds, as the database keeps it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.feeding import HELD, OBSERVED, QUARANTINED, FeedGroup
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.changes import KEPT, Verified
from reconciler.store.feeds import FeedState
from reconciler.store.store import Store, open_store

NOW = 1_800_000_000


def networks(*texts: str) -> Networks:
    """Read networks."""
    return Networks.of(map(Network.parse, texts))


def group(*texts: str, until: int | None = None, state: str = HELD, member: str = "") -> FeedGroup:
    """Return a group as it is taken."""
    return FeedGroup(networks(*texts), member, "scans", until, NOW, state)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store."""
    with open_store(tmp_path / "treason.db", write=True) as opened:
        yield opened


def verified(store: Store) -> Verified:
    """Let changes be noted from now on, and return what they follow."""
    store.changes.begin("nftables", NOW)
    found = store.changes.verified("nftables")
    assert found is not None
    return found


def events(store: Store) -> list[tuple[str, str, str]]:
    """Return the history, the latest first."""
    return [(each.action, each.network, each.reason) for each in store.history.latest(None, 99)]


def test_only_what_is_held_is_to_be_dropped(store: Store) -> None:
    """Not what has ended, is only observed, or is quarantined."""
    groups = [
        group("192.0.2.0/24", "2001:db8::1"),
        group("192.0.2.7", until=NOW),
        group("192.0.2.8", until=NOW + 1),
        group("198.51.100.1", state=OBSERVED),
        group("198.51.100.2", state=QUARANTINED, member="b"),
    ]
    state = FeedState("a", "token", "one", NOW, "", 3, 4, NOW - 5, frozenset({"b"}))
    store.feeds.take(state, groups, NOW)
    assert store.feeds.held(NOW) == networks("192.0.2.0/24", "192.0.2.8", "2001:db8::1")
    assert store.feeds.states() == {"a": state}
    assert store.feeds.groups("a", NOW) == {"a": [groups[0], *groups[2:]]}
    assert store.feeds.number(NOW) == {"a": {HELD: 3, OBSERVED: 1, QUARANTINED: 1}}
    assert store.feeds.next_end(NOW) == NOW + 1


def test_what_begins_and_ends_is_told_once(store: Store) -> None:
    """With the member and the reason; what stays is not told again."""
    store.feeds.take(FeedState("a"), [group("192.0.2.1", "192.0.2.2", member="m")], NOW)
    store.feeds.take(FeedState("a"), [group("192.0.2.2", "192.0.2.3", member="m")], NOW)
    assert events(store) == [
        ("unban", "192.0.2.1", "feed:a (m): scans"),
        ("ban", "192.0.2.3", "feed:a (m): scans"),
        ("ban", "192.0.2.2", "feed:a (m): scans"),
        ("ban", "192.0.2.1", "feed:a (m): scans"),
    ]


def test_what_has_a_ban_of_its_own_is_not_told_to_end(store: Store) -> None:
    """Else a ban that the database has lost would seem to have been lifted."""
    store.feeds.take(FeedState("a"), [group("192.0.2.1")], NOW)
    store.bans.add([Ban(Network.parse("192.0.2.1"), NOW, None, "manual", "mine")])
    store.feeds.take(FeedState("a"), [], NOW)
    assert events(store)[0] == ("ban", "192.0.2.1", "mine")


def test_a_change_is_noted_where_what_is_held_changes(store: Store) -> None:
    """What another feed still holds has not changed; what came or went has."""
    store.feeds.take(FeedState("a"), [group("192.0.2.1", "192.0.2.2")], NOW)
    since = verified(store)
    store.feeds.take(FeedState("b"), [group("192.0.2.2", "192.0.2.3")], NOW)
    store.feeds.take(FeedState("a"), [], NOW)
    assert store.changes.touched_by_feeds(since) == {
        Network.parse("192.0.2.1"): True,
        Network.parse("192.0.2.3"): False,
    }
    assert store.changes.touched(since, NOW) == {}


def test_of_very_much_nothing_is_noted(store: Store) -> None:
    """Then everything is read, which is faster."""
    verified(store)
    many = Networks.of_hosts(4, b"".join((10 << 24 | n).to_bytes(4) for n in range(KEPT + 1)))
    store.feeds.take(FeedState("a"), [FeedGroup(many)], NOW)
    assert store.changes.verified("nftables") is None
    assert events(store) == []
    store.feeds.take(FeedState("a"), [], NOW)
    assert events(store) == [("unban", "10.0.0.0", "feed:a, and 20,000 other networks of it")]
    assert store.history.last_events(NOW) == (many, Networks())


@pytest.mark.parametrize("until", [None, NOW + 9])
def test_very_much_that_is_lifted_is_one_event(store: Store, until: int | None) -> None:
    """It explains removals until each backend has carried that out, but not of what came since."""
    many = Networks.of_hosts(4, b"".join((10 << 24 | n).to_bytes(4) for n in range(KEPT + 1)))
    some = Networks.of_hosts(4, b"".join((11 << 24 | n).to_bytes(4) for n in range(KEPT + 1)))
    store.carried.begin(["nftables"], NOW)
    store.feeds.take(FeedState("a"), [FeedGroup(many, until=until), FeedGroup(some)], NOW)
    store.feeds.take(FeedState("a"), [FeedGroup(many, until=until)], NOW)
    if until:
        store.feeds.expire(until)
    else:
        store.feeds.take(FeedState("a"), [], NOW)
    assert len(events(store)) == 2
    [mine] = networks("10.0.0.3")
    store.bans.add([Ban(mine, NOW, None, "manual", "mine")])
    lifted, banned = store.history.last_events(NOW)
    assert lifted == (many | some) - {mine}
    assert banned == {mine}
    store.history.prune(0, 1)
    assert store.history.last_events(NOW)[0] == lifted
    store.history.prune(0, store.carried.last_event)
    assert store.history.last_events(NOW)[0] == networks("10.0.0.0", "11.0.0.0")


def test_what_has_ended_is_moved_to_the_history(store: Store) -> None:
    """At its own time; what a ban or another feed holds has not ended."""
    store.bans.add([Ban(Network.parse("192.0.2.3"), NOW, None, "manual", "mine")])
    store.feeds.take(FeedState("b"), [group("192.0.2.2")], NOW)
    ending = group("192.0.2.1", "192.0.2.2", "192.0.2.3", until=NOW + 9)
    store.feeds.take(FeedState("a"), [ending], NOW)
    since = verified(store)
    store.feeds.expire(NOW + 8)
    assert store.feeds.ended(NOW + 8) == networks()
    assert store.feeds.ended_since(NOW, NOW + 10) == ending.networks
    store.feeds.expire(NOW + 10)
    assert events(store)[0] == ("expiry", "192.0.2.1", "feed:a")
    assert store.history.latest(None, 1)[0].time == NOW + 9
    assert [each for each in events(store) if each[0] == "expiry"] == events(store)[:1]
    assert store.feeds.held(NOW + 10) == networks("192.0.2.2")
    assert store.changes.touched_by_feeds(since) == {
        Network.parse("192.0.2.1"): True,
        Network.parse("192.0.2.3"): True,
    }


def test_a_feed_that_is_configured_no_more_is_forgotten(store: Store) -> None:
    """What it held is told to end, so that its removal is explained."""
    store.feeds.take(FeedState("a"), [group("192.0.2.1")], NOW)
    store.feeds.take(FeedState("b"), [group("192.0.2.2")], NOW)
    assert store.feeds.forget({"b"}, NOW) == ["a"]
    assert list(store.feeds.states()) == ["b"]
    assert store.feeds.held(NOW) == networks("192.0.2.2")
    assert store.history.last_events(NOW)[0] == networks("192.0.2.1")


def test_who_holds_an_address_is_found(store: Store) -> None:
    """By wider networks and by those inside, of few and of many."""
    many = Networks.of(Network.of(4, (198 << 24 | 51 << 16) + n, 32) for n in range(100))
    store.feeds.take(FeedState("a"), [group("192.0.2.0/24", "203.0.113.1", member="m")], NOW)
    store.feeds.take(FeedState("b"), [FeedGroup(many)], NOW)
    found = store.feeds.meeting(Network.parse("192.0.2.9"), NOW)
    assert found == {"a": [group("192.0.2.0/24", member="m")]}
    found = store.feeds.meeting(Network.parse("198.51.0.0/31"), NOW)
    assert found == {"b": [FeedGroup(many[:2])]}


def test_what_a_feed_lifts_settles_no_offence(store: Store) -> None:
    """Nor does it count as an earlier ban: else it could keep others from being banned, or more."""
    [lifted, ended] = networks("192.0.2.7", "192.0.2.8")
    store.feeds.take(FeedState("a"), [group("192.0.2.7"), group("192.0.2.8", until=NOW + 5)], NOW)
    store.feeds.take(FeedState("a"), [group("192.0.2.8", until=NOW + 5)], NOW + 1)
    store.feeds.expire(NOW + 5)
    assert [event[:2] for event in events(store)[:2]] == [
        ("expiry", "192.0.2.8"),
        ("unban", "192.0.2.7"),
    ]
    assert store.history.lifts([lifted, ended], NOW + 9) == {}
    assert store.history.endings([lifted, ended], NOW + 9) == {}
