"""The database's schema, step by step. A step that was ever released is never changed."""

import sqlite3
import time
from typing import Final

from reconciler.errors import InvalidNetwork
from reconciler.network import Network

APPLICATION_ID: Final = 0x54524541
"""``TREA``: marks the file as ours (SQLite's PRAGMA application_id)."""

_FIRST: Final = (
    """CREATE TABLE bans (
        network TEXT NOT NULL PRIMARY KEY,
        since INTEGER NOT NULL,
        until INTEGER,
        origin TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE offences (
        id INTEGER PRIMARY KEY,
        address TEXT NOT NULL,
        rule TEXT NOT NULL,
        peer_port INTEGER,
        local_port INTEGER,
        time REAL NOT NULL,
        count INTEGER NOT NULL,
        evidence TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX offences_by_address ON offences (address, time)",
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        action TEXT NOT NULL CHECK (action IN ('ban', 'unban', 'expiry')),
        network TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE cursors (
        source TEXT NOT NULL PRIMARY KEY,
        cursor TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

# The table of the original script, as a view: its SELECT and INSERT go on working. The times are
# UTC text, as the script's datetime('now') is.
_SECOND: Final = (
    """CREATE VIEW badips (addedtime, ip) AS
        SELECT datetime(since, 'unixepoch'), network FROM bans
        WHERE until IS NULL OR until > CAST(strftime('%s', 'now') AS INTEGER)""",
    """CREATE TRIGGER badips_insert INSTEAD OF INSERT ON badips WHEN NEW.ip IS NOT NULL BEGIN
        INSERT INTO history (time, action, network, reason)
            SELECT CAST(strftime('%s', 'now') AS INTEGER), 'ban', NEW.ip, 'inserted into badips'
            WHERE NOT EXISTS (SELECT 1 FROM bans WHERE network = NEW.ip AND until IS NULL);
        UPDATE bans SET until = NULL, origin = 'badips', reason = 'inserted into badips'
            WHERE network = NEW.ip AND until IS NOT NULL;
        INSERT OR IGNORE INTO bans
            SELECT NEW.ip, CAST(coalesce(strftime('%s', NEW.addedtime), strftime('%s', 'now'))
                AS INTEGER), NULL, 'badips', 'inserted into badips';
    END""",
    "CREATE INDEX bans_untidy ON bans (network) WHERE reason = 'inserted into badips'",
    # Whoever ran treason through ssh is not to be locked out for some time.
    """CREATE TABLE clients (
        address TEXT NOT NULL PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

_NAMES: Final = {"bans", "offences", "history", "cursors", "clients", "badips_insert"}
_STEPS: Final = (_FIRST, _SECOND)
VERSION: Final = len(_STEPS)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Take the steps after ``version``, inside the caller's transaction.

    A database of the original script is adopted: its rows become bans, its table goes.
    """
    rows = _script_rows(connection) if adoptable(connection) else None
    if rows is not None:
        connection.execute("DROP TABLE badips")
    for step in _STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    if rows is not None:
        _adopt(connection, rows)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def adoptable(connection: sqlite3.Connection) -> bool:
    """Whether this is the original script's database: ``badips`` with an ``ip`` and a time."""
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    return not ours and len(_columns(connection)) == 2 and "ip" in _columns(connection)


def collisions(connection: sqlite3.Connection) -> list[str]:
    """Give the names of a foreign database that adoption would need for itself."""
    names = connection.execute("SELECT lower(name) FROM sqlite_schema WHERE type != 'index'")
    return sorted({name for (name,) in names} & _NAMES)


def _columns(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT lower(c.name) FROM sqlite_schema AS s JOIN pragma_table_info(s.name) AS c"
        " WHERE s.type = 'table' AND s.name = 'badips' COLLATE NOCASE"
    )
    return [name for (name,) in rows]


def _script_rows(connection: sqlite3.Connection) -> list[tuple[str, int | None]]:
    """Read the script's rows: each address as text, its time in epoch seconds if it is one."""
    [time_column] = [name for name in _columns(connection) if name != "ip"]
    quoted = time_column.replace('"', '""')
    found = []
    for ip, since in connection.execute(
        f"SELECT CAST(ip AS BLOB), CAST(strftime('%s', \"{quoted}\") AS INTEGER) FROM badips"  # noqa: S608 - quoted
    ):
        if ip is not None:
            known = since is not None and since >= 0  # a bare number would be a Julian day
            found.append((ip.decode(errors="backslashreplace"), since if known else None))
    return found


def _adopt(connection: sqlite3.Connection, rows: list[tuple[str, int | None]]) -> None:
    """Make a permanent ban of each address, since the earliest of its times.

    A row that is no network becomes a ban as well: it is kept and reported, not enforced.
    """
    earliest: dict[str, int] = {}
    now = int(time.time())
    for ip, since in rows:
        network = _canonical(ip)
        earliest[network] = min(earliest.get(network, now), now if since is None else since)
    connection.executemany(
        "INSERT INTO bans VALUES (?, ?, NULL, 'badips', 'adopted from badips')", earliest.items()
    )
    connection.execute(
        "INSERT INTO history (time, action, network, reason)"
        " SELECT since, 'ban', network, reason FROM bans"
    )


def _canonical(text: str) -> str:
    try:
        return str(Network.parse(text.strip()))
    except InvalidNetwork:
        return text
