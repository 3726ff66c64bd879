"""A fleet of the test's own: a database of a private PostgreSQL, and members of it."""

import itertools
from collections.abc import Collection
from pathlib import Path
from typing import Final

import psycopg
from attrs import define, field
from postgres import Postgres

from feeds.postgresql import PostgresqlSettings, schema
from feeds.postgresql.feed import Postgresql

MEMBERS: Final = ("alpha", "beta", "ours")
PASSWORD: Final = "of the tests"  # noqa: S105 - nobody else's
_NUMBERS = itertools.count()


@define(eq=False)
class Fleet:
    """A database with the fleet's schema; ``owner`` is a session of its administrator."""

    server: Postgres
    directory: Path
    name: str = field(factory=lambda: f"fleet{next(_NUMBERS)}")
    max_new: int = 1_000_000
    feeds: list[Postgresql] = field(factory=list)
    said: dict[str, str] = field(factory=dict)
    _owner: "psycopg.Connection[tuple[object, ...]] | None" = None

    def __attrs_post_init__(self) -> None:
        password = self.directory / "password"
        password.write_text(f"{PASSWORD}\n")
        password.chmod(0o600)
        self.make()

    @property
    def owner(self) -> "psycopg.Connection[tuple[object, ...]]":
        """The superuser's session in the fleet's database, made anew where it was lost."""
        if self._owner is None or self._owner.closed:
            self._owner = psycopg.connect(self.server.dsn(dbname=self.name), autocommit=True)
        return self._owner

    def make(self) -> None:
        """Make the database, with its schema and its members."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self.name}".encode())
        schema.install(self.owner)
        for member in MEMBERS:
            self.add(member)

    def add(self, member: str) -> None:
        """Let somebody be a member."""
        (known,) = self.owner.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname = %s", [member]
        ).fetchone() or (0,)
        if not known:
            self.owner.execute(f"CREATE ROLE {member} LOGIN PASSWORD '{PASSWORD}'".encode())
            self.owner.execute(f"GRANT treason_fleet_member TO {member}".encode())
        self.owner.execute(
            "INSERT INTO fleet.members (member, max_new) VALUES (%s, %s)", [member, self.max_new]
        )

    def drop(self) -> None:
        """Remove the database."""
        self.owner.close()
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {self.name} WITH (FORCE)".encode())

    def settings(self, member: str = "ours", **more: str) -> PostgresqlSettings:
        """Return the settings of a member."""
        words = {"host": str(self.server.directory), "dbname": self.name} | more
        return PostgresqlSettings(self.server.dsn(member, **words), self.directory / "password")

    def feed(self, member: str = "ours") -> Postgresql:
        """Listen as a member."""
        self.feeds.append(Postgresql(self.settings(member)))
        return self.feeds[-1]

    def as_member(self, member: str) -> "psycopg.Connection[tuple[object, ...]]":
        """Return a session of a member."""
        dsn = self.server.dsn(member, self.name, host=str(self.server.directory))
        return psycopg.connect(dsn, password=PASSWORD, autocommit=True)

    def says(self, *networks: str) -> None:
        """Let two members together ban these, and no others."""
        wanted = {each: ("alpha", "beta")[number % 2] for number, each in enumerate(networks)}
        for member in ("alpha", "beta"):
            with self.as_member(member) as session:
                gone = [n for n, who in self.said.items() if who == member != wanted.get(n)]
                new = [n for n, who in wanted.items() if who == member != self.said.get(n)]
                if gone:
                    session.execute("SELECT fleet.remove(%s::cidr[])", [gone])
                if new:
                    self.ban(session, *new)
        self.said = wanted

    def ban(
        self,
        session: "psycopg.Connection[tuple[object, ...]]",
        *networks: str,
        seconds: int | None = None,
        reason: str = "probes",
    ) -> None:
        """Let a member ban these."""
        count = len(networks)
        session.execute(
            "SELECT fleet.publish(%s::cidr[], %s::bigint[], %s::text[])",
            [[*networks], [seconds] * count, [reason] * count],
        )

    def heard(self) -> Collection[str]:
        """Return what others hear of us."""
        with self.as_member("alpha") as session:
            rows = session.execute(
                "SELECT network::text FROM fleet.news WHERE member = 'ours' AND NOT removed"
            )
            return [str(network) for (network,) in rows]

    def close(self) -> None:
        """Close every feed, and remove the database."""
        for feed in self.feeds:
            feed.close()
        self.drop()
