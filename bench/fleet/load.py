"""What a fleet costs its database: ``python -m bench.fleet.load [MEMBERS...]``, as root.

For each number of members, all of which listen over TLS: what a connection costs, and what a ban
costs until each of them has read it. Then what does not depend on their number: the disk that a
ban takes, and a member's sign of life. The server is Debian's, started privately in a network
namespace, and writes durably; members are connections of this process, which ask as a feed does.
"""

import argparse
import random
import resource
import selectors
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any, Final, LiteralString

import psycopg
from attrs import define, field, frozen
from psycopg import pq
from psycopg.pq import abc

from bench.fleet.postgres import Postgres, running
from bench.fleet.spending import cpu, memory, wire
from feeds.postgresql import reading
from feeds.postgresql.schema import install
from feeds.postgresql.session import Row, Session, Statement
from reconciler.execute import run
from reconciler.host.netns import Namespace

_BANS, _BATCH, _SIGNS, _STORED = 20, 1_000, 1_000, 100_000
_QUOTA: Final = 10_000_000
_PATIENCE: Final = 60.0
_JITTER, _LONGEST = 0.0005, 0.5
"""Seconds for each member that listens, and at most: so long a feed waits before it asks."""


@frozen
class Spent:
    """The server's CPU seconds, packets and bytes on the wire, bytes of its log, and seconds."""

    cpu: float
    packets: int
    octets: int
    log: int
    wall: float


@define(eq=False)
class Member:
    """A connection that listens, and asks for news once it is told that there are any."""

    link: abc.PGconn
    seq: int = 0
    mark: str = ""
    due: float | None = None
    owed: int = 0
    """Answers that have not come yet."""

    _prepared: set[bytes] = field(factory=set)

    def told(self, jitter: float) -> None:
        """Note that there is something new: ask, after a moment of its own."""
        self.link.consume_input()
        notified = False
        while self.link.notifies():
            notified = True
        if notified and self.due is None:
            self.due = time.monotonic() + random.uniform(0, jitter)  # noqa: S311 - no secret

    def ask(self) -> None:
        """Ask what came since, in one go, as `feeds.postgresql.reading` does."""
        self.due = None
        for each in _questions(reading.Cursor(self.seq, self.mark, "-", 0)):
            self._send(each)
        self.link.flush()

    def answered(self) -> bool:
        """Return whether all of it has been answered."""
        self.link.consume_input()
        while self.owed:
            if self.link.is_busy():
                return False
            result = self.link.get_result()
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                self.owed -= 1
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                raise RuntimeError(result.error_message)
            elif result.nfields and result.fname(0) == b"version":
                self.seq = int.from_bytes(result.get_value(0, 2) or b"")
                self.mark = (result.get_value(0, 3) or b"").decode()
        return True

    def _send(self, each: Statement) -> None:
        if each.name not in self._prepared:
            self._prepared.add(each.name)
            self.link.send_prepare(each.name, each.sql)
            self.link.pipeline_sync()
            self.owed += 1
        self.link.send_query_prepared(each.name, each.parameters, result_format=1)
        self.link.pipeline_sync()
        self.owed += 1


class _Asked(Session):
    """Takes what is asked, and answers nothing."""

    statements: Sequence[Statement] = ()

    def __init__(self) -> None:
        """Have no connection."""

    def run(self, statements: Sequence[Statement], seconds: float) -> list[list[Row]]:
        """Take it."""
        del seconds
        self.statements = statements
        raise StopIteration


@define
class Fleet:
    """The members, and who bans."""

    server: Postgres
    members: list[Member]
    publisher: psycopg.Connection[Any]
    banned: int = 0

    def ban(self, count: int = 1) -> None:
        """Publish so many bans at once."""
        numbers = range(self.banned, self.banned + count)
        self.banned += count
        networks = [f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32" for n in numbers]
        query = "SELECT fleet.publish(%s::cidr[], %s::bigint[], %s::text[])"
        with self.publisher.cursor() as cursor:
            cursor.execute(query, (networks, [86_400] * count, ["zero-window"] * count))
            row = cursor.fetchone()
        if row != (count,):
            raise RuntimeError(f"of {count} bans {row} were taken")

    def ask(self) -> None:
        """Let each ask, one after the other."""
        for member in self.members:
            member.ask()
            while not member.answered():
                time.sleep(0.0005)

    def settle(self) -> None:
        """Wait until each member has asked once more, and has read the answer."""
        jitter = min(_JITTER * len(self.members), _LONGEST)
        end = time.monotonic() + _PATIENCE
        with selectors.DefaultSelector() as waiting:
            for member in self.members:
                waiting.register(member.link.socket, selectors.EVENT_READ, member)
            left = set(self.members)
            while left:
                if time.monotonic() > end:
                    raise RuntimeError(f"{len(left)} members have heard nothing")
                for key, _ in waiting.select(0.001):
                    member = key.data
                    if not member.owed:
                        member.told(jitter)
                    elif member.answered():
                        left.discard(member)
                now = time.monotonic()
                for member in left:
                    if member.due is not None and member.due <= now:
                        member.ask()


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="bench.fleet_load", description=__doc__)
    parser.add_argument("members", nargs="*", type=int, default=[10, 100, 1_000])
    numbers = parser.parse_args().members
    resource.setrlimit(resource.RLIMIT_NOFILE, (8_192, 8_192))
    settings = {"max_connections": str(max(numbers) + 20)}
    namespace = Namespace()
    with namespace.entered():
        run(["ip", "link", "set", "lo", "up"])
        for number in numbers:
            with running(tls=True, durable=True, settings=settings) as server:
                _members(server, number)
        with running(tls=True, durable=True, settings=settings) as server:
            _storing(server)
    namespace.close()


