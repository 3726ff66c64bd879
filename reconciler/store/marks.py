"""Marks: digests of what was last written to files, by which they are known again as ours."""

from typing import Final

from attrs import frozen

from reconciler.store.database import Database

_UPGRADED: Final = ""
"""The object of the row that an older store gets when it is migrated; it kept no marks."""


@frozen
class Mark:
    """The digest of what was written last, and of what was there before; empty if nothing was.

    It is noted before the object is replaced: until that is done, what was before is still there.
    """

    written: str
    before: str = ""


class Marks:
    """A part of the store. Objects have the names that backends give them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def upgraded(self) -> bool:
        """Whether this store wrote before it kept marks."""
        return self.get(_UPGRADED) is not None

    def get(self, subject: str) -> Mark | None:
        """Return what was noted of an object; None if it never was written."""
        rows = self._database.rows("SELECT written, before FROM marks WHERE object = ?", (subject,))
        return Mark(*rows[0]) if rows else None

    def keep(self, subject: str, mark: Mark) -> None:
        """Note what is about to be written."""
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO marks VALUES (?, ?, ?)",
                (subject, mark.written, mark.before),
            )
