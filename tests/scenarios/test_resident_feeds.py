"""The real daemon and feeds: what they say is in force at once, and kept so as bans are."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from feedfiles import singles
from harness import Place
from residents import (
    Resident,
    drops,
    feed_says,
    in_force,
    publish,
    running,
    until,
    with_feeds,
)

from reconciler.feeds.outbox import read
from reconciler.host.netns import Wire

Nft = Callable[..., str]
A, B, C, GUEST = "203.0.113.5", "203.0.113.6", "203.0.113.7", "198.51.100.7"
SPARED = f'[whitelist]\nnetworks = ["{GUEST}"]\n'
BANNED, WIDE = "198.51.100.1", "203.0.113.64/26"


@pytest.fixture
def daemon(place: Place, host: None) -> Iterator[Resident]:
    """One with a ban, and with a feed that has said little yet."""
    with_feeds(place, "a", text=SPARED)
    feed_says(place, C)
    place.treason("ban", BANNED)
    with running(place) as resident:
        yield resident


def test_what_a_feed_says_is_in_force_at_once(
    place: Place, daemon: Resident, wire: Callable[..., Wire]
) -> None:
    """What it says no more is not, and no ban is touched."""
    cable = wire(A, B, GUEST, BANNED)
    assert cable.arriving([A, B, GUEST, BANNED]) == {A, B, GUEST}
    feed_says(place, A, B)
    until(lambda: drops(A, B), daemon.error)
    assert cable.arriving([A, B, GUEST, BANNED]) == {GUEST}
    feed_says(place, "203.0.113.4/31", BANNED, GUEST)
    until(lambda: not drops(B), daemon.error)
    assert cable.arriving([A, B, GUEST, BANNED]) == {B, GUEST}
    bans = place.treason("list", "-o", "json").json["bans"]
    assert [each["network"] for each in bans if each["origin"] == "manual"] == [BANNED]
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0
    assert not daemon.error


def test_what_somebody_takes_away_is_put_back_at_once(
    place: Place, daemon: Resident, nft: Nft
) -> None:
    """By the daemon itself, as a ban is; who is whitelisted by then passes."""
    feed_says(place, A, WIDE, GUEST)
    until(lambda: drops(A, BANNED), daemon.error)
    for command in ("flush set inet treason banned4", "delete table inet treason"):
        nft(command)
        until(lambda: drops(A, BANNED, WIDE), daemon.error)
    until(lambda: daemon.error.count("put back") == 2, daemon.error)
    assert place.treason("whitelist", "add", A).code == 0
    assert not drops(A)
    nft("flush ruleset")
    until(lambda: drops(BANNED, WIDE), daemon.error)
    assert not drops(A)
    assert not drops(GUEST)


def test_what_ends_ends_at_its_time(place: Place, daemon: Resident) -> None:
    """Without anybody saying so; what another feed holds does not."""
    feed_says(place, A, B, until=int(time.time()) + 4)
    until(lambda: drops(A, B), daemon.error)
    assert place.treason("ban", B).code == 0
    until(lambda: not drops(A), daemon.error)
    assert drops(B, BANNED)


def test_paused_nothing_is_held(place: Place, daemon: Resident) -> None:
    """What a feed says meanwhile is in force once it is over."""
    feed_says(place, A)
    until(lambda: drops(A), daemon.error)
    place.treason("pause")
    assert not in_force()
    feed_says(place, A, B)
    time.sleep(0.5)
    assert not in_force()
    assert place.treason("resume").code == 0
    assert drops(A, B, BANNED)


def test_other_feeds_of_a_configuration_are_followed(place: Place, daemon: Resident) -> None:
    """One that it names no more holds nothing any more."""
    feed_says(place, A)
    until(lambda: drops(A), daemon.error)
    feed_says(place, B, name="b")
    with_feeds(place, "b", text=SPARED)
    until(lambda: drops(B) and not drops(A), daemon.error)
    feed_says(place, B, C, name="b")
    until(lambda: drops(C), daemon.error)
    feed_says(place, A)
    time.sleep(0.5)
    assert not drops(A)


def test_what_a_feed_said_before_the_start_is_in_force_then(place: Place, host: None) -> None:
    """And stays so behind a kill, also while the file says something else."""
    with_feeds(place, "a", text=SPARED)
    feed_says(place, A)
    with running(place) as daemon:
        assert drops(A)
        daemon.kill()
        feed_says(place, A, B)
        assert drops(A)
    with running(place):
        assert drops(A, B)


def test_a_hundred_thousand_are_held_in_little_memory(
    place: Place, daemon: Resident, nft: Nft
) -> None:
    """The list is read by a child; the daemon holds what is in force, some ten bytes each."""
    before = memory(daemon)
    publish(place.path / "a" / "feed.db", singles(100_000))
    until(lambda: len(in_force()) == 100_001, daemon.error)
    nft("flush ruleset")
    until(lambda: len(in_force()) == 100_001, daemon.error)
    until(lambda: memory(daemon) < before + 8, f"{before} and {memory(daemon)} MiB")


def test_what_offenders_are_banned_for_is_given_to_feeds_at_once(place: Place, host: None) -> None:
    """Where a feed tells others of that rule; no pass is waited for."""
    with_feeds(place, "a")
    text = place.config.read_text()
    place.config.write_text(text.replace("[feed.a]", '[feed.a]\npublish = ["treason-uncloaked"]'))
    feed_says(place, C)
    with running(place) as daemon:
        daemon.offend(A)
        outbox = place.path / "outbox" / "a.db"
        until(lambda: outbox.exists() and read(outbox, 0), daemon.error)
        [told] = read(outbox, 0)
        assert (str(told.network), told.banned) == (A, True)


def memory(daemon: Resident) -> float:
    """Return how many MiB are resident."""
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    [line] = [each for each in text.splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
