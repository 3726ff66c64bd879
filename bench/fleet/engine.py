"""PostgreSQL with a fleet in it, on a host of its own: what is known of it goes by verified TLS."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import psycopg

from bench.fleet.postgres import Postgres
from bench.fleet.switch import Port
from bench.measure import TREASON
from reconciler.execute import Completed, run

DATABASE: Final = "fleet"


class Engine:
    """A server at a port of the switch. It is gone at the end of ``with``.

    ``settings`` are PostgreSQL's own.
    """

    def __init__(self, port: Port, path: Path, **settings: str) -> None:
        self._port = port
        self.server = Postgres(address=port.address, durable=True, tls=True, settings=settings)
        self.ca = path / "ca.pem"

    def __enter__(self) -> Self:
        try:
            self.start()
            if self.server.authority is not None:
                self.server.authority.cert_pem.write_to_path(str(self.ca))
            with self.owner("postgres") as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")
        except BaseException:
            self.server.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def start(self) -> None:
        """Start it, or start it again, and wait until it lets somebody in."""
        with self._port.entered():
            self.server.start()

    @property
    def dsn(self) -> str:
        """How its administrator connects: by the socket, from any namespace."""
        return self.server.dsn(dbname=DATABASE)

    def member_dsn(self, name: str) -> str:
        """Return how a member connects."""
        return self.server.dsn(name, DATABASE)

    def treason(self, *arguments: str) -> Completed:
        """Run ``treason fleet`` as its administrator."""
        return run([TREASON, "fleet", *arguments, "--dsn", self.dsn], timeout=300)

    def processes(self) -> list[int]:
        """Return the numbers of its processes."""
        return self.server.processes()

    @contextmanager
    def owner(self, database: str = DATABASE) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
        """Be connected as its administrator for the time of the block."""
        with psycopg.connect(self.server.dsn(dbname=database), autocommit=True) as connection:
            yield connection
