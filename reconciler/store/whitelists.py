"""What the whitelists held that commands write: one that is gone is not an empty one."""

from pathlib import Path

from reconciler.store.database import Database


class Whitelists:
    """A part of the store, by the files' paths."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def text(self, path: Path) -> str:
        """Return what the file held when it was last seen; empty if it never was."""
        rows = self._database.rows("SELECT content FROM whitelists WHERE path = ?", (_name(path),))
        return str(rows[0][0]) if rows else ""

    def remember(self, path: Path, text: str) -> None:
        """Store what the file holds, if that is news."""
        if self.text(path) == text:
            return
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO whitelists VALUES (?, ?)", (_name(path), text)
            )


def _name(path: Path) -> str:
    return str(path.resolve()).encode(errors="surrogateescape").decode(errors="backslashreplace")
