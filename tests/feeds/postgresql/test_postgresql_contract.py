"""The contracts of feeds, on a fleet's database."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import postgres
import pytest
from fleets import Fleet
from postgres import Postgres

from feeds.postgresql.feed import Postgresql
from reconciler.testing import (
    EpochFeedContract,
    NotingFeedContract,
    PublishingFeedContract,
    WakingFeedContract,
)

pytestmark = postgres.needed
Ways = Mapping[str, Callable[[Any], AbstractContextManager[object]]]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server for all tests of this file, by its socket."""
    with postgres.running() as made:
        yield made


class Forged(Fleet):
    """A fleet one of whose members sends what means nothing to every feed."""

    forges: bool = False

    def feed(self, member: str = "ours") -> Postgresql:
        """Listen, and hear what is forged."""
        made = super().feed(member)
        if self.forges:
            made.fileno()
            [*made.changes(None)]
            with self.as_member("alpha") as session:
                session.execute("NOTIFY fleet, 'anything'")
        return made


class TestPostgresql(
    EpochFeedContract, NotingFeedContract, PublishingFeedContract, WakingFeedContract
):
    """What every feed promises, and more."""

    fleet: Forged
    spellings: ClassVar[Mapping[str, str]] = {"2001:DB8:0::7": "2001:db8::7"}

    @pytest.fixture
    def speaker(self, server: Postgres, tmp_path: Path) -> Iterator[Fleet]:
        """A fleet where nobody bans anybody."""
        self.fleet = Forged(server, tmp_path)
        yield self.fleet
        self.fleet.close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """The server is not there."""
        self.fleet.server.stop()
        yield
        self.fleet.server.start()

    @contextmanager
    def between(self, done: str, undone: str) -> Iterator[None]:
        """Something is done to the database, and undone."""
        self.fleet.owner.execute(done.encode())
        yield
        self.fleet.owner.execute(undone.encode())

    def shut_out(self) -> AbstractContextManager[None]:
        """The member may not log in, and is thrown out."""
        return self.between(
            "ALTER ROLE ours NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'ours'",
            "ALTER ROLE ours LOGIN",
        )

    faults: ClassVar[Ways] = {
        "the server is down": lambda self: self.down(),
        "the schema is gone": lambda self: self.between(
            "ALTER SCHEMA fleet RENAME TO away", "ALTER SCHEMA away RENAME TO fleet"
        ),
        "a newer schema": lambda self: self.between(
            "UPDATE fleet.clock SET version = 99", "UPDATE fleet.clock SET version = 1"
        ),
        "no member": lambda self: self.between(
            "DELETE FROM fleet.members WHERE member = 'ours'",
            "INSERT INTO fleet.members (member) VALUES ('ours')",
        ),
        "shut out": lambda self: self.shut_out(),
    }
    refusals: ClassVar[Ways] = {
        "the server is down": lambda self: self.down(),
        "no member": faults["no member"],
        "shut out": lambda self: self.shut_out(),
        "the quota is full": lambda self: self.between(
            "UPDATE fleet.members SET max_new = 0", "UPDATE fleet.members SET max_new = 1000"
        ),
    }

    def another(self) -> None:
        """Another database has the same name."""
        self.fleet.drop()
        self.fleet.make()

    def odd(self) -> None:
        """Somebody forges."""
        self.fleet.forges = True
