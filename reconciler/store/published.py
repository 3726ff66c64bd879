"""What feeds were given to tell others: the bans of some rules, as they were told last."""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from reconciler.network import Network
from reconciler.store.database import Database

_BY_HAND: Final = "manual"
_REASON: Final = f"CASE origin WHEN '{_BY_HAND}' THEN reason ELSE origin END"
"""A rule is told by its name: what a message says beyond that differs from ban to ban."""

_ACTIVE: Final = (
    "FROM bans WHERE origin IN (SELECT value FROM json_each(?2)) AND key > x''"
    " AND (until IS NULL OR until > ?3)"
)


_UNTOLD: Final = (
    f"SELECT key, until, {_REASON} {_ACTIVE}"  # noqa: S608 - constants
    " AND NOT EXISTS (SELECT 1 FROM published AS p WHERE p.feed = ?1 AND p.key = bans.key"
    " AND p.until IS bans.until)"
)


@frozen
class Publication:
    """A network whose ban others are to be told of: until when (epoch seconds; None: permanent).

    Or, if it is not ``banned``, that it ended before its time. The ``reason`` is the rule's name,
    or what was given by hand.
    """

    network: Network
    banned: bool
    until: int | None = None
    reason: str = ""


class Published:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_current(self, feed: str, rules: Sequence[str], event: int) -> bool:
        """Return whether all was given of these rules up to this event of the history."""
        rows = self._database.rows("SELECT rules, event FROM publishings WHERE feed = ?", (feed,))
        return rows == [(json.dumps(rules), event)]

    def due(self, feed: str, rules: Sequence[str], now: int) -> list[Publication]:
        """Return what is to be told: bans of these rules that came, or end at another time now.

        And those that are not there any more before their time.
        """
        told = self._database.rows(
            f"{_UNTOLD} ORDER BY key",
            (feed, json.dumps(rules), now),
        )
        gone = self._database.rows(
            "SELECT key FROM published WHERE feed = ?1 AND (until IS NULL OR until > ?3)"  # noqa: S608 - a constant
            f" AND key NOT IN (SELECT key {_ACTIVE}) ORDER BY key",
            (feed, json.dumps(rules), now),
        )
        return [
            *(Publication(Network.of_key(key), banned=False) for (key,) in gone),
            *(Publication(Network.of_key(key), True, *rest) for key, *rest in told),
        ]

    def new(
        self, feed: str, rules: Sequence[str], networks: Iterable[Network], now: int
    ) -> list[Publication]:
        """Return what is to be told of the bans of these networks; the others are not read."""
        values = feed, json.dumps(rules), now
        return [
            Publication(Network.of_key(key), True, *rest)
            for network in networks
            for key, *rest in self._database.rows(f"{_UNTOLD} AND key = ?4", (*values, network.key))
        ]

    def keep(
        self, feed: str, rules: Sequence[str], event: int, given: Iterable[Publication], now: int
    ) -> None:
        """Remember that this was given, after which event; forget what has ended by its time."""
        with self._database.transaction():
            self.note(feed, given)
            self._database.execute("DELETE FROM published WHERE until <= ?", (now,))
            self._database.execute(
                "INSERT OR REPLACE INTO publishings (feed, rules, event) VALUES (?, ?, ?)",
                (feed, json.dumps(rules), event),
            )

    def note(self, feed: str, given: Iterable[Publication]) -> None:
        """Remember that this was given, and maybe not all."""
        with self._database.transaction():
            for each in given:
                if each.banned:
                    self._database.execute(
                        "INSERT OR REPLACE INTO published (feed, key, until) VALUES (?, ?, ?)",
                        (feed, each.network.key, each.until),
                    )
                else:
                    self._database.execute(
                        "DELETE FROM published WHERE feed = ? AND key = ?", (feed, each.network.key)
                    )

    def feeds(self) -> set[str]:
        """Return to whom anything was given."""
        return {name for (name,) in self._database.rows("SELECT feed FROM publishings")}

    def forget(self, feed: str) -> None:
        """Let all of it be given to this feed anew."""
        with self._database.transaction():
            self._database.execute("DELETE FROM published WHERE feed = ?", (feed,))
            self._database.execute("DELETE FROM publishings WHERE feed = ?", (feed,))
