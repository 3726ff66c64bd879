"""A fleet whose engine is killed at any moment: nothing is lost, doubled, or unbanned meanwhile.

The engine is a real PostgreSQL; members are feeds' processes in this one.
docs/reference/faults-of-the-fleet.md names these tests.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from attrs import define, evolve, field
from fleetplaces import Fleet, Member
from postgres import Postgres, needed

pytestmark = needed


@define(eq=False)
class Killer:
    """Kills the engine, or one of its sessions, at any moment; ``at`` is what was done then."""

    server: Postgres
    dice: random.Random
    doing: str = ""
    at: Counter[str] = field(factory=Counter)

    @contextmanager
    def raging(self, times: int) -> "Iterator[threading.Thread]":
        """Kill it so many times, in a thread."""
        thread = threading.Thread(target=self._rage, args=(times,))
        thread.start()
        try:
            yield thread
        finally:
            thread.join()

    def _rage(self, times: int) -> None:
        for _ in range(times):
            time.sleep(self.dice.uniform(0.0, 0.15))
            self.at[self.doing] += 1
            kind = self.dice.randrange(3)
            if kind == 0:
                self.server.kill()
                time.sleep(self.dice.choice((0.0, 0.05)))
                self.server.start()
            elif kind == 1:  # the server ends all other sessions then, and recovers
                self._one(lambda pid: os.kill(pid, signal.SIGKILL))
            else:
                self._one(lambda pid: os.kill(pid, signal.SIGTERM))

    def _one(self, kill: Callable[[int], None]) -> None:
        """Kill a session of a member, if there is any."""
        with suppress(psycopg.Error, ProcessLookupError), _owner(self.server) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
            ).fetchall()
            for (pid,) in rows:
                kill(pid)


@contextmanager
def _owner(server: Postgres) -> "Iterator[psycopg.Connection[tuple[int]]]":
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        yield connection


@define(eq=False)
class Turns:
    """What members do, one after the other, at random."""

    fleet: Fleet
    killer: Killer
    dice: random.Random
    removed: set[tuple[str, str]] = field(factory=set)
    number: int = 0

    def one(self) -> None:
        """Let one member do something, and its feed's process make a turn; nothing is lost."""
        member = self.dice.choice([*self.fleet.members.values()])
        before = _pairs(member)
        self.killer.doing = self.dice.choice(("publish", "publish", "remove", "snapshot", "listen"))
        getattr(self, self.killer.doing)(member)
        member.goes()
        lost = before - _pairs(member) - self.removed
        assert not lost, f"{member.name} lost {lost} by {self.killer.doing}"

    def publish(self, member: Member) -> None:
        """Ban up to twenty networks."""
        fresh = [self._next() for _ in range(self.dice.randint(1, 20))]
        member.tells(*fresh)

    def remove(self, member: Member) -> None:
        """Take back one of its own."""
        if member.own:
            gone = self.dice.choice(sorted(member.own))
            self.removed.add((member.name, gone))
            member.tells(gone, banned=False)

    def snapshot(self, member: Member) -> None:
        """Read everything anew, as who was away too long."""
        if member.engine:
            file = member.engine.file
            file.contents = evolve(file.contents, cursor=None)

    def listen(self, member: Member) -> None:
        """Be a new process."""
        member.begin()

    def _next(self) -> str:
        self.number += 1
        return f"198.18.{self.number >> 8}.{self.number & 255}"


def _pairs(member: Member) -> set[tuple[str, str]]:
    if not member.store.exists():
        return set()
    return {(who, each) for who, several in member.told().items() for each in several}


def _killed_at_any_moment(fleet: Fleet, times: int) -> Counter[str]:
    seed = random.randrange(1 << 32)  # noqa: S311 - moments, no secrets
    dice = random.Random(seed)  # noqa: S311
    for each in fleet.grow("a", "b", "c", "d", max_new=100_000):
        each.begin()
    killer = Killer(fleet.server, random.Random(seed + 1))  # noqa: S311
    turns = Turns(fleet, killer, dice)
    try:
        with killer.raging(times) as thread:
            while thread.is_alive():
                turns.one()
        fleet.agrees()
        for each in fleet.members.values():
            heard = sum(len(news.judged.added) for news in each.news if news.judged)
            assert heard >= len(fleet.union() - each.own)
    except AssertionError as error:
        error.add_note(f"seed {seed}, {turns.number} networks, killed at {dict(killer.at)}")
        raise
    return killer.at


def test_an_engine_killed_at_some_moments_loses_nothing(fleet: Fleet) -> None:
    """Nothing is unbanned meanwhile, and in the end all hold the union, each ban once."""
    _killed_at_any_moment(fleet, 6)


@pytest.mark.slow
def test_an_engine_killed_at_a_hundred_moments_loses_nothing(fleet: Fleet) -> None:
    """While members publish, remove, read snapshots and begin to listen."""
    at = _killed_at_any_moment(fleet, 100)
    assert {*at} >= {"publish", "remove", "snapshot", "listen"}, at
