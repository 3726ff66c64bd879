"""How a database comes to its schema (`schema.py`), from any earlier one."""

import sqlite3
from contextlib import closing

from reconciler.errors import InvalidNetwork
from reconciler.network import Network
from reconciler.store.adoption import APPLICATION_ID, adopt, adoptable, script_rows
from reconciler.store.schema import STEPS, VERSION


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Take the steps after ``version``, inside the caller's transaction.

    A database of the original script is adopted: its rows become bans, its table goes.
    """
    connection.create_function("network_key", 1, key_of, deterministic=True)
    rows = script_rows(connection) if adoptable(connection) else None
    if rows is not None:
        connection.execute("DROP TABLE badips")
    for step in STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    if rows is not None:
        adopt(connection, rows)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def recognise(connection: sqlite3.Connection) -> int | None:
    """Return the version whose tables these are, whatever the file says of itself; None if none.

    What was loaded from a dump has neither `application_id` nor `user_version`.
    """
    found = _shape(connection)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        model.create_function("network_key", 1, key_of, deterministic=True)
        known: int | None = None
        for version, step in enumerate(STEPS, 1):
            for statement in step:
                model.execute(statement)
            known = version if _shape(model) == found else known
    return known


def _shape(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Return all that a schema names: the kind, the name, the columns."""
    rows = connection.execute(
        "SELECT s.type, s.name, (SELECT group_concat(c.name) FROM pragma_table_info(s.name) AS c)"
        " FROM sqlite_schema AS s WHERE s.name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    )
    return {(kind, name, columns or "") for kind, name, columns in rows}


def key_of(stored: bytes) -> bytes | None:
    """Return the key of a stored network, which may be any bytes; of what is none it is empty.

    What is written otherwise than this program does has none, and is left to be tidied.
    """
    try:
        text = stored.decode()
        network = Network.parse(text)
    except (InvalidNetwork, UnicodeDecodeError):
        return b""
    return network.key if str(network) == text else None
