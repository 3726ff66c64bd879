"""The fleet's schema: numbered steps, each once; roles and rights are written each time.

All of it is SQL that psql runs as well: what `install` does is what the script says.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from psycopg import Connection

VERSION: Final = 1
"""What the newest step makes, and the only one that members read."""

_HEAD: Final = r"""\set ON_ERROR_STOP on
BEGIN;
"""
_TAIL: Final = "COMMIT;\n"


def text(name: str, **given: str | int | None) -> str:
    """Return one of the SQL files beside this module, with ``:KEY`` as literals."""
    sql = (files(__package__) / f"{name}.sql").read_text(encoding="utf-8")
    for key, value in given.items():
        sql = sql.replace(f":{key}", _literal(value))
    return sql


def steps() -> dict[int, str]:
    """Return the SQL of each version, in order."""
    return {version: text(str(version)) for version in range(1, VERSION + 1)}


def install(connection: "Connection[Any]", all_steps: Mapping[int, str] | None = None) -> int:
    """Write roles, schema and rights; return which version was there (0: none).

    All is one transaction of ``connection``, or a part of the one that it is in. Raise psycopg's
    errors: 0A000 where a newer version is there.
    """
    wanted = all_steps or steps()
    with connection.transaction():
        for sql in (text("begin"), text("found", newest=max(wanted)), text("roles")):
            connection.execute(sql.encode())
        row = connection.execute("SELECT current_setting('fleet.found')::integer").fetchone()
        found = int(row[0]) if row else 0
        for version, step in wanted.items():
            if version > found:
                connection.execute((step + _reached(version)).encode())
        connection.execute(text("rights").encode())
    return found


def script(*, new_epoch: bool = False) -> str:
    """Return for psql what `install` does."""
    parts = [_HEAD, text("begin"), text("found", newest=VERSION), text("roles")]
    for version, step in steps().items():
        parts += [
            f"SELECT current_setting('fleet.found')::integer < {version} AS is_wanted \\gset\n",
            f"\\if :is_wanted\n{step}{_reached(version)}\\endif\n",
        ]
    return "\n".join([*parts, text("rights"), *([text("epoch")] if new_epoch else []), _TAIL])


def blocks(*transactions: str) -> str:
    """Return a script for psql of these transactions, one after the other."""
    return "\n".join(f"{_HEAD}{each}{_TAIL}" for each in transactions)


def _reached(version: int) -> str:
    return f"\nUPDATE fleet.clock SET version = {version};\n"


def _literal(value: str | int | None) -> str:
    """Return a literal of SQL. Raise ValueError for what none of ours holds."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    if not value.isascii() or not value.isprintable() or any(each in value for each in "'\\"):
        raise ValueError(f"{value!r} is no text of the fleet's SQL")
    return f"'{value}'"
