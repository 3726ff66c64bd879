"""Whose connections are still to be closed, and which were."""

from collections.abc import Iterable

from reconciler.model import Closing, Ground
from reconciler.network import Network
from reconciler.store.database import Database, network_of


class Closings:
    """A part of the store. Times are seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def expected(self) -> list[Closing]:
        """Return whose connections are to be closed; what is no network, somebody else wrote."""
        rows = self._database.rows("SELECT network, ground, since FROM closings")
        return [
            Closing(network, Ground(ground), since)
            for text, ground, since in rows
            if (network := network_of(text))
        ]

    def expect(self, closings: Iterable[Closing]) -> None:
        """Remember that these are to be closed, until they are settled."""
        rows = [(str(each.network), each.ground.value, each.since) for each in closings]
        self._database.execute_many("INSERT OR REPLACE INTO closings VALUES (?, ?, ?)", rows)

    def settle(self, closings: Iterable[Closing]) -> None:
        """Forget these: there is no more to close."""
        rows = [(str(each.network), each.ground.value) for each in closings]
        self._database.execute_many("DELETE FROM closings WHERE network = ? AND ground = ?", rows)

    def withdraw(self, networks: Iterable[Network]) -> None:
        """Forget all that was to be closed of these: they are not banned any more."""
        rows = [(str(network),) for network in networks]
        self._database.execute_many("DELETE FROM closings WHERE network = ?", rows)

    def note(self, closed: Iterable[tuple[Network, str]], now: int) -> None:
        """Write into the history what was closed of each network, in words."""
        rows = [(now, str(network), words) for network, words in closed]
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO closed (event, time, network, reason)"
                " SELECT coalesce(max(id), 0), ?, ?, ? FROM history",
                rows,
            )

    def prune(self, closed: int, expected: int) -> None:
        """Delete what was ``closed`` before a time, and what is ``expected`` since before another.

        Where nothing is dropped, or the kernel ends no socket, nothing else would settle it.
        """
        self._database.execute("DELETE FROM closed WHERE time < ?", (closed,))
        self._database.execute("DELETE FROM closings WHERE since < ?", (expected,))

    def orphans_end(self, boot: str) -> bool | None:
        """Return whether the kernel of this boot ends orphans; None if it was not tried."""
        rows = self._database.rows("SELECT orphans_end FROM probes WHERE boot = ?", (boot,))
        return bool(rows[0][0]) if rows else None

    def remember_probe(self, boot: str, *, orphans_end: bool) -> None:
        """Store what was tried in this boot."""
        with self._database.transaction():
            self._database.execute("DELETE FROM probes")
            self._database.execute("INSERT INTO probes VALUES (?, ?)", (boot, orphans_end))
