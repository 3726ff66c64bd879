"""A fleet whose engine is cut off, set back, deaf or full: nothing is lost, nothing is unbanned.

The engine is a real PostgreSQL; members are feeds' processes in this one.
docs/reference/faults-of-the-fleet.md names these tests.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
from attrs import evolve
from fleetplaces import Fleet, founded, server, until
from postgres import needed

from reconciler.execute import run

pytestmark = needed


def test_half_of_a_fleet_that_is_cut_off_keeps_what_it_has(fleet: Fleet) -> None:
    """Its bans go on, and end at their time, and its own are in force; healed, all are equal."""
    way = fleet.proxy()
    near = fleet.grow("a", "b")
    far = fleet.grow("c", "d", home=way.directory)
    a, c, d = near[0], far[0], far[1]
    a.bans("203.0.113.1")
    c.bans("203.0.113.3")
    fleet.agrees()
    a.bans("203.0.113.2", seconds=5)
    ends = time.time() + 5
    for each in (a, c, d):
        each.settles()
    assert d.dropped() >= {"203.0.113.2"} or time.time() > ends
    way.cut()
    a.bans("203.0.113.4")
    a.unbans("203.0.113.1")
    c.bans("203.0.113.5")
    c.unbans("203.0.113.3")
    for each in near:
        each.settles()
    until(lambda: time.time() > ends + 1)
    for each in far:
        assert each.goes().failure
    assert c.dropped() == {"203.0.113.1", "203.0.113.5"}
    assert d.dropped() == {"203.0.113.1", "203.0.113.3"}
    a.own.discard("203.0.113.2")
    way.open()
    begun = time.monotonic()
    fleet.agrees()
    assert fleet.union() == {"203.0.113.4", "203.0.113.5"}
    assert time.monotonic() - begun < 30


def test_a_frozen_engine_is_given_up_and_nothing_ends(fleet: Fleet) -> None:
    """It answers nothing, and closes nothing: each turn ends within its time, and says so."""
    way = fleet.proxy()
    a, b = fleet.grow("a", "b", home=way.directory)
    a.bans("203.0.113.1")
    fleet.agrees()
    way.freeze()
    begun = time.monotonic()
    failure = b.goes().failure
    assert failure
    assert "within" in str(failure)
    assert time.monotonic() - begun < 30
    assert b.dropped() == {"203.0.113.1"}
    way.thaw()
    fleet.agrees()


@pytest.mark.slow
def test_packets_that_are_dropped_are_waited_for_in_vain_and_not_for_long(
    nft: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way by TCP is gone, and nobody says so; each turn ends, and healed all goes on."""
    run(["ip", "link", "set", "lo", "up"])
    with (
        server(settings={"listen_addresses": "127.0.0.1"}) as made,
        founded(made, tmp_path, capsys) as fleet,
    ):
        a, b = fleet.grow("a", "b", home=Path("127.0.0.1"))
        a.bans("203.0.113.1")
        fleet.agrees()
        nft("add table inet between")
        nft("add chain inet between way { type filter hook input priority 0; }")
        nft("add rule inet between way tcp dport 5433 drop")
        a.bans("203.0.113.2")
        for each in (a, b):
            for _ in range(2):  # the connection that was there, and one that does not come about
                begun = time.monotonic()
                assert each.goes().failure
                assert time.monotonic() - begun < 45
        assert b.dropped() == {"203.0.113.1"}
        nft("delete table inet between")
        begun = time.monotonic()
        fleet.agrees()
        assert time.monotonic() - begun < 30


KINDS = ("a copy of its directory", "pg_dump")


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_backup_unbans_nobody(kind: str, fleet: Fleet, tmp_path: Path) -> None:
    """It is told by each member; a new epoch, accepted by each, brings back what came since."""
    a, b, c = fleet.grow("a", "b", "c")
    a.bans("203.0.113.1", "203.0.113.2")
    fleet.agrees()
    back = _backup(fleet, tmp_path / "backup", kind)
    a.bans("203.0.113.3")
    b.bans("203.0.113.4")
    a.unbans("203.0.113.2")
    fleet.agrees()
    back()
    before = fleet.union()
    for each in (a, b, c):
        failure = each.goes().failure
        assert "backup" in str(failure)
        assert each.dropped() == before
    a.bans("203.0.113.5")  # which nobody hears of yet, and which is not forgotten
    assert a.goes().failure
    fleet.does("init", "--new-epoch")
    for each in (a, b, c):
        each.settles()
    for each in (a, b, c):
        each.settles()
        result = each.passes()
        assert result.code == 1
        assert "epoch has changed" in result.err
        assert before <= each.held()
    for each in (a, b, c):
        assert each.place.treason("feed", "accept", "fleet").code == 0
    fleet.agrees()
    assert fleet.union() == {f"203.0.113.{number}" for number in (1, 3, 4, 5)}


