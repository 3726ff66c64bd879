"""Databases of a private PostgreSQL that are fleets, and their members, by SQL alone."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from attrs import define, field
from postgres import Postgres

from feeds.postgresql import schema

PASSWORD: Final = "of the tests"  # noqa: S105 - nobody else's
_NUMBERS: Final = itertools.count()

Session = psycopg.Connection[Any]


@define(eq=False)
class Base:
    """A fleet's database; ``owner`` is the superuser's session in it."""

    server: Postgres
    name: str = field(factory=lambda: f"base{next(_NUMBERS)}")
    is_fleet: bool = True
    owner: Session = field(init=False)
    sessions: list[Session] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self.name}".encode())
        self.owner = psycopg.connect(self.dsn, autocommit=True)
        if self.is_fleet:
            schema.install(self.owner)

    @property
    def dsn(self) -> str:
        """How its administrator connects."""
        return self.server.dsn(dbname=self.name)

    def member(self, name: str, max_new: int = 1000) -> Session:
        """Let somebody be a member (of this server's every role one), and return a session."""
        known = self.all("SELECT FROM pg_roles WHERE rolname = %s", name)
        if not known:
            self.owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
            self.owner.execute(f"GRANT treason_fleet_member TO {name}".encode())
        self.owner.execute(
            "INSERT INTO fleet.members (member, max_new) VALUES (%s, %s)", (name, max_new)
        )
        return self.session(name)

    def session(self, name: str) -> Session:
        """Return another session of somebody, who has the tests' password."""
        dsn = self.server.dsn(name, self.name, host=str(self.server.directory))
        made = psycopg.connect(dsn, password=PASSWORD, autocommit=True)
        self.sessions.append(made)
        return made

    def all(self, sql: str, *given: object) -> list[tuple[Any, ...]]:
        """Return what the owner is answered."""
        return rows(self.owner, sql, *given)

    def seq(self) -> int:
        """Return where the clock stands."""
        return int(self.all("SELECT seq FROM fleet.clock")[0][0])

    def close(self) -> None:
        """End all sessions, and remove the database."""
        for each in (*self.sessions, self.owner):
            each.close()
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {self.name} WITH (FORCE)".encode())


def rows(session: Session, sql: str, *given: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return session.execute(sql.encode(), given or None).fetchall()


def publish(
    session: Session,
    networks: Sequence[str | None],
    seconds: int | None = 3600,
    why: str = "probes",
) -> int:
    """Ban these, and return how many were accepted."""
    count = len(networks)
    sql = "SELECT fleet.publish(%s::cidr[], %s::bigint[], %s::text[])"
    given = ([*networks], [seconds] * count, [why] * count)
    return int(rows(session, sql, *given)[0][0])


def remove(session: Session, *networks: str) -> int:
    """Remove bans, and return how many."""
    return int(rows(session, "SELECT fleet.remove(%s::cidr[])", [*networks])[0][0])


def news(session: Session, since: int = -1) -> list[tuple[str, str, bool, int | None]]:
    """Return who has said what of which network since then, whether it is removed, and its end."""
    sql = """
        SELECT member::text, network::text, removed, seconds FROM fleet.news
        WHERE seq > %s ORDER BY seq, network
    """
    return [(member, net, gone, left) for member, net, gone, left in rows(session, sql, since)]


def refusal(session: Session, sql: str, *given: object) -> str:
    """Return the SQLSTATE with which the server refuses it."""
    try:
        session.execute(sql.encode(), given or None)
    except psycopg.Error as error:
        return error.sqlstate or str(error)
    raise AssertionError(f"it was allowed: {sql}")
