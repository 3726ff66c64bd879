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
    """CREATE TRIGGER badips_insert INSTEAD OF INSERT ON badips BEGIN
        INSERT INTO history (time, action, network, reason)
            SELECT CAST(strftime('%s', 'now') AS INTEGER), 'ban', NEW.ip, 'inserted into badips'
            WHERE NEW.ip IS NOT NULL AND NOT EXISTS (SELECT 1 FROM bans WHERE network = NEW.ip);
        INSERT OR IGNORE INTO bans
            SELECT NEW.ip, CAST(coalesce(strftime('%s', NEW.addedtime), strftime('%s', 'now'))
                AS INTEGER), NULL, 'badips', 'inserted into badips'
            WHERE NEW.ip IS NOT NULL;
    END""",
    # Whoever ran treason through ssh is not to be locked out for some time.
    """CREATE TABLE clients (
        address TEXT NOT NULL PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

_STEPS: Final = (_FIRST, _SECOND)
VERSION: Final = len(_STEPS)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Take the steps after ``version``, inside the caller's transaction.

    A database of the original script is adopted: its rows become bans, its table goes.
    """
    adopted = adoptable(connection)
    if adopted:
        connection.execute("ALTER TABLE badips RENAME TO badips_of_the_script")
    for step in _STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    if adopted:
        _adopt(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def adoptable(connection: sqlite3.Connection) -> bool:
    """Whether this is the original script's database: ``badips``, a time and an address."""
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    columns = connection.execute(
        "SELECT count(*) FROM pragma_table_info('badips') JOIN sqlite_schema AS s"
        " ON s.name = 'badips' AND s.type = 'table'"
    ).fetchone()[0]
    return not ours and columns == 2


def _adopt(connection: sqlite3.Connection) -> None:
    """Make a permanent ban of each address, since the earliest of its times.

    A row that is no network becomes a ban as well: it is kept and reported, not enforced.
    """
    earliest: dict[str, int] = {}
    now = int(time.time())
    rows = connection.execute(
        "SELECT CAST(ip AS TEXT), CAST(strftime('%s', added) AS INTEGER) FROM ("
        "SELECT NULL AS added, NULL AS ip WHERE 0 UNION ALL SELECT * FROM badips_of_the_script)"
        " WHERE ip IS NOT NULL"
    )
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
    connection.execute("DROP TABLE badips_of_the_script")


def _canonical(text: str) -> str:
    try:
        return str(Network.parse(text))
    except InvalidNetwork:
        return text
