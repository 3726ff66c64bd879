"""Damage in the database: found where it would change what is enforced, and read around.

A damaged table, or an index that lacks rows, must not look like bans that were lifted.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Final

from reconciler.errors import StoreError
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store import counting, feed_tables
from reconciler.store.bans import UNGUARDED, Bans, Exceptions
from reconciler.store.database import Database, network_of
from reconciler.store.refusals import is_damage

_TABLES: Final = (
    *("bans", "offences", "history", "cursors", "clients", "verified", "changes"),
    *("prunings", "treason_identity", "whitelists", "marks", "carried_out", "treason_clock"),
    *("bans_set_back", "suspects", "withheld", "closings", "closed", "probes"),
    *("unconfirmed", "rules_told", "pause", "backup"),
    *counting.TABLES,
    *feed_tables.TABLES,
)
_KEYS: Final = "bans_by_key"
_INDEXES: Final = {
    _KEYS: "TRUE",
    "bans_by_end": "until IS NOT NULL",
    "bans_unguarded": "origin = 'badips' AND instr(network, '/') > 0",
}
"""Those of the bans, and which rows are in them."""

_PARTS: Final = (
    *("key IS NULL", "key = x''", "key > x'04' AND key < x'05'", "key > x'06' AND key < x'07'"),
)
"""What is looked up in the first of them: each ban is in one of these parts."""
_STEPS: Final = 10_000
"""Instructions of SQLite's between two looks at the clock."""

_TOLD: Final = 3
"""Flaws that are named."""

_ORDERS: Final = (("NOT INDEXED", "network"), ("INDEXED BY bans_by_key", "key"))


class Integrity:
    """A part of the store."""

    def __init__(self, database: Database, bans: Bans) -> None:
        self._database = database
        self._bans = bans

    def unreadable(self) -> list[str]:
        """Return what is wrong with tables and indexes of which not even the first page is read."""
        first = {f"table {name}": f"* FROM {name}" for name in _TABLES}  # no index holds all of it
        first |= {
            f"index {name}": f"1 FROM bans INDEXED BY {name} WHERE {where}"
            for name, where in _INDEXES.items()
        }
        return [told for what, row in first.items() if (told := self._damage(what, row))]

    def search(self, seconds: float) -> list[str]:
        """Return what is wrong with any of its pages, by SQLite's words, as far as time allows."""
        end = time.monotonic() + seconds
        connection = self._database.connection
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            rows = self._database.rows(f"PRAGMA quick_check({_TOLD})")
        except StoreError as error:
            if getattr(error.__context__, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                return []
            raise
        finally:
            connection.set_progress_handler(None, 0)
        return [text for (row,) in rows for text in str(row).splitlines() if text != "ok"]

    def networks(
        self, now: int, exceptions: Exceptions | None, allows: Callable[[Network], bool]
    ) -> tuple[Networks, list[str]]:
        """Return the networks to be enforced, as far as they can be read, and what is damaged.

        The indexes are compared with their table by the number of their rows. ``exceptions`` are
        None where they could not be read.
        """
        try:
            if exceptions is not None and not (problems := self.indexes()):
                return self._bans.enforced(now, exceptions), []
        except StoreError as error:
            problems = [self._told(str(error))]
        return self._read_around(now, allows), problems if exceptions is not None else []

    def _damage(self, what: str, row: str) -> str:
        try:
            self._database.rows(f"SELECT {row} LIMIT 1")
        except StoreError as error:
            if not is_damage(error):
                raise
            return self._told(f"the {what} cannot be read: {error.__context__}")
        return ""

    def indexes(self) -> list[str]:
        """Return what is wrong with the indexes of the bans, told by the number of their rows.

        The table itself is read for what they are to hold: no index holds ``since``. Of the first
        the parts that are looked up are counted as well, as a garbled key leads astray.
        """
        wanted = ", ".join(f"count(since) FILTER (WHERE {where})" for where in _INDEXES.values())
        [counts] = self._database.rows(f"SELECT {wanted} FROM bans")  # noqa: S608 - constants
        problems = []
        for (name, where), expected in zip(_INDEXES.items(), counts, strict=True):
            [(held,)] = self._database.rows(
                f"SELECT count(*) FROM bans INDEXED BY {name} WHERE {where}"  # noqa: S608 - as above
            )
            if held == expected and name == _KEYS:
                held = sum(map(self._keys_where, _PARTS))
            if held != expected:
                what = f"the index {name} has {held:,} rows, but there are {expected:,}"
                problems.append(f"{self._told(what)}, or: sqlite3 {self._database.path} REINDEX")
        return problems

    def _keys_where(self, where: str) -> int:
        """Return how many rows are found where they are looked up."""
        [(held,)] = self._database.rows(
            f"SELECT count(*) FROM bans INDEXED BY {_KEYS} WHERE {where}"  # noqa: S608 - constants
        )
        return int(held)

    def _read_around(self, now: int, allows: Callable[[Network], bool]) -> Networks:
        """Return the networks of all rows that can be read: from both ends, by table and index."""
        found: set[Network] = set()
        for source, column in _ORDERS:
            for direction in ("ASC", "DESC"):
                rows = self._rows(source, f"{column} {direction}")
                if self._gather(rows, found, now, allows):
                    break
        return Networks.of(found)

    def _gather(
        self,
        rows: Iterator[tuple[str, bytes | None, int | None, str]],
        found: set[Network],
        now: int,
        allows: Callable[[Network], bool],
    ) -> bool:
        """Take what is to be enforced from the rows; return whether they had an end.

        Where a network's text and its bytes differ, one of them is garbled.
        """
        try:
            for text, key, until, origin in rows:
                network = network_of(text)
                if network is None or (key and key != network.key):
                    continue
                if until is not None and until <= now:
                    continue
                if origin != UNGUARDED or allows(network):
                    found.add(network)
        except StoreError:
            return False
        return True

    def _rows(self, source: str, order: str) -> Iterator[tuple[str, bytes | None, int | None, str]]:
        return self._database.stream(
            f"SELECT network, key, until, origin FROM bans {source} ORDER BY {order}",  # noqa: S608
            (),
        )

    def _told(self, what: str) -> str:
        path = self._database.path
        where = "" if what.startswith(f"{path}: ") else f"{path}: "
        hint = "" if "\n" in what else "\n  restore it from a backup"
        return f"{where}{what}{hint}"
