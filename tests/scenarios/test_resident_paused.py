"""The real daemon while everything is paused: it lifts at once, stores on, and holds nothing."""

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from harness import Place, page, wipe
from residents import Resident, busy, configure, drops, in_force, listed, running, told, until

from reconciler.execute import run
from reconciler.host.netns import Wire

Nft = Callable[..., str]
A, B, C = "203.0.113.5", "203.0.113.6", "203.0.113.7"


@pytest.fixture
def daemon(place: Place, host: None) -> Iterator[Resident]:
    """A daemon that drops one stored ban, and lets somebody pass."""
    configure(place, '[whitelist]\nnetworks = ["198.51.100.0/24"]\n')
    place.treason("ban", A)
    with running(place) as resident:
        assert drops(A)
        yield resident


def stored(place: Place, address: str) -> Callable[[], bool]:
    """Return whether an address is banned in the database."""
    return lambda: address in listed(place)


def mark(place: Place, until: int | None) -> None:
    """Store a mark alone, as a command does that is killed before it lifts anything."""
    with closing(sqlite3.connect(place.database, timeout=20)) as database, database:
        database.execute("INSERT INTO pause SELECT strftime('%s', 'now'), ?", (until,))


def test_packets_pass_at_once_and_offenders_are_only_stored(
    place: Place, daemon: Resident, wire: Callable[..., Wire]
) -> None:
    """Resumed, both are dropped before the command returns."""
    cable = wire(A, B)
    assert cable.arriving([A, B]) == {B}
    result = place.treason("pause")
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("paused until treason resume: nothing is enforced\n")
    assert cable.arriving([A, B]) == {A, B}
    daemon.hears("paused until treason resume: nothing is enforced")
    assert told(place)["paused"] is True
    daemon.offend(B)
    until(stored(place, B))
    assert not in_force()
    assert cable.arriving([A, B]) == {A, B}
    assert "put back" not in daemon.error
    result = place.treason("resume")
    assert (result.code, result.out) == (0, "resumed\nin force: nftables\n")
    assert cable.arriving([A, B]) == set()
    assert told(place)["paused"] is False
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_a_pause_ends_by_itself(place: Place, daemon: Resident) -> None:
    """The daemon enforces at once; no pass has to come."""
    daemon.forget()
    result = place.treason("pause", "--for", "2s")
    assert (result.code, "nftables: changed: 1 removed" in result.out) == (0, True)
    daemon.offend(B)
    until(lambda: drops(A, B))
    daemon.hears("dropping 2 networks")
    assert place.treason("status").code == 0


def test_pausing_again_sets_another_end(place: Place, daemon: Resident) -> None:
    """A longer one is kept, a shorter one too."""
    place.treason("pause", "--for", "1s")
    place.treason("pause")
    daemon.offend(B)
    until(stored(place, B))
    assert place.treason("reconcile", "--no-scan").code == 0
    assert not in_force()
    place.treason("pause", "--for", "1s")
    until(lambda: drops(A, B))


def test_a_killed_daemon_begins_again_paused(place: Place, host: None) -> None:
    """It says that it is ready, and why it drops nobody; who offended meanwhile is stored."""
    configure(place)
    place.treason("ban", A)
    with running(place) as first:
        place.treason("pause")
        first.kill()
    with running(place) as second:
        second.hears("paused until treason resume: nothing is enforced")
        second.offend(B)
        until(stored(place, B))
        assert not in_force()
        assert place.treason("ban", C).out.endswith(
            "stored, not enforced: paused until treason resume\n"
        )
        assert not in_force()
        assert place.treason("resume").code == 0
        assert drops(A, B, C)


def test_a_mark_alone_is_seen_before_anything_is_put_back(
    place: Place, daemon: Resident, nft: Nft
) -> None:
    """Somebody flushes the set: it stays empty, as a pause was stored meanwhile."""
    mark(place, None)
    nft("flush set inet treason banned4")
    daemon.hears("paused until")
    until(lambda: told(place)["paused"])
    assert not in_force()
    nft("delete table inet treason")
    daemon.offend(B)
    until(stored(place, B))
    assert place.treason("reconcile", "--no-scan").code == 0
    assert not in_force()
    place.treason("resume")
    assert drops(A, B)


