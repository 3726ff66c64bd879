"""Whether anybody has changed the ruleset, by its generation's number: nothing is listened to."""

from typing import Final

from reconciler.netlink import Connection

FEW: Final = 1 << 14
"""Elements of a set that are read, in 4 ms, where others may have put some into it; above, a pass
is to read them."""


class Generations:
    """What `Events` tells, without events: nobody is named, and any set may have been changed.

    A commit anywhere in the ruleset, of whatever table, gives it another generation.
    """

    filled: set[str] | None = None
    touched: set[str] | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen = 0  # which no ruleset has

    def fileno(self) -> int:
        """Return no descriptor: there is nothing to wait for."""
        return -1

    def listen(self) -> bool:
        """Return that nothing more is heard than before."""
        return False

    def deaf(self) -> None:
        """Do nothing: nothing is heard."""

    def ring(self) -> None:
        """Let the next one who asks be told that something has changed."""
        self._seen = 0

    def begin(self) -> None:
        """Take the ruleset as it is now for seen: all of it is looked at next."""
        self._seen = self._connection.generation()

    def forget(self) -> None:
        """Do nothing: what was looked at is seen since `begin`."""

    def committed(self, generation: int) -> None:
        """Take a commit of ours for seen that was made for a generation; 0 stands for any."""
        if generation and self._seen == generation:
            self._seen += 1

    def doubts(self, _name: str, number: int) -> bool:
        """Whether elements are to be read of a set of so many: of many the number alone is told."""
        return number <= FEW

    def are_waiting(self) -> bool:
        """Whether somebody has changed the ruleset."""
        return self._connection.generation() != self._seen

    def others(self) -> set[int]:
        """Return 0, for somebody unknown, where somebody has changed the ruleset."""
        return {0} if self.are_waiting() else set()

    def close(self) -> None:
        """Do nothing: nothing is open."""
