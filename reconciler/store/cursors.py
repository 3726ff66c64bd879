"""Cursors: up to where each source was read."""

from reconciler.store.database import Database


class Cursors:
    """A part of the store. A cursor is the source's own text; nobody else reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, source: str) -> str | None:
        """Return the position up to which the source was read; None if it never was."""
        rows = self._database.rows("SELECT cursor FROM cursors WHERE source = ?", (source,))
        return str(rows[0][0]) if rows else None

    def sources(self) -> tuple[str, ...]:
        """Return the names of the sources that have a cursor, sorted."""
        rows = self._database.rows("SELECT source FROM cursors ORDER BY source")
        return tuple(str(source) for (source,) in rows)

    def move(self, source: str, cursor: str | None, now: int) -> None:
        """Store the position behind what was read; None leaves it where it is.

        When it moved to another one last is kept.
        """
        if cursor is None:
            return
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO cursors (source, cursor, moved) VALUES (?, ?, ?)"
                " ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor,"
                " moved = iif(cursor = excluded.cursor, moved, excluded.moved)",
                (source, cursor, now),
            )
