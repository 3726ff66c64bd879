"""What the rules recognised: stored as evidence, counted by the policy, and pruned."""

import json
import math
from collections.abc import Iterable
from typing import Final

from reconciler.model import Offence
from reconciler.network import Network
from reconciler.store.database import Database

MOST: Final = 1_000_000
"""Offences that are kept, however young they are; the oldest go first."""


MOST_OF_ONE: Final = 20_000
"""Offences of one network that are looked at; no threshold is higher."""


class Offences:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, source: str, offences: Iterable[Offence], now: int) -> None:
        """Store what a source brought."""
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO offences (address, key, rule, peer_port, local_port, time, count,"
                " evidence, source, micros) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (str(o.address), o.address.key, o.rule, o.peer_port, o.local_port, o.when(now),
                     o.count, o.evidence, source, o.micros)
                    for o in offences
                ),
            )  # fmt: skip
            self._database.execute(
                "DELETE FROM offences WHERE id <= (SELECT max(id) FROM offences) - ?", (MOST,)
            )

    def prune(self, before: int) -> None:
        """Delete those from before this time (epoch seconds)."""
        with self._database.transaction():
            self._database.execute("DELETE FROM offences WHERE time < ?", (before,))

    def of(
        self, networks: Iterable[Network], since: float, until: float = math.inf
    ) -> list[Offence]:
        """Return the stored offences of addresses inside these networks, within these times.

        Of each network no more than the last `MOST_OF_ONE`: whoever offends so often needs no
        more to be counted.
        """
        return [
            Offence(Network.of_key(key), rule, evidence, True, *rest)
            for network in networks
            for key, rule, evidence, *rest in self._database.rows(
                "SELECT key, rule, evidence, peer_port, local_port, time, count, micros"
                " FROM offences WHERE key BETWEEN ? AND ? AND time BETWEEN ? AND ?"
                " ORDER BY time DESC LIMIT ?",
                (network.key, Network(network.end).key, since, until, MOST_OF_ONE),
            )
        ]

    def stored(
        self, source: str, offences: Iterable[Offence]
    ) -> tuple[set[tuple[int, str]], set[tuple[int, str]]]:
        """Return the stamps of those that are stored: brought by this source, and by others.

        The kernel stamps each record once, and every carrier that keeps the stamp passes it on.
        """
        micros = [offence.micros for offence in offences if offence.micros is not None]
        found: tuple[set[tuple[int, str]], set[tuple[int, str]]] = (set(), set())
        if not self._database.rows("SELECT 1 FROM offences WHERE micros IS NOT NULL LIMIT 1"):
            return found
        rows = self._database.rows(
            "SELECT micros, evidence, source IS NOT ? FROM offences"
            " WHERE micros IN (SELECT value FROM json_each(?))",
            (source, json.dumps(micros)),
        )
        for stamp, evidence, other in rows:
            found[other].add((stamp, evidence))
        return found
