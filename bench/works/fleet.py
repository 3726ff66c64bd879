"""The fleet: one ban to another host and to a thousand, all bans to a new one, and after an outage.

Hosts stand in network namespaces on one switch, PostgreSQL in another one; it waits for the disk at
each commit, and all of it goes by TLS. As root, with Debian's package postgresql.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from statistics import quantiles
from typing import Final

import psycopg

from bench.fleet.fleet import Fleet, fill, line
from bench.fleet.floor import INSERT, SCHEMA
from bench.fleet.member import Member
from bench.inputs import addresses, hosts, more
from bench.logs import syslog
from bench.measure import Failed, Sample
from bench.results import Key, Series
from bench.run import Bench, Subject
from bench.station import Station
from reconciler.network import Network
from reconciler.networks import Networks

ONE: Final = "a ban on one host, dropped on another"
ALL: Final = "a ban known to a thousand members"
NEW: Final = "all bans of a fleet to a new member's kernel"
AWAY: Final = "caught up after PostgreSQL was away"
FLOOR: Final = "insert, notify, select and a commit"
TENTH: Final = "treason, nine of ten"
OWN: Final = "treason, bans of its own"

_PATIENCE: Final = 60.0
_APART: Final = 1.0
"""Seconds at most between two bans."""

_ROUNDS, _FEW = 61, 15
_KNOWING: Final = 1_000
_MANY: Final = 1_000_000
_MISSED: Final = 10_000
_OUTAGE: Final = 20.0
"""Seconds until those that wait for PostgreSQL do so as after an hour."""


def measure(bench: Bench) -> None:
    """Measure all; of a quick run one ban to another host."""
    _one(bench)
    if not bench.quick:
        _all(bench)
        _new(bench)
        _away(bench)


def _one(bench: Bench) -> None:
    numbers, chance = count(), random.Random(20260101)  # noqa: S311 - no secrets
    with Fleet(bench.directory) as fleet, ExitStack() as stack:
        one, two = fleet.member("one"), fleet.member("two")
        for each in (one, two):
            each.resident()
        host = fleet.switch.join("floor")
        dsn = fleet.floor(SCHEMA)
        stack.enter_context(fleet.program("bench.fleet.floor", "floor", dsn))
        with one.port.entered():
            teller = stack.enter_context(psycopg.connect(dsn, autocommit=True, prepare_threshold=0))

        def spaced(turn: Callable[[str], Sample]) -> Sample:
            time.sleep(chance.uniform(0.02, _APART / 5 if bench.quick else _APART))
            [address] = more(next(numbers), 1)
            return turn(address)

        floor = Member(host, fleet.path / "floor")
        subjects = [
            Subject(FLOOR, 1, partial(spaced, partial(_told, teller, floor))),
            Subject("treason", 1, partial(spaced, partial(_banned, one, two)), (FLOOR, 1)),
        ]
        bench.compare(ONE, subjects, rounds=_FEW if bench.quick else _ROUNDS, seconds=300)
    _tenth(bench, Key(ONE, "treason", 1), TENTH)


def _banned(one: Member, two: Member, address: str) -> Sample:
    """Let one find an offender; measure from its own drop to that of two, and from the line."""
    with one.watch() as first, two.watch() as second:
        told = time.perf_counter()
        with one.log.open("a") as log:
            log.write(syslog([address]))
        dropped = first.wait(1, _PATIENCE)
        there = second.wait(1, _PATIENCE)
    return {"wall": there - dropped, "line": there - told}


def _told(teller: "psycopg.Connection[tuple[object, ...]]", floor: Member, address: str) -> Sample:
    with floor.watch() as watch:
        told = time.perf_counter()
        teller.execute(INSERT, (address,))
        return {"wall": watch.wait(1, _PATIENCE) - told}


def _tenth(bench: Bench, key: Key, name: str) -> None:
    """Add, as a subject of its own, what nine of ten are at most."""
    if key in bench.results.series:
        series = bench.results.series[key]
        figures = series.figures("wall")
        if len(figures) > 1:
            nine = quantiles(figures, n=10, method="inclusive")[8]
            bench.results.add(Series(Key(key.work, name, key.size), [{"wall": nine}]))


def _all(bench: Bench) -> None:
    """Let a thousand connections listen, in two processes, and one host ban."""
    numbers = count(1_000)
    with Fleet(bench.directory, max_connections="1100") as fleet, ExitStack() as stack:
        one = fleet.member("one")
        names = fleet.crowd(_KNOWING)
        before = fleet.memory()
        host = fleet.switch.join("crowd")
        dsn = fleet.crowd_dsn()
        crowds = [
            stack.enter_context(
                fleet.program(
                    "bench.fleet.crowd",
                    host.name,
                    {"dsn": dsn, "names": names[half::2], "members": _KNOWING + 1},
                )
            )
            for half in range(2)
        ]
        one.resident()
        memory = fleet.memory() - before

        def turn() -> Sample:
            time.sleep(0.2)
            with one.watch() as watch, one.log.open("a") as log:
                log.write(syslog(more(next(numbers), 1)))
                log.flush()
                dropped = watch.wait(1, _PATIENCE)
            told = [json.loads(line(each)) for each in crowds]
            half, last = (max(each[name] for each in told) for name in ("half", "last"))
            return {"wall": last - dropped, "half": half - dropped, "memory": memory}

        bench.compare(ALL, [Subject("treason", _KNOWING, turn)], rounds=31, seconds=120)
    _tenth(bench, Key(ALL, "treason", _KNOWING), TENTH)


def _new(bench: Bench) -> None:
    """Let a new member read a million bans, of a thousand members and of ten, and enforce them."""
    alone = Subject(OWN, _MANY, partial(_own, bench))
    for members in (1_000, 10):
        with Fleet(bench.directory) as fleet:
            bench.tell(f"{_MANY:,} bans of {members:,} members")
            fill(fleet, members, addresses(_MANY))
            names = (f"new{number}" for number in count())
            name = "treason" if members == 1_000 else f"treason, {members} members"
            joined = Subject(name, _MANY, partial(_joined, bench, fleet, names), (OWN, _MANY))
            bench.compare(NEW, [alone, joined], rounds=3, seconds=300)


def _own(bench: Bench) -> Sample:
    with Station(bench.directory, database=bench.database(_MANY)) as station:
        sample = station.treason("reconcile", "--no-scan")
    bench.settle(_MANY)
    return sample


def _joined(bench: Bench, fleet: Fleet, names: Iterator[str]) -> Sample:
    """Measure a feed's first reading and the pass, whose memory counts: it alone is privileged."""
    with fleet.member(next(names)) as member:
        read = member.measured("feed", "run", "fleet", "--once")
        done = member.measured("reconcile", "--no-scan")
        if member.in_force() != hosts(_MANY):
            raise Failed("the new member does not drop what the fleet bans")
    fleet.switch.leave(member.name)
    bench.settle(_MANY)
    return {
        "wall": read["wall"] + done["wall"],
        "cpu": read["cpu"] + done["cpu"],
        "memory": done["memory"],
        "feed": read["wall"],
        "feed MB": read["memory"] / 1e6,
    }


