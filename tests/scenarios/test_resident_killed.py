"""Killed while offenders come in: nothing lost, nothing doubled, nobody whitelisted dropped."""

import os
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from ipaddress import ip_address
from itertools import count

import pytest
from harness import Place
from residents import LINE, Resident, configure, drops, full, in_force, running, until

from reconciler import Network
from reconciler.execute import run

KILLS = int(os.environ.get("KILLS", "50"))
SPARED = "11.9.9.9"
FIRST = ip_address("12.0.0.0")


class Offenders:
    """Writes offenders into the log, each twice by its own connections, and the spared one."""

    def __init__(self, place: Place, dice: random.Random) -> None:
        self._log = place.path / "kern.log"
        self._dice = dice
        self._numbers = count()
        self.lines: Counter[str] = Counter()

    def come(self) -> None:
        """Let one or some come."""
        with self._log.open("a") as log:
            for _ in range(self._dice.choice((1, 1, 1, 5, 40))):
                number = next(self._numbers)
                address = str(FIRST + number)
                if number % 10 == 0:
                    address = SPARED
                line = LINE.format(address, number % 60_000)
                self.lines[line.strip()] += 1
                log.write(line)


def stored(place: Place) -> tuple[Counter[str], set[str], list[str]]:
    """Return the evidence of the offences, the bans, and the bans of the history."""
    with closing(sqlite3.connect(place.database, timeout=20)) as database:
        evidence = Counter(text for (text,) in database.execute("SELECT evidence FROM offences"))
        bans = {text for (text,) in database.execute("SELECT network FROM bans")}
        history = database.execute("SELECT network FROM history WHERE action = 'ban'")
        return evidence, bans, [text for (text,) in history]


def whole(place: Place, offenders: Offenders) -> bool:
    """Whether every line was stored once."""
    return stored(place)[0] == offenders.lines


@pytest.mark.slow
def test_a_killed_daemon_loses_and_doubles_nothing(place: Place, host: None) -> None:
    """Fifty moments; the last one is left alone until all that was written is stored."""
    configure(place, f'[whitelist]\nnetworks = ["{SPARED}"]')
    seed = random.randrange(1 << 32)  # noqa: S311 - moments, no secrets
    dice = random.Random(seed)  # noqa: S311
    offenders = Offenders(place, dice)
    spared = Network.parse(SPARED)
    for turn in range(KILLS + 1):
        with running(place, awake=turn % 2 == 0) as daemon:
            last = turn == KILLS
            _trouble(daemon, offenders, dice, last=last)
            if last:
                until(lambda: whole(place, offenders), f"seed {seed}")
                assert daemon.stop() == 0
        assert spared not in in_force(), f"seed {seed}, turn {turn}"
    _evidence, bans, history = stored(place)
    assert len(history) == len(set(history)) == len(bans), f"seed {seed}"
    assert in_force() == {Network.parse(each) for each in bans - {SPARED}}, f"seed {seed}"


def _trouble(daemon: Resident, offenders: Offenders, dice: random.Random, *, last: bool) -> None:
    """Let offenders come for a while, and kill it in the middle of that."""
    end = time.monotonic() + dice.uniform(0.0, 0.5)
    while time.monotonic() < end:
        offenders.come()
        time.sleep(dice.choice((0.0, 0.001, 0.02)))
    if not last:
        daemon.kill()


@pytest.fixture
def disk(place: Place, host: None) -> Place:
    """A small disk of its own under the database; the log is elsewhere."""
    log = place.path.with_name("kern.log")
    log.touch()
    run(["mount", "-t", "tmpfs", "-o", "size=700k,mode=700", "tmpfs", str(place.path)])
    place.path.joinpath("kern.log").symlink_to(log)
    configure(place)
    return place


def test_nothing_is_removed_with_a_full_disk_between(disk: Place) -> None:
    """The daemon holds what it could not store; passes by hand leave it in force."""
    disk.treason("ban", "198.51.100.1")
    held = {Network.parse(f"203.0.113.{each}") for each in (7, 8)}
    with running(disk) as daemon:
        with full(disk.path):
            daemon.offend("203.0.113.7", "203.0.113.8")
            until(lambda: held <= set(in_force()))
            until(lambda: "full" in daemon.error)
            told = disk.treason("status")
            assert ("the disk is full" in told.out, told.code) == (True, 1)
            for options in (("--no-scan",), ("--no-scan", "--full"), ()):
                disk.treason("reconcile", *options)
                assert held <= set(in_force()), options
        until(lambda: {"203.0.113.7", "203.0.113.8"} <= stored(disk)[1])
        until(lambda: disk.treason("reconcile", "--check", "--full").code == 0)


def test_a_locked_database_delays_no_drop(place: Place, host: None) -> None:
    """Somebody keeps the database for himself: who offends is dropped all the same."""
    configure(place)
    place.treason("ban", "198.51.100.1")
    with running(place) as daemon:
        with closing(sqlite3.connect(place.database, isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            daemon.offend("203.0.113.7")
            until(lambda: drops("203.0.113.7"))
            database.execute("ROLLBACK")
        until(lambda: "203.0.113.7" in stored(place)[1])
        assert stored(place)[0].total() == 1


def test_a_database_that_is_gone_is_told_and_not_begun_anew(place: Place, host: None) -> None:
    """What is in force stays, and comes into the database once it is back."""
    configure(place)
    place.treason("ban", "198.51.100.1")
    away = place.path / "away.db"
    with running(place) as daemon:
        place.database.rename(away)
        daemon.offend("203.0.113.7")
        until(lambda: drops("203.0.113.7", "198.51.100.1"))
        until(lambda: "missing" in daemon.error)
        assert not place.database.exists()
        away.rename(place.database)
        until(lambda: "203.0.113.7" in stored(place)[1])
        assert drops("203.0.113.7", "198.51.100.1")


def test_a_newer_schema_ends_the_daemon(place: Place, host: None) -> None:
    """So that the unit starts the newer program; what is in force stays."""
    configure(place)
    place.treason("ban", "198.51.100.1")
    with running(place) as daemon:
        with closing(sqlite3.connect(place.database)) as database:
            database.execute("PRAGMA user_version = 1000")
        daemon.offend("203.0.113.7")
        assert daemon.process.wait(20) == 0
        assert "newer" in daemon.error
        told = place.treason("status")
        assert ("the database has schema" in told.err, told.code) == (True, 1)
        assert drops("198.51.100.1", "203.0.113.7")
