"""The pause: a mark that lets nothing be enforced, until its end or until it is taken away."""

from typing import Final

from attrs import frozen

from reconciler.store.database import Database

_AHEAD: Final = 86400
"""Seconds by which the time that is believed may be behind what was stored before a boot."""

# A mark that says something impossible is not a pause: it ends before it begins, or begins in a
# time that is far away.
_COUNTS: Final = "(until IS NULL OR (until > since AND until > ?1)) AND since <= ?1 + ?2"
_PAST: Final = f"FROM pause WHERE NOT ({_COUNTS})"


@frozen
class Pause:
    """Nothing is enforced ``since`` and ``until`` then (epoch seconds; None: until `resume`)."""

    since: int
    until: int | None


class Pauses:
    """A part of the store. Should somebody have stored several marks, the last to end counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def active(self, now: int) -> Pause | None:
        """Return the pause that counts now; None if none does."""
        rows = self._database.rows(
            f"SELECT since, until FROM pause WHERE {_COUNTS}"  # noqa: S608 - constants
            " ORDER BY until IS NOT NULL, until DESC LIMIT 1",
            (now, _AHEAD),
        )
        return Pause(*rows[0]) if rows else None

    def begin(self, pause: Pause) -> None:
        """Store a pause, in the place of any other."""
        with self._database.transaction():
            self._database.execute("DELETE FROM pause")
            self._database.execute("INSERT INTO pause VALUES (?, ?)", (pause.since, pause.until))

    def end(self) -> None:
        """Let the mark be over, whatever it says; it stays until a pass follows."""
        self._database.execute("UPDATE pause SET until = since")

    def is_over(self, now: int) -> bool:
        """Whether there is a mark that does not count any more: no pass has followed it yet."""
        return bool(self._database.rows(f"SELECT 1 {_PAST} LIMIT 1", (now, _AHEAD)))

    def tidy(self, now: int) -> None:
        """Take away what does not count any more."""
        if self.is_over(now):
            self._database.execute(f"DELETE {_PAST}", (now, _AHEAD))
