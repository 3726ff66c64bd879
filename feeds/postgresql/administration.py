"""Make a fleet in a database, add and remove members, and tell how it is."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.errors import InsufficientPrivilege

from feeds.postgresql import owner, schema, scram
from feeds.postgresql.failures import line
from reconciler import FleetMember, FleetStatus, TreasonError

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_OURS: Final = frozenset({"treason_fleet", "treason_fleet_member", "treason_fleet_reaper"})
_RESERVED: Final = re.compile(r"pg_.*|public|none|" + "|".join(sorted(_OURS)))
"""Names that PostgreSQL lets no role have (user.c, IsReservedName), and treason's own."""

_CLOCK: Final = """
    SELECT version, epoch::text, seq, extract(epoch FROM updated)::float8,
        extract(epoch FROM clock_timestamp())::float8 FROM fleet.clock
"""
_MEMBERS: Final = """
    SELECT m.member::text, m.max_new, u.fresh, coalesce(b.bans, 0),
        extract(epoch FROM m.last_seen)::float8, c.seq - m.read_seq
    FROM fleet.clock c CROSS JOIN fleet.members m CROSS JOIN LATERAL fleet.used(m.member) u
    LEFT JOIN (
        SELECT member, count(*) AS bans FROM fleet.bans
        WHERE removed IS NULL AND coalesce(until > statement_timestamp(), true) GROUP BY member
    ) b USING (member)
    ORDER BY m.member
"""
_ROLES: Final = """
    SELECT pg_has_role('treason_fleet_reaper', 'pg_signal_backend', 'USAGE')
        AND pg_has_role('treason_fleet_reaper', 'pg_read_all_stats', 'USAGE'),
        ARRAY(SELECT m.member::text FROM fleet.members m
            WHERE NOT fleet.has_role(m.member) ORDER BY m.member)
"""


class _Removal(NamedTuple):
    """What `remove_member` runs: each a transaction of its own."""

    stop: str
    sessions: str
    drop: str


class Administration:
    """The fleet's administration on PostgreSQL (`reconciler.Fleet`)."""

    def init(self, dsn: str, *, new_epoch: bool) -> Sequence[str]:
        """Write roles, schema and rights. Raise `TreasonError`."""
        with owner.connected(dsn) as connection:
            notes = _heard(connection)
            where = owner.place(connection)
            with connection.transaction():
                found = schema.install(connection)
                if new_epoch:
                    connection.execute(schema.text("epoch").encode())
            done = f"{where}: {_made(found)}"
        epoch = ["it has a new epoch: each member runs `treason feed accept NAME`"]
        return [done, *(epoch if new_epoch else []), *notes]

    def add_member(
        self,
        dsn: str,
        name: str,
        *,
        max_new: int | None,
        new_password: bool,
        keep: Callable[[str], object],
    ) -> Sequence[str]:
        """Add a member, or change one. Raise `TreasonError`."""
        _check(name)
        with owner.connected(dsn) as connection:
            notes = _heard(connection)
            with connection.transaction():
                connection.execute(schema.text("begin").encode())
                _refuse_newer(connection)
                known = "SELECT max_new FROM fleet.members WHERE member = %s"
                is_new = connection.execute(known, (name,)).fetchone() is None
                has_none = not _is_role(connection, name)
                password = scram.password() if has_none or new_password else None
                verifier = password and scram.verifier(password)
                sql = schema.text("add", member=name, verifier=verifier, max_new=max_new)
                connection.execute(sql.encode())
                row = connection.execute(known, (name,)).fetchone()
                if password:
                    keep(password)
            if password and not has_none:
                _end_sessions(connection, name, notes)
        done = "added" if is_new else "has a new password" if password else "was changed"
        quota = f"{row[0]:,} new networks an hour" if row else ""
        stays = "its password stays as it was; --new-password makes another one"
        return [f"member {name} {done}: {quota}", *([] if password else [stays]), *notes]

    def remove_member(self, dsn: str, name: str) -> Sequence[str]:
        """End its sessions, remove its bans and the role. Raise `TreasonError`."""
        _check(name)
        removal = _removal(name)
        with owner.connected(dsn) as connection:
            _refuse_newer(connection)
            for sql in removal:
                with connection.transaction():
                    connection.execute((schema.text("begin") + sql).encode())
            row = connection.execute("SELECT current_setting('fleet.removed')::bigint").fetchone()
        count = row[0] if row else 0
        return [f"member {name} removed, with {count:,} ban{'s' * (count != 1)}"]

    def status(self, dsn: str) -> FleetStatus:
        """Return how the fleet is, with all members. Raise `TreasonError`."""
        with owner.connected(dsn) as connection, connection.transaction():
            version, epoch, seq, updated, now = _row(connection, _CLOCK)
            _refuse_newer(connection)
            members = tuple(FleetMember(*row) for row in connection.execute(_MEMBERS))
            can_reap, lost = _row(connection, _ROLES)
            notes = _notes(members, lost, can_reap=can_reap)
            where = owner.place(connection)
            return FleetStatus(
                where, version, epoch, seq, updated=updated, now=now, members=members, notes=notes
            )

    def own_status(self, settings: Any) -> FleetStatus:  # noqa: ANN401 - the plugin's schema
        """Return the clock, and the member's own line. Raise `FeedUnreadable`."""
        from feeds.postgresql.standing import standing  # noqa: PLC0415 - only this asks as a member

        return standing(settings)

    def init_script(self, *, new_epoch: bool) -> str:
        """Return what `init` does, for psql."""
        return schema.script(new_epoch=new_epoch)

    def add_script(self, name: str, *, max_new: int | None, keep: Callable[[str], object]) -> str:
        """Return what `add_member` does with a new password, for psql."""
        _check(name)
        password = scram.password()
        sql = schema.text("add", member=name, verifier=scram.verifier(password), max_new=max_new)
        keep(password)
        sessions = schema.text("sessions", member=name)
        return schema.blocks(*(schema.text("begin") + each for each in (sql, sessions)))

    def remove_script(self, name: str) -> str:
        """Return what `remove_member` does, for psql."""
        _check(name)
        return schema.blocks(*(schema.text("begin") + sql for sql in _removal(name)))