def _members(server: Postgres, number: int) -> None:
    """Let so many listen."""
    before = memory(server.processes())
    dsns = _made(server, number)
    with psycopg.connect(server.dsn(dbname="fleet"), autocommit=True) as own:
        fleet = Fleet(server, [], psycopg.connect(dsns.pop(), autocommit=True))
        fleet.ban()
        with _spent(server, own) as spent:
            fleet.members += [_listening(dsn) for dsn in dsns]
        print(f"{number} members: a connection costs {1e3 * spent[0].cpu / number:.2f} ms of CPU")
        fleet.ask()
        fleet.ban()
        fleet.settle()
        held = (memory(server.processes()) - before) / number / 2**20
        print(f"{number} members: a connection holds {held:.2f} MB (Pss, the server's share out)")
        took = []
        for _ in range(_BANS):
            with _spent(server, own) as spent:
                fleet.ban()
                fleet.settle()
            took.append(spent[0])
        _print(f"{number} members, one ban", took, number)
        with _spent(server, own) as spent:
            fleet.ban(_BATCH)
            fleet.settle()
        _print(f"{number} members, {_BATCH:,} bans at once", spent, number)
        with _spent(server, own) as spent:
            fleet.ask()
        _print(f"{number} members, each asks for nothing new", spent, number)
        for each in fleet.members:
            each.link.finish()
        fleet.publisher.close()


def _storing(server: Postgres) -> None:
    """Store many bans, and give signs of life."""
    [dsn] = _made(server, 0)
    with (
        psycopg.connect(server.dsn(dbname="fleet"), autocommit=True) as own,
        psycopg.connect(dsn, autocommit=True) as publisher,
    ):
        fleet = Fleet(server, [], publisher)
        fleet.ban()
        own.execute("CHECKPOINT")
        size = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n"
        size += " ON n.oid = relnamespace WHERE nspname = 'fleet' AND relkind = 'r'"
        before = _number(own, size)
        with _spent(server, own) as spent:
            for _ in range(_STORED // 10_000):
                fleet.ban(10_000)
        print(f"a ban takes {(_number(own, size) - before) / _STORED:.0f} bytes of disk")
        _print(f"{_STORED:,} bans", spent, 1)
        with _spent(server, own) as spent:
            for _ in range(_SIGNS):
                publisher.execute("SELECT fleet.seen(%s)", (1,))
        _print(f"{_SIGNS:,} signs of life", spent, 1)


def _made(server: Postgres, number: int) -> list[str]:
    """Make the fleet and its members; return how they connect, and one more, who publishes."""
    authority = server.directory / "ca.pem"
    if server.authority is not None:
        server.authority.cert_pem.write_to_path(str(authority))
    with psycopg.connect(server.dsn(), autocommit=True) as own:
        own.execute("CREATE DATABASE fleet")
    names = [f"m{each}" for each in range(number + 1)]
    with psycopg.connect(server.dsn(dbname="fleet"), autocommit=True) as own:
        install(own)
        for name in names:
            own.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}' IN ROLE treason_fleet_member")
            own.execute(
                "INSERT INTO fleet.members (member, max_new) VALUES (%s, %s)", (name, _QUOTA)
            )
    tls = {"sslmode": "verify-full", "sslrootcert": str(authority)}
    return [server.dsn(name, "fleet", password=name, **tls) for name in names]


def _questions(cursor: reading.Cursor) -> Sequence[Statement]:
    """Return what a feed asks behind a cursor."""
    asked = _Asked()
    with suppress(StopIteration):
        reading.news(asked, cursor, int(time.time()), 1)
    return asked.statements


def _listening(dsn: str) -> Member:
    """Connect a member, which listens."""
    link = pq.PGconn.connect(dsn.encode())
    if link.status != pq.ConnStatus.OK:
        raise RuntimeError(link.get_error_message())
    for query in (b"LISTEN fleet", b"SELECT fleet.seen(0)"):
        link.exec_(query)
    link.nonblocking = 1
    link.enter_pipeline_mode()
    return Member(link)


@contextmanager
def _spent(server: Postgres, own: psycopg.Connection[Any]) -> Iterator[list[Spent]]:
    """Measure the block; the list has the result behind it."""
    result: list[Spent] = []
    start = _now(server, own)
    yield result
    end = _now(server, own)
    seconds, packets, octets, log, wall = (b - a for a, b in zip(start, end, strict=True))
    result.append(Spent(seconds, int(packets), int(octets), int(log), wall))


def _now(server: Postgres, own: psycopg.Connection[Any]) -> tuple[float, ...]:
    """Return what it has spent so far; loopback carries all, and counts each packet once."""
    log = _number(own, "SELECT pg_current_wal_insert_lsn() - '0/0'")
    return cpu(server.processes()), *wire(), log, time.monotonic()


def _number(own: psycopg.Connection[Any], query: LiteralString) -> float:
    row = own.execute(query).fetchone()
    if row is None:
        raise RuntimeError(query)
    return float(row[0])


def _print(what: str, spent: Sequence[Spent], members: int) -> None:
    """Print the middle of each figure."""
    busy, wall = (1e3 * median(getattr(each, name) for each in spent) for name in ("cpu", "wall"))
    packets, octets, log = (
        median(getattr(each, name) for each in spent) for name in ("packets", "octets", "log")
    )
    print(
        f"{what}: server {busy:.1f} ms of CPU, all have it after {wall:.0f} ms;"
        f" {packets / members:.1f} packets and {octets / members:,.0f} bytes a member;"
        f" log {log:,.0f} bytes",
        flush=True,
    )


if __name__ == "__main__":
    main()
