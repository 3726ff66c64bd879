"""What each backend was last known to hold, and the bans that have changed since.

The database notes every change of a ban by itself (`reconciler.store.migrations`), so also those
that another program makes. Asking costs as much as there are changes, however many bans there are.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from reconciler.network import Network
from reconciler.store.database import told

KEPT: Final = 20_000
"""Changes that are kept; with more of them reading everything is faster."""


@frozen
class Verified:
    """A backend's last verified pass.

    It was at ``time``, the last that read all of the backend at ``read`` (epoch seconds).
    ``digest`` stands for all that is desired besides the bans; these were of ``revision``.
    ``enforced`` counts the networks that were dropped.
    """

    fingerprint: str
    digest: str
    revision: int
    time: int
    read: int
    enforced: int


class Changes:
    """A part of the store, in the same database."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        transaction: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._connection = connection
        self._path = path
        self._transaction = transaction

    @property
    def revision(self) -> int:
        """The number of the last change of a ban; none is counted while nothing is verified."""
        with told(self._path):
            row = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'changes'"
            ).fetchone()
            return int(row[0]) if row else 0

    def verified(self, backend: str) -> Verified | None:
        """Give what was verified last of this backend."""
        with told(self._path):
            row = self._connection.execute(
                "SELECT fingerprint, digest, revision, time, read, enforced FROM verified"
                " WHERE backend = ?",
                (backend,),
            ).fetchone()
            return None if row is None else Verified(*row)

    @property
    def version(self) -> int:
        """A number that changes when another connection writes (SQLite's data_version)."""
        [[number]] = self._rows("PRAGMA data_version", ())
        return int(number)

    def begin(self, backend: str, now: int) -> None:
        """Let changes be noted from now on, though nothing of this backend is verified yet."""
        with self._transaction():
            self._connection.execute(
                "INSERT OR IGNORE INTO verified VALUES (?, '', '', 0, ?, ?, 0)",
                (backend, now, now),
            )

    def verify(self, backend: str, verified: Verified) -> None:
        """Remember what was verified."""
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO verified VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    backend, verified.fingerprint, verified.digest, verified.revision,
                    verified.time, verified.read, verified.enforced,
                ),
            )  # fmt: skip
            self._prune()

    def forget(self, before: int) -> None:
        """Forget what was read before this time, and the changes that nobody asks for any more.

        More than `KEPT` are not kept, however long nothing is verified.
        """
        old = self.revision - KEPT
        if self._rows(
            "SELECT 1 FROM verified WHERE read < ?"
            " UNION ALL SELECT 1 FROM changes WHERE revision <= ? LIMIT 1",
            (before, old),
        ):
            with self._transaction():
                self._connection.execute("DELETE FROM verified WHERE read < ?", (before,))
                self._connection.execute("DELETE FROM changes WHERE revision <= ?", (old,))
                self._prune()

    def touched(self, since: Verified, now: int) -> dict[Network, str | None]:
        """Give the networks whose bans may have changed, and the origin of the ban there was.

        Those are the ones noted and those that ended; None: there was no ban then.
        """
        values = {"revision": since.revision, "time": since.time, "now": now}
        ended = self._rows(
            "SELECT key, origin FROM bans WHERE until > :time AND until <= :now", values
        )
        noted = self._rows(  # with min(), SQLite takes origin from that very row
            "SELECT key, origin, min(revision) FROM changes WHERE revision > :revision"
            " GROUP BY key",
            values,
        )
        return {Network.of_key(key): origin for key, origin, *_ in (*ended, *noted) if key}

    def inside(self, network: Network, now: int) -> list[tuple[Network, str]]:
        """Give the active bans of this network and of networks inside it, with their origins."""
        values = {"first": network.key, "last": Network(network.end).key, "now": now}
        rows = self._rows(
            "SELECT DISTINCT key, origin FROM bans WHERE key BETWEEN :first AND :last"
            " AND (until IS NULL OR until > :now)",
            values,
        )
        return [(Network.of_key(key), origin) for key, origin in rows]

    def around(self, network: Network, now: int) -> list[tuple[Network, str]]:
        """Give the active bans of this network and of wider ones that hold it."""
        wider = [each.key for each in (*network.supernets, network)]
        marks = ", ".join("?" * len(wider))
        rows = self._rows(
            f"SELECT key, origin FROM bans WHERE key IN ({marks})"  # noqa: S608 - question marks
            " AND (until IS NULL OR until > ?)",
            (*wider, now),
        )
        return [(Network.of_key(key), origin) for key, origin in rows]

    def _rows(self, query: str, values: Mapping[str, object] | Sequence[object]) -> list[Any]:
        with told(self._path):
            return self._connection.execute(query, values).fetchall()

    def _prune(self) -> None:
        self._connection.execute(
            "DELETE FROM changes"
            " WHERE revision <= coalesce((SELECT min(revision) FROM verified), revision)"
        )
