"""What the daemon sees when it looks at the database."""

import sqlite3
from contextlib import closing

from harness import Place

from reconciler import Network, Networks
from reconciler.config.setup import Setup
from reconciler.daemon.view import look
from reconciler.feeding import FeedGroup
from reconciler.store.changes import KEPT
from reconciler.store.feeds import FeedState
from reconciler.store.store import open_store

FIRST, SECOND = Network.parse("192.0.2.7"), Network.parse("192.0.2.8")


def test_a_ban_that_nobody_noted_is_seen(place: Place, host: None) -> None:
    """As when the first pass that can write stores it, and verifies a backend then."""
    place.treason("ban", str(FIRST))
    setup = Setup(str(place.config))
    before = look(setup, [], None)
    assert set(before.desired.banned) == {FIRST}
    place.treason("ban", str(SECOND))
    place.treason("reconcile", "--no-scan")
    after = look(setup, [], before)
    assert set(after.desired.banned) == {FIRST, SECOND}
    assert look(setup, [], after).desired is after.desired, "what is known is not read again"


def test_very_much_that_a_feed_brings_is_seen(place: Place, host: None) -> None:
    """None of it is noted by itself, and a pass verifies a backend before anybody looks."""
    place.treason("ban", str(FIRST))
    place.treason("reconcile", "--no-scan")
    setup = Setup(str(place.config))
    before = look(setup, [], None)
    assert before.noted
    many = Networks.of_hosts(4, b"".join((1 << 24 | n).to_bytes(4) for n in range(KEPT + 1)))
    with open_store(place.database, write=True) as store:
        store.feeds.take(FeedState("a"), [FeedGroup(many)], before.now)
        store.changes.begin("nftables", before.now)
    after = look(setup, [], before)
    assert after.noted
    assert after.desired.banned == many | before.desired.banned


def test_ends_of_a_feed_that_are_close_together_are_one(place: Place, host: None) -> None:
    """A stranger says when they are: one each second is no reason to look each second."""
    place.treason("ban", str(FIRST))
    setup = Setup(str(place.config))
    now = look(setup, [], None).now
    begin = now // 100 * 100 + 200
    with open_store(place.database, write=True) as store:
        groups = [FeedGroup(Networks.of([SECOND]), str(n), until=begin + n) for n in range(1, 6)]
        store.feeds.take(FeedState("a"), groups, now)
    assert look(setup, [], None).next_end == begin + 5


def test_what_was_committed_is_seen_past_a_lock(place: Place) -> None:
    """And what another program is about to commit is not taken for seen."""
    place.treason("ban", str(FIRST))
    setup = Setup(str(place.config))
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE bans SET network = '203.0.113.9'")
        seen = look(setup, [], None)
        other.execute("ROLLBACK")
    assert set(seen.desired.banned) == {FIRST}
    assert seen.mark is None
