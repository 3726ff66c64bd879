"""Up to which event of the history each backend was verified.

A lift that is not carried out everywhere is still needed: it is what explains the removal.
"""

from collections.abc import Collection
from typing import Final

from reconciler.store.database import Database

_REFRESHED: Final = 86400
"""Seconds after which a time is written anew, though nothing else changed."""


class Carried:
    """A part of the store. Times are seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def last_event(self) -> int:
        """The number of the last event of the history; 0 if there is none."""
        [(number,)] = self._database.rows("SELECT coalesce(max(id), 0) FROM history")
        return int(number)

    def begin(self, backends: Collection[str], now: int) -> None:
        """Let the history wait for these backends from now on."""
        known = {name for (name,) in self._database.rows("SELECT backend FROM carried_out")}
        if missing := [(name, now) for name in backends if name not in known]:
            with self._database.transaction():
                self._database.execute_many("INSERT INTO carried_out VALUES (?, 0, ?)", missing)

    def verify(self, backends: Collection[str], event: int, now: int) -> None:
        """Remember that these backends hold what was desired when this was the last event."""
        known = {
            name: (number, time)
            for name, number, time in self._database.rows(
                "SELECT backend, event, time FROM carried_out"
            )
        }
        new = [
            (name, event, now)
            for name in backends
            if name not in known
            or known[name][0] != event
            or not 0 <= now - known[name][1] < _REFRESHED
        ]
        if new:
            with self._database.transaction():
                self._database.execute_many(
                    "INSERT OR REPLACE INTO carried_out VALUES (?, ?, ?)", new
                )

    def lower(self) -> None:
        """Let no backend have carried out what is to come: SQLite gives numbers again."""
        last = self.last_event
        if self._database.rows("SELECT 1 FROM carried_out WHERE event > ? LIMIT 1", (last,)):
            self._database.execute("UPDATE carried_out SET event = min(event, ?)", (last,))

    def everywhere(self, configured: Collection[str], before: int) -> int:
        """Return the last event that every backend has carried out.

        One that is not configured any more, and was verified last before this time, is forgotten.
        """
        rows = self._database.rows("SELECT backend, event, time FROM carried_out")
        gone = [(name,) for name, _, time in rows if name not in configured and time < before]
        if gone:
            with self._database.transaction():
                self._database.execute_many("DELETE FROM carried_out WHERE backend = ?", gone)
        last = self.last_event
        events = [number for name, number, _ in rows if (name,) not in gone]
        return min((number if number <= last else 0 for number in events), default=last)
