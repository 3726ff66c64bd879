"""What others do to our table, as the kernel tells it. What they do elsewhere wakes nobody."""

import errno
import os
import select
from contextlib import suppress
from typing import Final

from backends.nftables.ruleset import INET, NAME, TABLE_NAME
from backends.nftables.statements import (
    DELETE_ELEMENT,
    DELETE_SET,
    DELETE_TABLE,
    NEW_ELEMENT,
    NEW_SET,
    NEW_TABLE,
)
from reconciler.netlink import (
    MESSAGES,
    NFTABLES_EVENTS,
    AnswerLost,
    Connection,
    Message,
    NetlinkError,
    about_table,
    attributes,
    refusal,
    text,
)

_OURS: Final = text(TABLE_NAME, NAME)
_MAKING: Final = {NEW_TABLE, DELETE_TABLE, NEW_SET, DELETE_SET}
_SET: Final = 2  # NFTA_SET_ELEM_LIST_SET
_ENOUGH: Final = 256
"""Events that are looked at once one was found to be of our table: there may be a million more."""


class Events:
    """A descriptor that is readable once somebody else may have changed our table.

    It stays the same while the socket behind it comes and goes. ``touched`` are the names of sets
    whose elements others have changed, ``filled`` of those into which they have put some: these may
    stand in the place of ours. None stands for any set, where not all was heard.
    """

    def __init__(self, own: int) -> None:
        """Listen to all but the socket with the port id ``own``, once `listen` is called.

        Raise `NetlinkError`.
        """
        self._filters = [about_table(NAME, but_of=own, messages=most) for most in MESSAGES]
        try:
            self._poll = select.epoll()
            self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError as error:
            raise refusal(error.errno or 0) from None
        self._poll.register(self._bell, select.EPOLLIN)
        self._connection: Connection | None = None
        self.filled: set[str] | None = set()
        self.touched: set[str] | None = None

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._poll.fileno()

    def listen(self) -> bool:
        """Hear what happens from now on; return whether nothing was heard until now."""
        if self._connection is not None:
            return False
        self._connection = self._opened()
        self._poll.register(self._connection, select.EPOLLIN)
        return True

    def deaf(self) -> None:
        """Hear nothing any more, not even what was told and not taken."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def ring(self) -> None:
        """Wake whoever waits: it cannot be told what happened."""
        self.touched = None
        os.eventfd_write(self._bell, 1)

    def begin(self) -> None:
        """Do nothing: what was heard before a look stays to be taken."""

    def committed(self, generation: int) -> None:
        """Do nothing: of our own commits nothing is heard."""

    def doubts(self, name: str, _number: int) -> bool:
        """Whether elements of others may stand in the place of ours in a set."""
        return self.filled is None or name in self.filled

    def forget(self) -> None:
        """Take all sets for what they are to be: they were looked at."""
        self.filled = set()
        self.touched = set()

    def are_waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._poll.poll(0))

    def others(self) -> set[int]:
        """Return the port ids of those who changed our table, 0 for somebody unknown.

        The first of them are named; once there is more to hear than that, it is heard no more.
        """
        found = set[int]()
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
            found.add(0)
        if self._connection is not None:
            try:
                found |= self._told(self._connection)
            except AnswerLost:
                found.add(0)
                self._hear_no_more()
        return found

    def close(self) -> None:
        """Close the descriptor."""
        self.deaf()
        self._poll.close()
        os.close(self._bell)

    def _told(self, connection: Connection) -> set[int]:
        found = set[int]()
        for number, event in enumerate(connection.events()):
            if event.family == INET and event.body.startswith(_OURS):
                found.add(event.port)
                self._note(event)
            if found and number >= _ENOUGH:
                self._hear_no_more()
                break
        return found

    def _note(self, event: Message) -> None:
        """Note which set an event tells of; what makes or deletes sets may concern any."""
        kind = event.kind & 0xFF
        if kind in {NEW_ELEMENT, DELETE_ELEMENT}:
            name = dict(attributes(event.body))[_SET].rstrip(b"\0").decode(errors="replace")
            if self.touched is not None:
                self.touched.add(name)
            if self.filled is not None and kind == NEW_ELEMENT:
                self.filled.add(name)
        elif kind in _MAKING:
            self.touched = None

    def _opened(self) -> Connection:
        """Open a socket with the longest filter that there is memory for."""
        while True:
            try:
                return Connection([NFTABLES_EVENTS], let_through=self._filters[0])
            except NetlinkError as error:
                if error.code != errno.ENOMEM or len(self._filters) == 1:
                    raise
                self._filters.pop(0)

    def _hear_no_more(self) -> None:
        self.deaf()
        self.filled = None
        self.touched = None
