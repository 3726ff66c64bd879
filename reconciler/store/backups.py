"""When the last backup was made, and where it was written to."""

from attrs import frozen

from reconciler.store.database import Database


@frozen
class Backup:
    """A copy that was made at ``time`` (epoch seconds); its file may have been moved since."""

    time: int
    path: str


class Backups:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> Backup | None:
        """Return the last one that was noted."""
        rows = self._database.rows("SELECT time, path FROM backup ORDER BY time DESC LIMIT 1")
        return Backup(*rows[0]) if rows else None

    def note(self, backup: Backup) -> None:
        """Note the last one."""
        with self._database.transaction():
            self._database.execute("DELETE FROM backup")
            self._database.execute("INSERT INTO backup VALUES (?, ?)", (backup.time, backup.path))
