"""The history: what was banned, unbanned and expired, and what follows from that."""

from collections.abc import Iterable

from attrs import frozen

from reconciler import lines
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.database import Database, texts


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

    def latest(self, network: Network | None, limit: int) -> list[Event]:
        """Return the last events, of all networks or of one, the latest first.

        What was closed stands behind the event that was the last one then.
        """
        rows = self._database.rows(
            "SELECT time, action, network, reason FROM ("
            " SELECT * FROM (SELECT id AS event, 0 AS nth, time, action, network, reason"
            " FROM history WHERE ?1 IS NULL OR network = ?1 ORDER BY id DESC LIMIT ?2)"
            " UNION ALL SELECT * FROM (SELECT event, id, time, 'close', network, reason"
            " FROM closed WHERE ?1 IS NULL OR network = ?1 ORDER BY id DESC LIMIT ?2)"
            ") ORDER BY event DESC, nth DESC LIMIT ?2",
            (None if network is None else str(network), limit),
        )
        return [Event(*row) for row in rows]

    def last_events(self, now: int) -> tuple[Networks, Networks]:
        """Return the networks that were lifted last, and those that were banned last."""
        banned, lifted = (self._last(banned=each) for each in (True, False))
        rows = self._database.rows(
            "SELECT CAST(network AS TEXT) FROM bans WHERE until <= ?", (now,)
        )
        ended, _ = lines.read(text for (text,) in rows)
        return lifted | ended, banned - ended

    def lifts(self, networks: Iterable[Network], now: int) -> dict[Network, float]:
        """Return when a ban of each of these networks was lifted last, or ended."""
        rows = self._database.rows(
            "SELECT network, max(time) FROM (SELECT network, time FROM history"
            " WHERE action != 'ban' AND network IN (SELECT value FROM json_each(?1))"
            " UNION ALL SELECT network, until FROM bans"
            " WHERE until <= ?2 AND network IN (SELECT value FROM json_each(?1)))"
            " GROUP BY network",
            (texts(networks), now),
        )
        return {Network.parse(text): time for text, time in rows}

    def endings(self, networks: Iterable[Network], now: int) -> dict[Network, int]:
        """Return how many bans of each of these networks have ended by themselves."""
        rows = self._database.rows(
            "SELECT network, count(*) FROM (SELECT network FROM history"
            " WHERE action != 'ban' AND action = 'expiry'"  # as the index has it
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
