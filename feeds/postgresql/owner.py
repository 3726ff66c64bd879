"""The administrator's connection to the fleet's database, and what may go wrong with it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import conninfo, pq

from feeds.postgresql import connecting
from feeds.postgresql import dsn as dsn_words
from feeds.postgresql.failures import line
from reconciler import TreasonError

_PATIENCE: Final = 10
"""Seconds for a host to let us in."""


_ROOT_CERTIFICATES: Final = Path("~/.postgresql/root.crt")
"""Where libpq looks for the authorities of one user."""

_AS_OWNER: Final = "on the server itself: sudo -u postgres treason fleet ... --dsn dbname=fleet"
_REASONS: Final = (
    (r'database "([^"]*)" does not exist', r"create it first: createdb \1"),
    (r"password authentication failed|no password supplied|SCRAM|SASL",
     rf"write it to ~/.pgpass (libpq reads that), or run it {_AS_OWNER}"),
    (r"definition of service", "--dsn names a service that libpq finds in no pg_service.conf"),
    (r"(Peer|Ident) authentication|role .* does not exist|socket .*: Permission denied",
     f"name the user in --dsn that may, or run it {_AS_OWNER}"),
    (r"permission denied for database",
     "--dsn needs its owner, or a superuser: members see it by --feed NAME"),
    (r"pg_hba\.conf", "the server's pg_hba.conf lets nobody in that way"),
    (r"certificate|SSL", "sslrootcert in --dsn names who signed the server's certificate"),
    (r"could not translate host name", "is the host in --dsn right, and does DNS answer?"),
    (r"starting up|shutting down|in recovery|too many clients|slots", "try it again in a while"),
    (r"refused|No such file|timeout|unreachable|No route",
     "is the server there? --dsn is libpq's: host=/var/run/postgresql dbname=fleet"),
)  # fmt: skip
"""What the server or libpq says where nobody is let in, and what to do."""

_HINTS: Final = {
    "42501": "run it as a superuser; or the database's owner with CREATEROLE: that was not enough",
    "42P06": "the fleet needs a database of its own: createdb fleet",
    "3F000": "treason fleet init --dsn ... makes one",
    "42P01": "treason fleet init --dsn ... makes one",
    "55P03": "somebody else keeps it: end that session (pg_stat_activity), and try it again",
    "57P01": "the server, or an administrator, ended the session: try it again",
    "25006": "this server only follows another one: name that in --dsn",
    "2BP01": "another database of the server has something of it: DROP OWNED BY it there first",
}
_NO_FLEET: Final = frozenset({"3F000", "42P01"})


def parsed(dsn: str) -> dict[str, Any]:
    """Return the words of a libpq connection string. Raise `TreasonError`, also for a password."""
    try:
        words = conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, ValueError) as error:
        raise TreasonError(
            f"--dsn is not understood: {line(str(error))}",
            'write it as libpq does: --dsn "host=db.example dbname=fleet user=postgres"',
        ) from None
    for key in dsn_words.SECRETS:
        if words.get(key):
            raise TreasonError(
                f"--dsn holds a {key}, which every user of this machine could read",
                "write it to ~/.pgpass or the file that PGPASSFILE names: libpq reads that",
            )
    return words


def verifying(words: dict[str, Any]) -> dict[str, Any]:
    """Return them with verified TLS to another machine, where nothing says how.

    Whoever poses as the server would get the password of somebody who may do everything there.
    """
    address = words.get("hostaddr", "")
    host = words.get("host") or os.environ.get("PGHOST") or address
    says = {"sslmode", "service"} & words.keys() or {"PGSSLMODE", "PGSERVICE"} & os.environ.keys()
    if says or not host or dsn_words.is_local({"host": host, "hostaddr": address}):
        return words
    made = {"sslmode": dsn_words.VERIFIED} | words
    if not (_ROOT_CERTIFICATES.expanduser().exists() or "PGSSLROOTCERT" in os.environ):
        made.setdefault("sslrootcert", connecting.authorities(pq.version()))
    return made


@contextmanager
def connected(dsn: str) -> Iterator["psycopg.Connection[Any]"]:
    """Yield a connection (autocommit) to a server that can be written to. Raise `TreasonError`."""
    words: dict[str, Any] = {"connect_timeout": _PATIENCE, "application_name": "treason fleet"}
    words |= verifying(parsed(dsn))
    with _speaking(dsn) as where:
        connection = psycopg.connect(conninfo.make_conninfo("", **words), autocommit=True)
        with connection:
            where.append(place(connection))
            row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
            if row and row[0]:
                raise TreasonError(f"{where[-1]} is read-only", _HINTS["25006"])
            yield connection


def place(connection: "psycopg.Connection[Any]") -> str:
    """Return the database for people."""
    return f"database {connection.info.dbname} at {connection.info.host or 'the local socket'}"


@contextmanager
def _speaking(dsn: str) -> Iterator[list[str]]:
    """Raise what the server says as `TreasonError`."""
    words = parsed(dsn)
    where = [f"database {words.get('dbname', 'by default')}"]
    try:
        yield where
    except psycopg.Error as error:
        raise failure(where[-1], error) from None


def failure(where: str, error: psycopg.Error) -> TreasonError:
    """Return what is told of an error of the server or of libpq."""
    said = error.diag.message_primary or str(error)
    if error.sqlstate in _NO_FLEET:
        said = "no fleet is there"
    elif error.sqlstate == "42P06":
        said = "it has a schema named fleet that is no fleet of treason's"
    hint = error.diag.message_hint or _HINTS.get(error.sqlstate or "") or _guessed(str(error))
    return TreasonError(f"{where}: {line(said)}", line(hint))


def _guessed(text: str) -> str:
    for pattern, hint in _REASONS:
        if match := re.search(pattern, text):
            return match.expand(hint) if r"\1" in hint else hint
    return ""
