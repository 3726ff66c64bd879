"""A fleet of the test's own: a private PostgreSQL, and members with a place of their own each.

All speak by sockets in a directory, so nothing depends on ports or namespaces. A member is a
feed's process in this one: `Member.begin` is its start, `Member.goes` one turn of it.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import residents
from attrs import define, field
from harness import Place, Result
from postgres import Postgres
from proxies import Proxy

from reconciler import Networks
from reconciler.config.setup import Setup
from reconciler.feeds import engine, outbox, reading
from reconciler.feeds.collecting import Tame
from reconciler.feeds.engine import Engine, Refreshed
from reconciler.feeds.outbox import Told
from reconciler.feeds.writing import FeedFile, alone
from reconciler.network import Network

PATIENCE: Final = 60.0
"""Seconds for which anything is waited for: a machine may be very busy."""

DATABASE: Final = "fleet"


@define(eq=False)
class Member:
    """A machine of the fleet: a place, and the engine of its feed.

    ``own`` is what it bans and publishes; what of that is ``elsewhere`` it does not drop itself.
    """

    name: str
    place: Place
    home: Path
    own: set[str] = field(factory=set)
    elsewhere: set[str] = field(factory=set)
    engine: Engine | None = None
    news: list[Refreshed] = field(factory=list)
    _stack: ExitStack = field(factory=ExitStack)

    @property
    def store(self) -> Path:
        """The feed's own file."""
        return self.place.path / "fleet" / "feed.db"

    def configure(self, text: str = "") -> None:
        """Write its configuration; ``text`` is more of the feed's table."""
        main = f'sources = []\nbackends = ["file:{self.place.path}/dropped"]'
        self.place.configure(self._table('publish = ["manual"]\n' + text), main=main)

    def resides(self, text: str) -> None:
        """Configure it for a daemon, which watches a log and has the kernel's firewall."""
        residents.configure(self.place, self._table(text))

    def _table(self, text: str) -> str:
        dsn = f"host={self.home} port=5433 dbname={DATABASE} user={self.name}"
        return (
            f'[feed.fleet]\ntype = "postgresql"\ndsn = "{dsn}"\nstore = "{self.store}"\n'
            f'password_file = "{self.password}"\n{text}'
        )

    @property
    def outbox(self) -> Path:
        """What a pass gives the feed to tell others."""
        return self.place.path / "outbox" / "fleet.db"

    @property
    def password(self) -> Path:
        """The file with its password."""
        return self.place.path / "password"

    def begin(self) -> None:
        """Start its feed's process anew."""
        self.end()
        feed = Setup(str(self.place.config)).feeds["fleet"]
        self._stack.enter_context(alone(feed.store))
        made: Any = feed.make()
        self._stack.callback(made.close)
        made.fileno()  # as who waits for it: so it listens
        self._stack.callback(setattr, self, "engine", None)
        tame = Tame(made, "fleet", feed.settings.max_entries, 30.0)
        self.engine = Engine(tame, FeedFile(feed.store, feed.limits), feed.limits, self.outbox)
        self.engine.begin()

    def end(self) -> None:
        """End its feed's process."""
        self._stack.close()

    def goes(self) -> Refreshed:
        """Let the feed's process make one turn."""
        if self.engine is None:
            self.begin()
        assert self.engine is not None
        self.news.append(engine.once(self.engine))
        return self.news[-1]

    def settles(self) -> Refreshed:
        """Let it make turns until one succeeds."""
        end = time.monotonic() + PATIENCE
        while (result := self.goes()).failure:
            assert time.monotonic() < end, result.failure
            time.sleep(0.02)
        return result

    def bans(self, *networks: str, seconds: int | None = None, force: bool = False) -> None:
        """Ban by hand, as a person does."""
        more = ["--for", f"{seconds}s"] if seconds else []
        more += ["--force"] if force else []
        result = self.place.treason("ban", *networks, *more)
        assert result.code == 0, result
        self.own.update(networks)

    def unbans(self, *networks: str) -> None:
        """Unban by hand."""
        result = self.place.treason("unban", *networks)
        assert result.code == 0, result
        self.own.difference_update(networks)

    def tells(self, *networks: str, banned: bool = True, until: int | None = None) -> None:
        """Have this in the outbox as a pass writes it, whoever is dropped here."""
        rows = [Told(Network.parse(each), banned, until, "by hand") for each in networks]
        outbox.write(self.outbox, rows, int(time.time()))
        if banned:
            self.own.update(networks)
            self.elsewhere.update(networks)
        else:
            self.own.difference_update(networks)

    def told(self) -> dict[str, set[str]]:
        """Return what its feed's file says, by members."""
        limits = Setup(str(self.place.config)).feeds["fleet"].limits
        found: dict[str, set[str]] = {}
        for group in reading.read(self.store, limits).groups:
            found.setdefault(group.member, set()).update(map(str, group.networks))
        return found

    def passes(self) -> Result:
        """Make a pass; it fails as long as the feed has brought nothing it may take."""
        return self.place.treason("reconcile", "--no-scan")

    def dropped(self) -> set[str]:
        """Let a pass take what the feed says, and return all that is dropped then."""
        result = self.passes()
        assert result.code == 0, result
        return self.held()

    def held(self) -> set[str]:
        """Return what is dropped."""
        path = self.place.path / "dropped"
        return set(path.read_text().split()) if path.exists() else set()

    def raw(self) -> "psycopg.Connection[Any]":
        """Connect as somebody does who has this member's password."""
        return psycopg.connect(
            f"host={self.home} port=5433 dbname={DATABASE} user={self.name}",
            password=self.password.read_text().strip(),
            autocommit=True,
        )


