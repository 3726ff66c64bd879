"""The bans that rules would have made while the policy only observed (``mode = "observe"``).

None of them is ever enforced, nor made up for later: they are listed, and settle what led to them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from reconciler.model import Ban
from reconciler.network import Network
from reconciler.store.database import Database, network_of, texts


@frozen
class WithheldBan:
    """A ban that was not made, how many offences were counted from then on, and when the last was.

    Times are seconds since the epoch.
    """

    ban: Ban
    offences: int
    last: int


class Withheld:
    """A part of the store. Every method that writes is one transaction, or a part of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def active(self, now: int) -> Iterator[WithheldBan]:
        """Yield those that would still drop their network, the last seen first.

        What is no network, somebody else wrote.
        """
        rows = self._database.stream(
            "SELECT network, since, until, origin, reason, offences, last FROM withheld"
            " WHERE until IS NULL OR until > ? ORDER BY last DESC, network",
            (now,),
        )
        for text, since, until, origin, reason, offences, last in rows:
            if network := network_of(text):
                yield WithheldBan(Ban(network, since, until, origin, reason), offences, last)

    def number(self, now: int) -> int:
        """Return how many would still drop their network."""
        query = "SELECT count(*) FROM withheld WHERE until IS NULL OR until > ?"
        [(number,)] = self._database.rows(query, (now,))
        return int(number)

    def ends(self, networks: Iterable[Network], now: int) -> dict[Network, int | None]:
        """Return the end that each of these networks' ban would have; None is never."""
        query = (
            "SELECT network, until FROM withheld WHERE (until IS NULL OR until > ?)"
            " AND network IN (SELECT value FROM json_each(?))"
        )
        rows = self._database.rows(query, (now, texts(networks)))
        return {Network.parse(text): until for text, until in rows}

    def settled(
        self, networks: Iterable[Network], now: int, *, observing: bool
    ) -> dict[Network, float]:
        """Return up to when the offences of each of these networks are settled.

        While ``observing`` that is the end that the ban would have had, as of any other ban. Later
        it is the last pass that observed the network: what was counted then makes no ban now.
        """
        query = (
            "SELECT network, iif(?1, until, last) FROM withheld WHERE (NOT ?1 OR until <= ?2)"
            " AND network IN (SELECT value FROM json_each(?3))"
        )
        rows = self._database.rows(query, (observing, now, texts(networks)))
        return {Network.parse(text): time for text, time in rows}

    def add(self, bans: Iterable[Ban], counted: Mapping[Network, int], now: int) -> None:
        """Store bans that are not made; ``counted`` tells how many offences each network had."""
        made = [
            (str(ban.network), ban.since, ban.until, ban.origin, ban.reason, now) for ban in bans
        ]
        seen = [(number, now, str(network)) for network, number in counted.items()]
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO withheld VALUES (?, ?, ?, ?, ?, 0, ?) ON CONFLICT (network) DO UPDATE"
                " SET since = excluded.since, until = excluded.until, origin = excluded.origin,"
                " reason = excluded.reason",
                made,
            )
            self._database.execute_many(
                "UPDATE withheld SET offences = offences + ?, last = ? WHERE network = ?", seen
            )

    def drop(self, networks: Iterable[str]) -> None:
        """Forget those of these networks: they are really banned."""
        self._database.execute(
            "DELETE FROM withheld WHERE network IN (SELECT value FROM json_each(?))",
            (json.dumps([*networks]),),
        )

    def prune(self, before: int) -> None:
        """Delete those that were seen last before this time."""
        self._database.execute("DELETE FROM withheld WHERE last < ?", (before,))
