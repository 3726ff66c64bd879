"""What a member may know of its fleet: where the clock stands, and its own line."""

from typing import Final

from feeds.postgresql import PostgresqlSettings, connecting, schema
from feeds.postgresql.failures import Lost, Refused, unreadable
from feeds.postgresql.reading import SHORT
from feeds.postgresql.session import Row, Statement
from reconciler import FeedUnreadable, FleetMember, FleetStatus

_CLOCK: Final = Statement(b"""
    SELECT version::text, epoch, seq::text, extract(epoch FROM clock_timestamp())::text
    FROM fleet.position(NULL, NULL)
""")
_OWN: Final = Statement(b"""
    SELECT session_user::text, m.max_new::text, m.fresh::text, m.bans::text,
        extract(epoch FROM m.last_seen)::text, (p.seq - m.read_seq)::text
    FROM fleet.mine() m CROSS JOIN fleet.position(NULL, NULL) p
""")


def standing(settings: PostgresqlSettings) -> FleetStatus:
    """Return how the fleet is. Raise `FeedUnreadable`, also for what the server refuses."""
    where = connecting.place(settings)
    try:
        session = connecting.connected(settings)
        try:
            clocks, own = session.run([_CLOCK, _OWN], SHORT)
        finally:
            session.close()
    except (Lost, Refused) as error:
        raise unreadable(where, error) from None
    if not clocks or not own:
        raise FeedUnreadable(f"{where}: the fleet's clock has no row", "its database is damaged")
    version, epoch, seq, now = map(_text, clocks[0])
    if int(version) != schema.VERSION:
        raise FeedUnreadable(
            f"{where}: the fleet is of version {version}, not {schema.VERSION}",
            "install the same version of treason on all members",
        )
    members = (_member(own[0]),)
    return FleetStatus(
        where, schema.VERSION, epoch, int(seq), updated=None, now=float(now), members=members
    )


def _member(row: Row) -> FleetMember:
    name, max_new, fresh, bans, seen, behind = map(_text, row)
    return FleetMember(
        name,
        int(max_new),
        int(fresh),
        int(bans),
        seen=float(seen) if seen else None,
        behind=int(behind) if behind else None,
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
