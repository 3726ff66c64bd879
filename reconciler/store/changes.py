"""What each backend was last known to hold, and the bans that have changed since.

The database notes every change of a ban by itself (`reconciler.store.schema`), so also those
that another program makes. Asking costs as much as there are changes, however many bans there are.
"""

import json
from typing import Final

from attrs import astuple, frozen

from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.database import Database
from reconciler.store.schema import TRIGGERS

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
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def revision(self) -> int:
        """The number of the last change of a ban; none is counted while nothing is verified."""
        [(number,)] = self._database.rows("SELECT coalesce(max(revision), 0) FROM changes")
        return int(number)

    @property
    def version(self) -> int:
        """A number that changes when another connection writes (SQLite's data_version)."""
        [(number,)] = self._database.rows("PRAGMA data_version")
        return int(number)

    def verified(self, backend: str) -> Verified | None:
        """Return what was verified last of this backend.

        None if nothing was, or if not every change since is noted for certain: the last one of
        then, or one of them, is gone, or a trigger that notes them is.
        """
        rows = self._database.rows(
            "SELECT fingerprint, digest, revision, time, read, enforced FROM verified"
            " WHERE backend = ? AND (revision, token) IN (SELECT revision, token FROM changes)"
            " AND (SELECT count(*) = max(revision) - min(revision) + 1 FROM changes)"
            " AND (SELECT seq FROM sqlite_sequence WHERE name = 'changes')"
            " IS (SELECT max(revision) FROM changes)"
            " AND (SELECT count(*) FROM sqlite_master"
            " WHERE type = 'trigger' AND name IN (SELECT value FROM json_each(?))) = ?",
            (backend, json.dumps(TRIGGERS), len(TRIGGERS)),
        )
        return Verified(*rows[0]) if rows else None

    def begin(self, backend: str, now: int) -> None:
        """Let changes be noted from now on, though nothing of this backend is verified yet."""
        with self._database.transaction():
            if not self.revision:  # somebody deleted them all
                self._count()
            self._database.execute(
                "INSERT OR IGNORE INTO verified SELECT ?, '', '', revision, ?, ?, 0, token"
                " FROM changes ORDER BY revision DESC LIMIT 1",
                (backend, now, now),
            )

    def verify(self, backend: str, verified: Verified) -> None:
        """Remember what was verified, unless a ban has changed since its revision.

        The change of that number stays noted for as long as it counts: so the numbers go on from
        it, and are not believed once it is gone.
        """
        with self._database.transaction():
            if self.revision != verified.revision:
                return
            self._database.execute(
                "INSERT OR REPLACE INTO verified SELECT ?, ?, ?, ?, ?, ?, ?, token FROM changes"
                " WHERE revision = ?",
                (backend, *astuple(verified), verified.revision),
            )
            self._prune()

    def forget(self, before: int) -> None:
        """Forget what was read before this time, and the changes that nobody asks for any more.

        More than `KEPT` are not kept, however long nothing is verified.
        """
        old = self.revision - KEPT
        if self._database.rows(
            "SELECT 1 FROM verified WHERE read < ?"
            " UNION ALL SELECT 1 FROM changes WHERE revision <= ? LIMIT 1",
            (before, old),
        ):
            with self._database.transaction():
                self._database.execute("DELETE FROM verified WHERE read < ?", (before,))
                self._database.execute("DELETE FROM changes WHERE revision <= ?", (old,))
                self._prune()

    def doubt(self) -> None:
        """Forget what was verified: the bans that it was verified with are not all to be read."""
        self._database.execute("DELETE FROM verified")

    def leave_out(self) -> None:
        """Note nothing of very much that changes; whoever knows an earlier revision looks anew."""
        with self._database.transaction():
            self.doubt()
            self._count()

    def touched(self, since: Verified, now: int) -> dict[Network, str | None] | None:
        """Return the networks whose bans may have changed, and the origin of the ban there was.

        Those are the ones noted and those that ended; None: there was no ban then. None for all of
        it: somebody noted what is no network.
        """
        ended = self._database.rows(
            "SELECT key, origin FROM bans WHERE until > ? AND until <= ?", (since.time, now)
        )
        noted = self._database.rows(  # with min(), SQLite takes origin from that very row
            "SELECT key, origin, min(revision) FROM changes WHERE revision > ? AND NOT feed"
            " GROUP BY key",
            (since.revision,),
        )
        rows = [(key, origin) for key, origin, *_ in (*ended, *noted) if key]
        if not all(Network.is_key(key) for key, _ in rows):
            return None
        return {Network.of_key(key): origin for key, origin in rows}

    def touched_by_feeds(self, since: Verified) -> dict[Network, bool] | None:
        """Return the networks that feeds may hold since, or not any more, and whether they did.

        None as above.
        """
        rows = self._database.rows(  # with min(), as above
            "SELECT key, origin IS NOT NULL, min(revision) FROM changes"
            " WHERE revision > ? AND feed GROUP BY key",
            (since.revision,),
        )
        if not all(Network.is_key(key) for key, *_ in rows):
            return None
        return {Network.of_key(key): bool(held) for key, held, _ in rows}

    def note(self, held: Networks, released: Networks) -> None:
        """Note what feeds hold from now on, and what they do not any more.

        Of very many nothing is noted: the next pass reads everything.
        """
        if len(held) + len(released) > KEPT:
            self.leave_out()
        elif self._database.rows("SELECT 1 FROM verified LIMIT 1"):
            self._database.execute_many(
                "INSERT INTO changes (key, origin, feed) VALUES (?, ?, 1)",
                [(each.key, None) for each in held] + [(each.key, "feed") for each in released],
            )

    def _count(self) -> None:
        """Let there be a revision more, of no network."""
        self._database.execute("INSERT INTO changes (key) VALUES (x'')")

    def _prune(self) -> None:
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM changes"
                " WHERE revision < coalesce((SELECT min(revision) FROM verified), ?)",
                (self.revision,),
            )
