"""The original script's database, `badips(addedtime, ip)`: recognised, read, and taken over."""

import sqlite3
import time
from collections.abc import Collection
from typing import Final

from reconciler.errors import InvalidNetwork
from reconciler.network import Network

APPLICATION_ID: Final = 0x54524541
"""``TREA``: marks the file as ours (SQLite's PRAGMA application_id)."""


def adoptable(connection: sqlite3.Connection) -> bool:
    """Whether this is the original script's database: ``badips`` with an ``ip`` and a time."""
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    return not ours and len(_columns(connection)) == 2 and "ip" in _columns(connection)


def collisions(connection: sqlite3.Connection, names: Collection[str]) -> list[str]:
    """Return those of the ``names`` that adoption needs and a foreign database has."""
    rows = connection.execute("SELECT lower(name) FROM sqlite_schema WHERE type != 'index'")
    return sorted({name for (name,) in rows if name in names})


def _columns(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT lower(c.name) FROM sqlite_schema AS s JOIN pragma_table_info(s.name) AS c"
        " WHERE s.type = 'table' AND s.name = 'badips' COLLATE NOCASE"
    )
    return [name for (name,) in rows]


def script_rows(connection: sqlite3.Connection) -> list[tuple[str, int | None]]:
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


def adopt(connection: sqlite3.Connection, rows: list[tuple[str, int | None]]) -> None:
    """Make a permanent ban of each address, since the earliest of its times.

    A row that is no network becomes a ban as well: it is kept and reported, not enforced.
    """
    earliest: dict[str, int] = {}
    now = int(time.time())
    for ip, since in rows:
        network = _canonical(ip)
        earliest[network] = min(earliest.get(network, now), now if since is None else since)
    connection.executemany(
        "INSERT INTO bans (network, since, until, origin, reason, key)"
        " VALUES (?1, ?2, NULL, 'badips', 'adopted from badips', network_key(CAST(?1 AS BLOB)))",
        earliest.items(),
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
