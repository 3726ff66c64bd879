"""The fleet's schema: numbered steps, each once, in one transaction; roles and rights each time."""

from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from psycopg import Connection

VERSION: Final = 1
"""What the newest step makes, and the only one that members read."""


def text(name: str) -> str:
    """Return one of the SQL files beside this module."""
    return (files(__package__) / f"{name}.sql").read_text()


def install(connection: "Connection[object]") -> None:
    """Write roles, schema and rights into the database of ``connection`` (autocommit)."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(7234061198245)")
        connection.execute(text("roles").encode())
        if connection.execute("SELECT to_regclass('fleet.clock')").fetchone() == (None,):
            connection.execute(text("1").encode())
        connection.execute(text("rights").encode())
