"""What feeds held and do not any more, where that is very much: it explains why it is removed.

The history tells of it in one event; it is kept until each backend has carried that out.
"""

from typing import Final

from reconciler import lines
from reconciler.networks import NOTHING, Networks
from reconciler.store.database import Database

_BANNED_SINCE: Final = (  # with max(), SQLite takes action from that very row
    "SELECT CAST(network AS TEXT) FROM (SELECT network, action, max(id) FROM history"
    " WHERE id > ? GROUP BY network) WHERE action = 'ban'"
)


class Released:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def networks(self) -> Networks:
        """Return all of it that was not banned again since, as far as the history tells."""
        rows = self._database.rows("SELECT event, four, six FROM feed_releases")
        if not rows:
            return NOTHING
        [(event, four, six)] = rows
        since = self._database.rows(_BANNED_SINCE, (event,))
        return Networks(four, six) - lines.read(network for (network,) in since)[0]

    def add(self, networks: Networks, action: str, feed: str, now: int) -> None:
        """Keep these as well, and tell of them in one event."""
        every = self.networks() | networks
        reason = f"feed:{feed}, and {len(networks) - 1:,} other networks of it"
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO history (time, action, network, reason) VALUES (?, ?, ?, ?)",
                (now, action, str(networks[0]), reason),
            )
            self._database.execute("DELETE FROM feed_releases")
            self._database.execute(
                "INSERT INTO feed_releases SELECT max(id), ?, ? FROM history",
                (every.packed(4), every.packed(6)),
            )

    def forget(self, carried: int) -> None:
        """Forget it once each backend has carried out this event of the history."""
        self._database.execute("DELETE FROM feed_releases WHERE event <= ?", (carried,))
