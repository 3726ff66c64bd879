"""The real daemon and feeds: what is in force for as long as it cannot be stored."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from feedfiles import nets, singles
from harness import Place
from residents import (
    Resident,
    busy,
    drops,
    feed_says,
    in_force,
    publish,
    running,
    until,
    with_feeds,
)

from reconciler.execute import run
from reconciler.host import lock

A, B, C = "203.0.113.5", "203.0.113.6", "203.0.113.7"


@pytest.fixture
def file(place: Place, host: None) -> Path:
    """The file of a feed that has said little yet, and whose members may name five an hour."""
    with_feeds(place, "a", "b")
    text = place.config.read_text()
    place.config.write_text(text.replace("[feed.a]", "[feed.a]\nmax_new = 5"))
    for name in ("a", "b"):
        feed_says(place, C, name=name)
    return place.path / "a" / "feed.db"


@pytest.fixture
def daemon(place: Place, file: Path) -> Iterator[Resident]:
    """One that has taken it."""
    with running(place) as resident:
        yield resident


def test_what_cannot_be_stored_does_not_add_up(place: Place, file: Path, daemon: Resident) -> None:
    """Who says something else again and again has no more in force than the limits allow."""
    with lock.held(place.path / "lock", 20):
        for number in range(8):
            publish(file, nets(C) | singles(4, start=0x01000000 + 16 * number))
            time.sleep(0.3)  # as a feed may: nothing is to come of it, so nothing can be waited for
        feed_says(place, B, C, name="b")
        until(lambda: drops(B), daemon.error)
        assert len(in_force()) <= 2 + 5
    until(lambda: drops("1.0.0.112"), daemon.error)
    until(lambda: in_force() == nets(B, C) | singles(4, start=0x01000070), daemon.error)
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


@pytest.mark.parametrize("epoch", ["first", "second"])
def test_what_a_feed_said_that_is_taken_out_is_let_go(
    place: Place, file: Path, daemon: Resident, epoch: str
) -> None:
    """Though no pass has ever known it, and also where another feed is not believed."""
    text = place.config.read_text()
    with lock.held(place.path / "lock", 20):
        publish(place.path / "b" / "feed.db", nets(C) | singles(20))
        until(lambda: drops("1.0.0.1"), daemon.error)
        feed_says(place, C, epoch=epoch)
        place.config.write_text(re.sub(r"(?ms)^\[feed\.b\].*?(?=^\[)", "", text))
        daemon.send(signal.SIGHUP)
        time.sleep(2)  # it begins anew, which the lock keeps from being told
    until(lambda: in_force() == nets(C), daemon.error)


def test_what_cannot_be_written_is_let_go_once_it_can(
    place: Place, file: Path, daemon: Resident
) -> None:
    """A ban of a feed that was in force meanwhile, and that it says no more."""
    with busy(place):
        feed_says(place, A, C)
        until(lambda: drops(A), daemon.error)
        feed_says(place, C)
        time.sleep(1)
        feed_says(place, B, C, name="b")
        until(lambda: drops(B), daemon.error)
    until(lambda: in_force() == nets(B, C), daemon.error)
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_who_is_protected_behind_teredo_is_never_dropped(place: Place, file: Path) -> None:
    """That is told by what is stored, so a pass takes it."""
    run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"])
    ours, other = "2001:0:cb00:7101::3fff:fdfe", "2001:0:cb00:7101::3fff:fdfd"
    with running(place) as daemon:
        feed_says(place, A, C, ours, other)
        until(lambda: drops(A, other), daemon.error)
        assert not drops(ours)
        assert "own address" in place.treason("why", ours).out