def _end_sessions(connection: "Connection[Any]", name: str, notes: list[str]) -> None:
    """End those of whoever came in by the password before, or note that they go on."""
    try:
        with connection.transaction():
            connection.execute(
                (schema.text("begin") + schema.text("sessions", member=name)).encode()
            )
    except InsufficientPrivilege as error:
        reason = line(error.diag.message_primary or "")
        notes.append(f"sessions of {name} that were begun with the password before go on: {reason}")


def _removal(name: str) -> _Removal:
    return _Removal(*(schema.text(each, member=name) for each in _Removal._fields))


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise TreasonError(
            f"{name!r} is no member's name",
            "write at most 63 of a-z, 0-9, - and _, a letter first, as in web1",
        )
    if _RESERVED.fullmatch(name):
        raise TreasonError(f"the name {name} is reserved", "choose another one, as in web1")


def _made(found: int) -> str:
    if not found:
        return f"is a fleet now (version {schema.VERSION})"
    if found < schema.VERSION:
        return f"was of version {found}, and is of version {schema.VERSION} now"
    return f"is a fleet of version {found}; roles and rights are as they have to be"


def _refuse_newer(connection: "Connection[Any]") -> None:
    [version] = _row(connection, "SELECT version FROM fleet.clock")
    if version != schema.VERSION:
        newer = version > schema.VERSION
        raise TreasonError(
            f"the fleet is of version {version}, and this treason makes version {schema.VERSION}",
            "install the newer treason here" if newer else "run first: treason fleet init",
        )


def _is_role(connection: "Connection[Any]", name: str) -> bool:
    return bool(_row(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", name)[0])


def _row(connection: "Connection[Any]", sql: str, *given: object) -> Any:  # noqa: ANN401 - a row
    """Return the only row. Raise `TreasonError` where the clock's is missing."""
    row = connection.execute(sql.encode(), given).fetchone()
    if row is None:
        raise TreasonError(
            "the fleet's clock has no row", "restore a backup of the database: it is damaged"
        )
    return row


def _notes(
    members: Sequence[FleetMember], lost: Sequence[str], *, can_reap: bool
) -> tuple[str, ...]:
    notes = [f"{name} has no role on this server: treason fleet add-member {name}" for name in lost]
    if full := ", ".join(each.name for each in members if each.fresh >= each.max_new):
        notes.insert(0, f"the quota of {full} is full: under attack, or not itself?")
    if not can_reap:
        notes.append(
            "nobody ends sessions that keep the clock, until a superuser has run:"
            " GRANT pg_signal_backend, pg_read_all_stats TO treason_fleet_reaper;"
        )
    return tuple(notes)


def _heard(connection: "Connection[Any]") -> list[str]:
    """Return a list to which what the server notes from now on is added."""
    notes: list[str] = []

    def hear(notice: Any) -> None:  # noqa: ANN401 - psycopg's Diagnostic
        with suppress(AttributeError):
            notes.append(line(notice.message_primary or ""))

    connection.add_notice_handler(hear)
    return notes
