"""What the journal is waited for by: a journalctl that goes on printing what comes."""

from collections.abc import Iterator
from typing import Final

from reconciler import TreasonError
from sources import export
from sources.export import Entry
from sources.journal.journalctl import Journalctl

_MOST: Final = 1 << 24
"""Bytes that are taken at once; what is left wakes again."""

_HELD: Final = 1 << 20
"""Bytes of an entry that is not whole: the kernel's have a few thousand."""


class Follower:
    """Takes the entries that come from a place on, without waiting."""

    def __init__(self, journalctl: Journalctl, start: str, *matches: str) -> None:
        """Start it; ``start`` is an argument. Raise `SourceUnreadable` where that cannot be."""
        self._journalctl = journalctl
        self._program = journalctl.follow(start, *matches)
        self._held = b""

    def fileno(self) -> int:
        """Return the descriptor that is readable once something came, or it has ended."""
        return self._program.fileno()

    def entries(self) -> Iterator[Entry]:
        """Yield those that came whole. Raise `SourceUnreadable` once it has ended."""
        try:
            came = self._program.take(_MOST)
        except TreasonError as error:
            raise self._journalctl.unreadable([error.what], error.hint) from None
        rest = yield from export.entries([self._held + came])
        if rest.length > _HELD:
            raise self._journalctl.unreadable(["journalctl printed something that is not an entry"])
        self._held = rest.text

    def close(self) -> None:
        """End it."""
        self._program.close()
