"""Connect to the fleet's database: by verified TLS, unless it is on this machine, within a time."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Final

import psycopg
from psycopg import pq
from psycopg.pq import abc

from feeds.postgresql import PostgresqlSettings, dsn
from feeds.postgresql.failures import Lost, Silent
from feeds.postgresql.session import Session, Statement
from reconciler import FeedUnreadable, secrets

CONNECT: Final = 10.0
"""Seconds for one host."""

_PLACES: Final = ("host", "port", "hostaddr")

_ALWAYS: Final = {
    "application_name": "treason",
    "client_encoding": "UTF8",
    "gssencmode": "disable",  # else it may be taken in place of TLS
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""A peer that is gone is known within 15 s where something was sent, else within 45."""

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""The system's authorities in one file: of Debian, Fedora, SUSE and Alpine."""

_SYSTEM, _REQUIRES = 160_000, 160_000
"""The libpq that knows ``sslrootcert=system`` and ``require_auth``."""


def parameters(settings: PostgresqlSettings, libpq: int, password: str) -> list[dict[str, str]]:
    """Return what libpq is given, for each host in turn; ``libpq`` is its version."""
    words = dsn.parse(settings.dsn)
    made = _ALWAYS | {key: value for key, value in words.items() if key not in _PLACES}
    if dsn.is_local(words):
        made.setdefault("sslmode", "prefer")
    else:
        made |= {"sslmode": dsn.VERIFIED, "sslrootcert": authorities(libpq)}
    if settings.ca_file:
        made["sslrootcert"] = str(settings.ca_file)
    if password:
        made["password"] = password
        if libpq >= _REQUIRES:  # whoever poses as the server does not get it
            made.setdefault("require_auth", "scram-sha-256")
    hosts, ports, addresses = (words[key].split(",") if key in words else [] for key in _PLACES)
    if len(ports) == 1:
        ports *= len(hosts)
    each = zip_longest(hosts, ports, addresses, fillvalue="")
    return [made | _given(host=host, port=port, hostaddr=address) for host, port, address in each]


def authorities(libpq: int) -> str:
    """Return where the system keeps whom it trusts, as ``sslrootcert``."""
    for path in _BUNDLES:
        if Path(path).exists():
            return path
    return "system" if libpq >= _SYSTEM else _BUNDLES[0]


def place(settings: PostgresqlSettings) -> str:
    """Return the database's name for people."""
    words = dsn.parse(settings.dsn)
    return f"database {words['dbname']} at {words['host']}"


def connected(settings: PostgresqlSettings) -> Session:
    """Return a session. Raise `Lost`, or `FeedUnreadable` where the password cannot be read."""
    password = _password(settings.password_file)
    failure = Lost("dsn names no host")
    for each in parameters(settings, pq.version(), password):
        try:
            return _connected(each)
        except Lost as error:
            failure = error
    raise failure


def _connected(words: dict[str, str]) -> Session:
    """Connect to one host, however many addresses it has."""
    end = time.monotonic() + CONNECT
    with _no_variables():
        connection = pq.PGconn.connect_start(conninfo(words).encode())
    try:
        _finish(connection, end)
        session = Session(connection)
        [[pid]] = session.run([Statement(b"SELECT pg_backend_pid()")], CONNECT)[0]
        session.is_pooled = int.from_bytes(pid or b"") != connection.backend_pid
    except psycopg.Error as error:
        connection.finish()
        raise Lost(str(error)) from None
    except BaseException:
        connection.finish()
        raise
    return session


@contextmanager
def _no_variables() -> Iterator[None]:
    """Hide what libpq would add to the table (PostgreSQL's documentation, §34.15): PGHOSTADDR, say.

    It reads its variables, and the files that they name, when a connection is begun.
    """
    hidden = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _finish(connection: abc.PGconn, end: float) -> None:
    """Wait until the server has let us in. Raise `Lost`."""
    poll = select.poll()
    while True:
        if connection.status == pq.ConnStatus.BAD:
            raise Lost(connection.error_message.decode(errors="replace"))
        state = connection.connect_poll()
        if state == pq.PollingStatus.OK:
            return
        if state == pq.PollingStatus.FAILED:
            raise Lost(connection.error_message.decode(errors="replace"))
        reading = state == pq.PollingStatus.READING
        descriptor = connection.socket  # another one for each address
        poll.register(descriptor, select.POLLIN if reading else select.POLLOUT)
        left = end - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000 + 1):
            raise Silent(f"no connection within {CONNECT:g} s")
        poll.unregister(descriptor)


def conninfo(words: dict[str, str]) -> str:
    """Return the keywords as libpq reads them."""
    quoted = {key: value.replace("\\", r"\\").replace("'", r"\'") for key, value in words.items()}
    return " ".join(f"{key}='{value}'" for key, value in quoted.items())


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    password = secrets.read(path).decode(errors="replace").strip("\r\n")
    if not password.isprintable():
        raise FeedUnreadable(
            f"{path}: this holds no password: it is not one line of printable text",
            "write what `treason fleet add-member` printed, and nothing else",
        )
    return password


def _given(**words: str) -> dict[str, str]:
    return {key: value for key, value in words.items() if value}