@define(eq=False)
class Fleet:
    """A server, its administrator, and members."""

    server: Postgres
    path: Path
    capture: pytest.CaptureFixture[str]
    members: dict[str, Member] = field(factory=dict)
    proxies: list[Proxy] = field(factory=list)
    _stack: ExitStack = field(factory=ExitStack)

    @property
    def dsn(self) -> str:
        """How the administrator connects."""
        return self.server.dsn(dbname=DATABASE)

    def admin(self, command: str, *arguments: str) -> Result:
        """Run a command of ``treason fleet`` as the administrator, wherever he is."""
        place = Place(self.path, self.capture)
        if not place.config.exists():
            place.configure()
        return place.treason("fleet", command, *arguments, "--dsn", self.dsn)

    def does(self, command: str, *arguments: str) -> Result:
        """Run one that succeeds."""
        result = self.admin(command, *arguments)
        assert result.code == 0, result
        return result

    def add(
        self, name: str, text: str = "", home: Path | None = None, max_new: int | None = None
    ) -> Member:
        """Add a member; by ``home``, a directory of sockets, it connects."""
        place = Place(self.path / name, self.capture)
        place.path.mkdir()
        member = Member(name, place, home or self.server.directory)
        more = [] if max_new is None else ["--max-new", str(max_new)]
        self.does("add-member", name, "--password-file", str(member.password), *more)
        member.configure(text)
        self.members[name] = member
        self._stack.callback(member.end)
        return member

    def grow(self, *names: str, **how: Any) -> list[Member]:
        """Add these members."""
        return [self.add(name, **how) for name in names]

    def proxy(self) -> Proxy:
        """Make a way to the server that may be cut off."""
        directory = Path(tempfile.mkdtemp(prefix="treason-way-"))
        self._stack.callback(shutil.rmtree, directory)
        made = Proxy(directory, self.server.directory, self.server.port)
        self._stack.callback(made.close)
        self.proxies.append(made)
        return made

    @contextmanager
    def owner(self) -> "Iterator[psycopg.Connection[Any]]":
        """Connect as the superuser."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            yield connection

    def asks(self, query: str, *values: object) -> list[Any]:
        """Return what the superuser gets."""
        with self.owner() as connection:
            return connection.execute(query, values).fetchall()

    def rows(self) -> list[tuple[str, str]]:
        """Return who bans what, as it stands in the table, tombstones aside."""
        return sorted(
            (member, network.removesuffix("/32").removesuffix("/128"))
            for member, network in self.asks(
                "SELECT member::text, network::text FROM fleet.bans WHERE removed IS NULL"
                " AND (until IS NULL OR until > now())"
            )
        )

    def union(self) -> set[str]:
        """Return all that members ban, as they know it."""
        return set[str]().union(*(each.own for each in self.members.values()))

    def agrees(self) -> None:
        """Let every member settle: each drops the union, and the table holds each ban once."""
        for each in self.members.values():
            each.settles()
        for each in self.members.values():
            each.settles()
            others = {
                name: other.own
                for name, other in self.members.items()
                if other is not each and other.own
            }
            told, own = each.told(), each.own - each.elsewhere
            assert told == others, f"{each.name}: {told}, not {others}"
            dropped = each.dropped()
            assert dropped == own.union(*others.values()), f"{each.name}: {dropped}"
        rows = [(name, ban) for name, each in self.members.items() for ban in each.own]
        assert self.rows() == sorted(rows), f"{self.rows()}, not {sorted(rows)}"

    def close(self) -> None:
        """End all members, and remove the database and the roles."""
        self._stack.close()
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            for (name,) in connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname <> 'postgres'"
            ).fetchall():
                connection.execute(f'DROP ROLE "{name}"')


@contextmanager
def server(**how: Any) -> Iterator[Postgres]:
    """Start a server that is reached by its directory alone."""
    made = Postgres(settings={"listen_addresses": "", **how.pop("settings", {})}, **how)
    try:
        made.start()
        yield made
    finally:
        made.close()


@contextmanager
def founded(server: Postgres, path: Path, capture: pytest.CaptureFixture[str]) -> Iterator[Fleet]:
    """Found a fleet without members on a server that others used before."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
    fleet = Fleet(server, path, capture)
    try:
        fleet.does("init")
        yield fleet
    finally:
        fleet.close()


def until(true: Callable[[], object], what: str = "", patience: float = PATIENCE) -> None:
    """Wait until something is true."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, what or true
        time.sleep(0.02)


def refused(connection: "psycopg.Connection[Any]", query: str, *values: object) -> str:
    """Return the SQLSTATE with which the server refuses this; an empty text if it does not."""
    try:
        connection.execute(query, values or None)
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return ""


def spelled(networks: Iterable[Network]) -> set[str]:
    """Return the networks as texts."""
    return {*map(str, Networks.of(networks))}