def test_a_restored_backup_is_told_also_once_its_clock_has_gone_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    """By who has read what came behind it; who has not goes on, and nothing is taken twice."""
    a, b, away = fleet.grow("a", "b", "away")
    a.bans("203.0.113.1")
    fleet.agrees()
    back = _backup(fleet, tmp_path / "backup", KINDS[0])
    for number in range(2, 5):
        a.bans(f"203.0.113.{number}")
        a.settles()
    b.settles()
    back()
    for number in range(10):
        away.bans(f"198.51.100.{number}")
        away.settles()
    for each in (a, b):
        assert "backup" in str(each.goes().failure)
    assert b.dropped() == {f"203.0.113.{number}" for number in range(1, 5)}
    fleet.does("init", "--new-epoch")
    for each in (a, b, away, a, b, away):
        each.settles()
    for each in (a, b, away):
        assert each.place.treason("feed", "accept", "fleet").code == 0
    fleet.agrees()
    assert len(fleet.union()) == 14


def _backup(fleet: Fleet, path: Path, kind: str) -> Callable[[], None]:
    """Back the engine up; return what restores it."""
    server = fleet.server
    if kind == KINDS[1]:
        return _dumped(fleet, path)
    server.stop()
    subprocess.run(["cp", "-a", str(server.data), str(path)], check=True)
    server.start()

    def restore() -> None:
        server.stop()
        shutil.rmtree(server.data)
        subprocess.run(["cp", "-a", str(path), str(server.data)], check=True)
        server.start()

    return restore


def _dumped(fleet: Fleet, path: Path) -> Callable[[], None]:
    dump = subprocess.run(["pg_dump", "-Fc", fleet.dsn], capture_output=True, check=True).stdout
    path.write_bytes(dump)

    def restore() -> None:
        with psycopg.connect(fleet.server.dsn(), autocommit=True) as connection:
            connection.execute("DROP DATABASE fleet WITH (FORCE)")
            connection.execute("CREATE DATABASE fleet")
        subprocess.run(["pg_restore", "-d", fleet.dsn, str(path)], check=True)

    return restore


HOUR = 3600


def _skewed(seconds: int) -> float:
    return time.time() + seconds


@pytest.mark.parametrize(("publisher", "receiver"), [(HOUR, 0), (0, HOUR), (-HOUR, -HOUR), (0, 0)])
def test_clocks_an_hour_apart_change_no_end(publisher: int, receiver: int, fleet: Fleet) -> None:
    """The engine computes what is left, and each counts that by its own clock.

    A receiver may round up by a 64th of it; both an hour behind is an engine an hour ahead.
    """
    one, other = fleet.grow("one", "other")
    for each, skew in ((one, publisher), (other, receiver)):
        each.begin()
        assert each.engine
        each.engine = evolve(each.engine, clock=partial(_skewed, skew))
    begun = time.time()
    one.tells("203.0.113.1", until=int(begun) + publisher + 1200)
    one.settles()
    other.settles()
    assert other.engine
    [group] = other.engine.file.contents.groups
    assert group.until
    left = group.until - (begun + receiver)
    assert 1198 <= left <= 1200 * 65 / 64 + (time.time() - begun) + 2


def test_a_member_that_hears_nothing_polls_and_says_so(fleet: Fleet) -> None:
    """Notifications are swallowed, as by a pool of connections: only the time wakes it."""
    way = fleet.proxy()
    a = fleet.add("a")
    b = fleet.add("b", home=way.directory)
    fleet.agrees()
    way.deaf = True
    a.bans("203.0.113.1")
    a.settles()
    b.settles()
    assert b.told() == {"a": {"203.0.113.1"}}
    notes: tuple[str, ...] = ()

    def says() -> bool:
        nonlocal notes
        notes = b.settles().notes
        return any("LISTEN" in each for each in notes)

    until(says)
    assert any("asked every" in each for each in notes), notes
    way.deaf = False
    a.bans("203.0.113.2")
    a.settles()
    until(lambda: not any("LISTEN" in each for each in b.settles().notes))


