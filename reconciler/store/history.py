"""The history: what was banned, unbanned and expired, and what follows from that."""

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from reconciler import lines
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.database import Database, texts
from reconciler.store.released import Released

_OWN: Final = "action != 'ban' AND reason NOT GLOB 'feed:*'"
"""What ended an own ban (the index has the first half): what a feed lifts settles nothing."""

_FEW: Final = 10
"""Messages without confirmation that stand between the events of all networks."""


@frozen
class Event:
    """A line of the history: what happened to which network, when (epoch seconds), and why."""

    time: int
    action: str
    network: str
    reason: str


class History:
    """A part of the store. A ban that has ended counts as lifted, also while its row is there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._released = Released(database)

    def latest(self, network: Network | None, limit: int) -> list[Event]:
        """Return the last events, of all networks or of one, the latest first.

        What was closed, and what nobody confirmed, stands behind the event that was the last one
        then. Of all networks no more than a few lines of the latter: anybody can cause them.
        """
        rows = self._database.rows(
            "SELECT time, action, network, reason FROM ("
            " SELECT * FROM (SELECT id AS event, 0 AS kind, 0 AS nth, time, action, network, reason"
            " FROM history WHERE ?1 IS NULL OR network = ?1 ORDER BY id DESC LIMIT ?3)"
            " UNION ALL SELECT * FROM (SELECT event, 1, id, time, 'close', network, reason"
            " FROM closed WHERE ?1 IS NULL OR network = ?1 ORDER BY id DESC LIMIT ?3)"
            " UNION ALL SELECT * FROM (SELECT event, 2, id, time,"
            " iif(waits_in IS NULL, 'unconfirmed', 'waiting'), key, why || ': ' || evidence"
            " FROM unconfirmed WHERE ?2 IS NULL OR key = ?2"
            " ORDER BY id DESC LIMIT iif(?2 IS NULL, min(?3, ?4), ?3))"
            ") ORDER BY event DESC, kind DESC, nth DESC LIMIT ?3",
            (*((None, None) if network is None else (str(network), network.key)), limit, _FEW),
        )
        return [
            Event(time, action, _text(network), reason) for time, action, network, reason in rows
        ]

    def last_events(self, now: int) -> tuple[Networks, Networks]:
        """Return the networks that were lifted last, and those that were banned last."""
        banned, lifted = (self._last(banned=each) for each in (True, False))
        rows = self._database.rows(
            "SELECT CAST(network AS TEXT) FROM bans WHERE until <= ?", (now,)
        )
        ended, _ = lines.read(text for (text,) in rows)
        gone = ended | self._released.networks()
        return lifted | gone, banned - gone

    def lifts(
        self, networks: Iterable[Network], now: int, *, by_hand: bool = True
    ) -> dict[Network, float]:
        """Return when an own ban of each of these networks was lifted last, or ended.

        Not ``by_hand``: when it ended by itself.
        """
        rows = self._database.rows(
            "SELECT network, max(time) FROM (SELECT network, time FROM history"  # noqa: S608 - a constant
            f" WHERE {_OWN} AND (?3 OR action = 'expiry')"
            " AND network IN (SELECT value FROM json_each(?1))"
            " UNION ALL SELECT network, until FROM bans"
            " WHERE until <= ?2 AND network IN (SELECT value FROM json_each(?1)))"
            " GROUP BY network",
            (texts(networks), now, by_hand),
        )
        return {Network.parse(text): time for text, time in rows}

    def endings(self, networks: Iterable[Network], now: int) -> dict[Network, int]:
        """Return how many own bans of each of these networks have ended by themselves."""
        rows = self._database.rows(
            "SELECT network, count(*) FROM (SELECT network FROM history"  # noqa: S608 - a constant
            f" WHERE {_OWN} AND action = 'expiry'"
            " AND network IN (SELECT value FROM json_each(?1))"
            " UNION ALL SELECT network FROM bans"
            " WHERE until <= ?2 AND network IN (SELECT value FROM json_each(?1)))"
            " GROUP BY network",
            (texts(networks), now),
        )
        return {Network.parse(text): number for text, number in rows}

    def prune(self, before: int, carried: int) -> None:
        """Delete the history of what was lifted before this time; that of what is banned stays.

        So do the events after ``carried``.
        """
        self._released.forget(carried)
        old = "SELECT network FROM history WHERE action != 'ban' AND time < ?1"
        if not self._database.rows(f"{old} LIMIT 1", (before,)):
            return
        with self._database.transaction():
            self._database.execute(
                f"DELETE FROM history WHERE time < ?1 AND network IN ({old})"  # noqa: S608 - as above
                " AND id <= ?2"
                " AND NOT EXISTS (SELECT 1 FROM bans WHERE bans.network = history.network)",
                (before, carried),
            )

    def _last(self, *, banned: bool) -> Networks:
        rows = self._database.rows(  # with max(), SQLite takes action from that very row
            "SELECT CAST(network AS TEXT) FROM (SELECT network, action, max(id) FROM history"
            " GROUP BY network) WHERE (action = 'ban') = ?",
            (banned,),
        )
        return lines.read(network for (network,) in rows)[0]


def _text(network: str | bytes) -> str:
    return str(Network.of_key(network)) if isinstance(network, bytes) else network
