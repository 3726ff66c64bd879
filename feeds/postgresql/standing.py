"""What a member may know of its fleet: where the clock stands, and its own line."""

from typing import Any, Final

import psycopg
from psycopg import pq

from feeds.postgresql import PostgresqlSettings, owner, schema
from feeds.postgresql.connecting import conninfo, parameters, place
from reconciler import FeedUnreadable, FleetMember, FleetStatus, secrets

_CLOCK: Final = """
    SELECT version, epoch, seq, NULL::float8, extract(epoch FROM clock_timestamp())::float8
    FROM fleet.position(NULL, NULL)
"""
_OWN: Final = """
    SELECT session_user::text, m.max_new, m.fresh, m.bans,
        extract(epoch FROM m.last_seen)::float8, p.seq - m.read_seq
    FROM fleet.mine() m CROSS JOIN fleet.position(NULL, NULL) p
"""


def standing(settings: PostgresqlSettings) -> FleetStatus:
    """Return how the fleet is. Raise `FeedUnreadable`, also for what the server refuses."""
    password = ""
    if settings.password_file:
        password = secrets.read(settings.password_file).decode(errors="replace").strip("\r\n")
    refusal = FeedUnreadable(f"{place(settings)}: dsn names no host")
    for words in parameters(settings, pq.version(), password):
        try:
            with psycopg.connect(conninfo(words), autocommit=True) as connection:
                return _read(connection, place(settings))
        except psycopg.Error as error:
            told = owner.failure(place(settings), error)
            refusal = FeedUnreadable(told.what, told.hint)
    raise refusal


def _read(connection: "psycopg.Connection[Any]", where: str) -> FleetStatus:
    clock = connection.execute(_CLOCK).fetchone()
    own = connection.execute(_OWN).fetchone()
    if clock is None or own is None:
        raise FeedUnreadable(f"{where}: the fleet's clock has no row", "its database is damaged")
    version, epoch, seq, updated, now = clock
    if version != schema.VERSION:
        raise FeedUnreadable(
            f"{where}: the fleet is of version {version}, not {schema.VERSION}",
            "install the same version of treason on all members",
        )
    return FleetStatus(
        where, version, epoch, seq, updated=updated, now=now, members=(FleetMember(*own),)
    )