def test_who_is_dropped_before_the_daemon_has_looked_is_let_through(
    place: Place, daemon: Resident
) -> None:
    """An offender comes between the mark and the look, which what it stores leads to."""
    mark(place, None)
    daemon.offend(B)
    until(lambda: not in_force())
    until(stored(place, B))
    assert not in_force()
    daemon.hears("paused until")


def test_who_is_not_stored_yet_is_let_through_too(place: Place, daemon: Resident) -> None:
    """The database is locked while he comes; he is dropped when the pause is over."""
    with busy(place):
        daemon.offend(B)
        until(lambda: drops(A, B))
    place.treason("pause")
    assert not in_force()
    with busy(place):
        daemon.offend(C)
        until(lambda: told(place)["pending"] == 1)
        assert not in_force()
        text = " ".join(place.treason("status").out.split())
        assert "1 network not stored yet" in text
        assert "holds nothing, as everything is paused" in text
    until(stored(place, C))
    assert not in_force()
    place.treason("resume")
    assert drops(A, B, C)


def test_passes_by_hand_and_at_boot_keep_it(place: Place, daemon: Resident) -> None:
    """So do a reload, and a daemon that is started meanwhile without the table."""
    place.treason("pause")
    for words in ((), ("--no-scan",), ("--no-scan", "--no-create", "--full"), ("--check",)):
        result = place.treason("reconcile", *words)
        assert result.code == 0, result.err
        assert result.out.startswith("paused until treason resume: nothing is enforced\n")
        assert not in_force()
    daemon.forget()
    daemon.send(signal.SIGHUP)
    daemon.hears("READY=1")
    daemon.offend(B)
    until(stored(place, B))
    assert not in_force()
    place.treason("resume")
    assert drops(A, B)


def test_whitelisted_while_paused_he_is_never_dropped_again(place: Place, daemon: Resident) -> None:
    """Nothing is put into the firewall for that; resumed, the others are dropped."""
    place.treason("pause")
    place.treason("ban", B)
    assert place.treason("whitelist", "add", A).code == 0
    daemon.offend("203.0.113.8")
    until(stored(place, "203.0.113.8"))  # so the daemon has looked at the whitelist
    assert A not in run(["nft", "list", "table", "inet", "treason"]).output
    place.treason("unban", B)
    place.treason("ban", C)
    place.treason("resume")
    assert drops(C)
    assert not drops(A)
    assert not drops(B)
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_after_a_teardown_a_pass_by_hand_lets_it_go_on_though_paused(
    place: Place, daemon: Resident
) -> None:
    """So it holds all of it at the end of the pause, and not only once somebody resumes."""
    assert place.treason("teardown").code == 0
    assert place.treason("pause", "--for", "3s").code == 0
    assert told(place)["still"]
    assert place.treason("reconcile", "--no-scan").code == 0
    assert told(place)["still"] is None
    until(lambda: drops(A))


def test_many_who_pause_resume_and_offend_at_once(place: Place, daemon: Resident) -> None:
    """What is true in the end is what was said last."""
    for number in range(4):
        both = [
            place.start("pause"),
            place.start("resume"),
            place.start("ban", f"192.0.2.{number}"),
        ]
        daemon.offend(f"203.0.114.{number}")
        assert [each.wait(60) for each in both] == [0, 0, 0]
    assert place.treason("pause").code == 0
    until(lambda: len(listed(place)) == 9)
    assert not in_force()
    assert place.treason("resume").code == 0
    assert len(in_force()) == 9
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_a_daemon_that_does_not_answer_is_named_and_holds_nothing_later(
    place: Place, daemon: Resident
) -> None:
    """All is lifted nevertheless; once it goes on, it puts nothing back."""
    daemon.send(signal.SIGSTOP)
    result = place.treason("pause")
    assert result.code == 1
    assert "the daemon has not taken in the pause yet" in result.err
    assert f"process {daemon.process.pid}" in result.err
    assert result.out.endswith("paused until treason resume: nothing is enforced\n")
    assert not in_force()
    daemon.offend(B)
    daemon.send(signal.SIGCONT)
    until(lambda: told(place)["paused"])
    until(stored(place, B))
    until(lambda: not in_force())
    daemon.send(signal.SIGSTOP)
    result = place.treason("resume")
    assert (result.code, result.out.splitlines()[0]) == (1, "resumed")
    assert drops(A, B)
    daemon.send(signal.SIGCONT)
    until(lambda: not told(place)["paused"])
    assert drops(A, B)


