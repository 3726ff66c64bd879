"""The ssh clients from which treason was run: they are protected for some time."""

from reconciler.network import Network
from reconciler.store.database import Database, network_of


class Clients:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def active(self, now: int) -> list[Network]:
        """Return the addresses that are remembered; what is none, somebody else wrote."""
        rows = self._database.rows("SELECT address FROM clients WHERE until > ?", (now,))
        return [network for (text,) in rows if (network := network_of(text))]

    def remember(self, client: Network, until: int, now: int) -> None:
        """Remember an ssh client, and forget those whose time has come (epoch seconds)."""
        with self._database.transaction():
            self._database.execute("DELETE FROM clients WHERE until <= ?", (now,))
            self._database.execute(
                "INSERT INTO clients VALUES (?, ?)"
                " ON CONFLICT (address) DO UPDATE SET until = excluded.until",
                (str(client), until),
            )
