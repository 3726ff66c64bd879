"""The ruleset as others change it too: reads that are of one moment, commits that overwrite nobody.

Every commit in the network namespace, by whatever program, has a number, the generation. A commit
of ours is made for the generation that was read; the kernel refuses it when there was another one
since. Then the events tell whether that one touched our table: if not, or if it only added
elements, as the daemon does all the time while it is attacked, ours is sent again; then the table
has to be read to know what it holds. A heavy commit has no events to tell: the table is read again,
and compared with what was read before.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from reconciler import BackendFailed, BackendUnreadable, TreasonError
from reconciler.netlink import (
    NFTABLES,
    NFTABLES_EVENTS,
    AnswerLost,
    Connection,
    Message,
    Stale,
    attributes,
    generation,
)

T = TypeVar("T")

INET: Final = 1  # NFPROTO_INET
NAME: Final = "treason"
TABLE_NAME: Final = 1  # NFTA_TABLE_NAME, and NFTA_*_TABLE of what is in it
_NEW_ELEMENTS: Final = NFTABLES << 8 | 12  # NFT_MSG_NEWSETELEM
_OURS: Final = f"{NAME}\0".encode()

_ATTEMPTS: Final = 100
"""How often a commit is made that others forestall without touching our table."""

_READS: Final = 20
"""How often the table is read that others change meanwhile, or whose lists they interrupt."""

HEAVY: Final = 1 << 18
"""Bytes of a transaction above which we do not listen while it is made: the kernel tells a listener
of each element, which takes it 20 s for a million of them, and 1 s if nobody listens."""

_QUIET: Final = 10
"""How often a heavy transaction is tried without listening. Its bytes take long to reach the kernel
(a million elements 30 ms), and busy neighbours forestall it; then it is slow, but gets through."""

_SETTLING: Final = 0.2
"""Seconds to wait for the events of a commit that is just being made."""

_HINT: Final = "the next pass tries again; `nft monitor` shows who changes what"


class Ruleset:
    """The namespace's ruleset, and the generation of it that is known.

    ``grown`` says that somebody has added elements to our table since it was read.
    """

    def __init__(self) -> None:
        self.connection = Connection()
        self._events: Connection | None = None
        self._generation = 0
        self.grown = False
        self._found: object = None  # in our table, when it was read

    def generation(self) -> int:
        """Return the present generation, for which the next commit will be."""
        self._listen()
        self._generation = self.connection.generation()
        return self._generation

    def read(self, look: Callable[[], T]) -> T:
        """Return what ``look`` reads when our table did not change meanwhile.

        Raise `BackendUnreadable` when it does all the time.
        """
        for _ in range(_READS):
            self.grown = False
            self.generation()
            try:
                found = look()
            except Stale:  # a list was cut short by a commit, perhaps to another table
                continue
            except TreasonError:  # perhaps of what was just being deleted
                if self._undisturbed():
                    raise
            else:
                if self._undisturbed():
                    self._found = found
                    return found
        raise BackendUnreadable(
            "nftables: another program keeps changing the table inet treason", _HINT
        )

    def commit(self, messages: Sequence[Message], look: Callable[[], object]) -> None:
        """Carry out the messages as one transaction on what was read, or raise `BackendFailed`.

        ``look`` reads it.
        """
        heavy = sum(len(each.body) for each in messages) > HEAVY
        for attempt in range(_ATTEMPTS):
            quietly = heavy and attempt < _QUIET
            try:
                self.connection.commit(messages, partial(self._readied, quietly))
            except Stale:
                self._expect(self._undisturbed() if self._events else self._unchanged(look))
            else:
                self._deaf()
                self._generation += 1
                return
        raise BackendFailed("nftables: other programs keep changing the ruleset", _HINT)

    def is_ours(self) -> bool:
        """Whether nobody has changed the ruleset since our last commit."""
        return self.connection.generation() == self._generation

    def _listen(self) -> None:
        """Listen to what happens from now on."""
        self._deaf()
        self._events = Connection([NFTABLES_EVENTS])

    def _deaf(self) -> None:
        """Listen no more."""
        if self._events is not None:
            self._events.close()
        self._events = None

    def _readied(self, quietly: bool) -> int:
        """Return the generation to commit for; ``quietly`` listens no longer."""
        if quietly:
            self._expect(self._undisturbed())
            self._deaf()
        return self._generation

    def _unchanged(self, look: Callable[[], object]) -> bool:
        """Whether our table, read again, is as it was read before."""
        again = Ruleset()
        if self._found is None or again.read(look) != self._found:
            return False
        self._events, self._generation = again._events, again._generation
        self.grown = again.grown
        return True

    def _expect(self, undisturbed: bool) -> None:
        if not undisturbed:
            raise BackendFailed(
                "nftables: another program changed the table inet treason at the same time", _HINT
            )

    def _undisturbed(self) -> bool:
        """Whether our table is as it was read; then the known generation is the present one.

        The events of a commit come after the generation has risen, and end with its number.
        """
        if self._events is None:  # then any commit since may have been to our table
            self._listen()
            return self.connection.generation() == self._generation
        try:
            for _ in range(_ATTEMPTS):
                if self._touched(self._events.events()):
                    break
                if self.connection.generation() == self._generation:
                    return True
                self._events.wait(_SETTLING)
        except AnswerLost:
            pass  # of the events
        self._deaf()  # what comes later does not tell
        return False

    def _touched(self, events: Iterator[Message]) -> bool:
        """Whether the events tell of more than elements that were added to our table.

        Until then they tell the generation.
        """
        for event in events:
            announced = generation(event)
            if announced is not None:
                self._generation = announced
            elif event.family == INET and dict(attributes(event.body))[TABLE_NAME] == _OURS:
                if event.kind != _NEW_ELEMENTS:
                    return True
                self.grown = True
        return False