def test_resumed_where_nothing_is_paused_it_says_so(place: Place, daemon: Resident) -> None:
    """And lets the daemon look all the same."""
    result = place.treason("resume")
    assert (result.code, result.out) == (0, "nothing is paused\nin force: nftables\n")
    assert drops(A)


@pytest.mark.parametrize("part", ["table bans", "index bans_by_end", "table changes"])
def test_a_damaged_database_holds_the_pause_not_up(
    part: str, place: Place, daemon: Resident
) -> None:
    """It is told, and nobody is dropped; the daemon puts nothing back."""
    page(place.database, part.split()[1], wipe)
    result = place.treason("pause")
    assert result.code == 1
    assert f"the {part} cannot be read" in result.err
    assert not in_force()
    daemon.hears("paused until")
    daemon.offend(B)
    assert place.treason("reconcile", "--no-scan").code == 1
    assert not in_force()


@pytest.mark.parametrize("backend", ["ipset", "iptables"])
def test_a_backend_without_reflexes_is_emptied_by_a_pass(
    backend: str, place: Place, host: None
) -> None:
    """And filled again by one; who offends meanwhile needs none."""
    configure(place, main=f'backends = ["{backend}"]\n')
    place.treason("ban", A)

    def held() -> set[str]:
        snapshot = place.treason("export", "--observed").out
        return {*json.loads(snapshot)["backends"][backend]["banned"]}

    with running(place) as daemon:
        assert held() == {A}
        assert place.treason("pause").code == 0
        assert held() == set()
        daemon.offend(B)
        until(stored(place, B))
        assert held() == set()
        assert place.treason("resume").out == f"resumed\nin force: {backend}\n"
        assert held() == {A, B}
        place.treason("pause", "--for", "1s")
        until(lambda: held() == {A, B})


def test_a_pause_that_the_daemon_has_not_seen_is_over(place: Place, host: None) -> None:
    """It was stopped all the while; nothing tells it of the change but the mark that is left."""
    configure(place, main='backends = ["ipset"]\n')
    place.treason("ban", A)
    with running(place) as daemon:
        daemon.send(signal.SIGSTOP)
        assert place.treason("pause", "--for", "1s").code == 1
        until(lambda: place.treason("ban", B).code == 1)  # no pause any more, and no answer
        assert A not in run(["ipset", "save", "treason4"]).output
        daemon.send(signal.SIGCONT)
        assert place.treason("resume").out == "nothing is paused\nin force: ipset\n"
        held = run(["ipset", "save", "treason4"]).output
        assert all(each in held for each in (A, B))


@contextmanager
def unreadable(place: Place) -> Iterator[Path]:
    """Let the database be away for a while."""
    away = place.path / "away"
    place.database.rename(away)
    yield away
    away.rename(place.database)


def test_a_database_that_is_away_ends_no_pause(place: Place, daemon: Resident, nft: Nft) -> None:
    """What the daemon has seen last counts until it can see more."""
    place.treason("pause")
    with unreadable(place):
        nft("delete table inet treason")
        daemon.offend(B)
        until(lambda: str(place.database) in daemon.error)
        assert not in_force()
    until(stored(place, B))
    assert not in_force()
    place.treason("resume")
    assert drops(A, B)