def _away(bench: Bench) -> None:
    """Let a host ban ten thousand while PostgreSQL is away, and another one catch up."""
    with Fleet(bench.directory) as fleet:
        one, two = fleet.member("one"), fleet.member("two")
        for each in (one, two):
            each.resident()
        numbers = count(2_000, _MISSED)
        missed = Subject("treason", _MISSED, partial(_missed, fleet, one, two, numbers))
        bench.compare(AWAY, [missed], rounds=3, seconds=300)


def _missed(fleet: Fleet, one: Member, two: Member, numbers: Iterator[int]) -> Sample:
    """Measure from when PostgreSQL lets members in until the other host drops all of them."""
    given = more(next(numbers), _MISSED)
    before = two.in_force()
    fleet.engine.server.kill()
    gone = time.monotonic()
    for start in range(0, _MISSED, 100):
        with one.log.open("a") as log:
            log.write(syslog(given[start : start + 100]))
    wanted = Networks.of(map(Network.parse, given))
    one.until(lambda: not wanted - one.in_force(), "daemon")
    time.sleep(max(0.0, gone + _OUTAGE - time.monotonic()))
    lost = len(before - two.in_force())
    with two.watch() as watch:
        fleet.engine.start()
        back = time.perf_counter()
        wall = watch.wait(_MISSED, _PATIENCE) - back
    lost += len(wanted - two.in_force())
    with fleet.engine.owner() as owner:
        query = "SELECT count(*) - count(DISTINCT network) FROM fleet.bans"
        [[doubled]] = owner.execute(query).fetchall()
    return {"wall": wall, "lost": lost, "doubled": float(str(doubled))}