def test_who_was_away_for_less_than_a_month_reads_what_came(fleet: Fleet) -> None:
    """Also what was removed meanwhile, by its tombstone; no snapshot is read."""
    a, b = fleet.grow("a", "b")
    a.bans(*(f"203.0.113.{number}" for number in range(1, 30)))
    fleet.agrees()
    a.unbans(*(f"203.0.113.{number}" for number in range(1, 25)))
    a.bans("198.51.100.1")
    a.settles()
    _passes(fleet, 29)
    cursor = b.engine and b.engine.file.contents.cursor
    assert cursor
    floor = fleet.asks("SELECT floor FROM fleet.clock")[0][0]
    assert int(cursor.partition(":")[0]) >= floor
    fleet.agrees()
    assert b.dropped() == {"198.51.100.1", *(f"203.0.113.{number}" for number in range(25, 30))}


def test_who_was_away_for_longer_reads_a_snapshot(fleet: Fleet) -> None:
    """The tombstones are gone by then: nothing that was removed comes back to life, or stays."""
    a, b = fleet.grow("a", "b")
    a.bans(*(f"203.0.113.{number}" for number in range(1, 30)))
    fleet.agrees()
    a.unbans(*(f"203.0.113.{number}" for number in range(1, 10)))
    a.bans("198.51.100.1")
    a.settles()
    _passes(fleet, 31)
    a.bans("198.51.100.2")
    a.settles()
    assert fleet.asks("SELECT count(*) FROM fleet.bans WHERE removed IS NOT NULL") == [(0,)]
    assert b.engine
    cursor = b.engine.file.contents.cursor
    assert cursor
    floor = fleet.asks("SELECT floor FROM fleet.clock")[0][0]
    assert int(cursor.partition(":")[0]) < floor
    fleet.agrees()
    late = fleet.add("late")
    late.settles()
    assert late.told() == {"a": a.own}


def _passes(fleet: Fleet, days: int) -> None:
    """Let so many days go by in the engine: all that was written is that much older."""
    with fleet.owner() as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE fleet.ticks SET at = at - make_interval(days => %s)", [days])
        connection.execute(
            "UPDATE fleet.bans SET since = since - make_interval(days => %(d)s),"
            " until = until - make_interval(days => %(d)s),"
            " removed = removed - make_interval(days => %(d)s),"
            " told = told - make_interval(days => %(d)s),"
            " gone = gone - make_interval(days => %(d)s)",
            {"d": days},
        )


def test_who_publishes_nothing_any_more_takes_back_what_he_told(fleet: Fleet) -> None:
    """Its own process tells that, too, though its table names no rule; it goes on to hear."""
    a, b = fleet.grow("a", "b")
    a.bans("203.0.113.1")
    b.bans("203.0.113.2")
    assert a.place.treason("feed", "run", "fleet", "--once").code == 0
    b.settles()
    assert b.dropped() == {"203.0.113.1", "203.0.113.2"}
    text = a.place.config.read_text()
    a.place.config.write_text(text.replace('publish = ["manual"]', "publish = []"))
    assert a.place.treason("reconcile", "--no-scan").code == 0
    assert a.place.treason("feed", "run", "fleet", "--once").code == 0
    assert a.dropped() == {"203.0.113.1", "203.0.113.2"}
    b.settles()
    assert b.dropped() == {"203.0.113.2"}


def test_a_full_quota_lets_removals_pass(fleet: Fleet) -> None:
    """Bans wait in order until the hour is over; who is unbanned is so everywhere at once."""
    a = fleet.add("a", max_new=10)
    b = fleet.add("b")
    first = [f"203.0.113.{number}" for number in range(10)]
    a.tells(*first)
    a.settles()
    waiting = [f"198.51.100.{number}" for number in range(30)]
    a.tells(*waiting)
    result = a.goes()
    assert any("20" in each or "30" in each for each in (*result.notes, str(result.failure)))
    a.tells(first[0], waiting[29], banned=False)
    a.goes()
    b.settles()
    assert b.told() == {"a": {*first[1:]}}
    fleet.asks("UPDATE fleet.members SET max_new = 100 WHERE member = 'a' RETURNING 1")
    until(lambda: not a.goes().failure and b.settles() and b.told() == {"a": a.own})


def test_very_many_ends_are_read(fleet: Fleet) -> None:
    """Each of 100,100 bans ends at a time of its own: the feed's file has room for all."""
    b = fleet.add("b")
    fleet.add("a")
    with fleet.owner() as connection:
        connection.execute("UPDATE fleet.members SET max_new = 1000000")
        connection.execute(
            "INSERT INTO fleet.bans (network, member, until, reason)"
            " SELECT set_masklen('5.0.0.0'::inet + n, 32)::cidr, 'a',"
            " now() + make_interval(secs => 100 + n * 20), 'r' || n % 7"
            " FROM generate_series(1, 100100) n"
        )
    b.settles()
    assert sum(map(len, b.told().values())) == 100_100
