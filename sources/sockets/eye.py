"""The way `bpf`: the kernel tells of suspects, and a resident process looks at nobody else.

What it tells is in memory (`candidates`); when a read is worth while, and of whom, is said here.
All sockets are listed once at first, and where the kernel could not tell of each: no way is blind.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import inf
from typing import Final, Protocol

from attrs import define, field

from reconciler import SourceUnreadable, Suspect
from reconciler.lines import counted
from reconciler.netlink import Sockets, TcpSocket
from sources.sockets import suspicion
from sources.sockets.candidates import Candidate, Candidates, Told

_GAP: Final = 0.4
"""Seconds between two reads: each opens the database."""

_SHARE: Final = 20
"""Times longer than a read takes is the pause behind it, at least."""

_SWEEP: Final = 600.0
"""Seconds after which all sockets are listed while suspects are stored: some may be gone."""

_SLEPT: Final = 1.0
"""Seconds of suspend after which nothing that was seen before counts: nobody could answer."""


class Ring(Protocol):
    """How the kernel tells."""

    def fileno(self) -> int:
        """Return what poll(2) finds readable once it has told something."""

    def read(self) -> Sequence[Told]:
        """Return what it has told, without waiting."""

    def lost(self) -> int:
        """Return of how many it could not tell since this was asked last."""

    def close(self) -> None:
        """Let it tell nothing more."""


def opened() -> Ring:
    """Let the kernel tell. Raise `SourceUnreadable` where it cannot, with the reason."""
    from reconciler.bpf import BpfError  # noqa: PLC0415 - a pass needs none of it
    from sources.sockets.tracepoint import Retransmissions  # noqa: PLC0415

    try:
        return Retransmissions()
    except BpfError as error:
        raise SourceUnreadable(error.what, error.hint) from None


def asleep() -> float:
    """Return for how many seconds the machine was suspended since boot, plus a constant."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


@define(eq=False)
class Eye:
    """Knows whom to look at. ``uptime`` and ``slept`` are seconds; ``closely``: lists are due, too.

    One thread may call `heed` while another reads.
    """

    ring: Ring
    candidates: Candidates
    open_sockets: Callable[[], Sockets]
    uptime: Callable[[], float]
    slept: Callable[[], float] = asleep
    closely: Callable[[], float | None] = lambda: None
    _turn: threading.RLock = field(factory=threading.RLock, init=False)
    _sockets: Sockets | None = field(default=None, init=False)
    _doubted: bool = field(default=True, init=False)
    _reading: bool = field(default=False, init=False)
    _awake_since: float = field(default=-inf, init=False)
    _asleep: float | None = field(default=None, init=False)
    _begun: float = field(default=-inf, init=False)
    _listed: float = field(default=-inf, init=False)
    _took: float = field(default=0.0, init=False)
    _lost: int = field(default=0, init=False)
    _stored: int = field(default=0, init=False)

    def heed(self) -> float:
        """Take what the kernel tells, and look; return in how many seconds to do so again.

        0: it is time to read.
        """
        with self._turn:
            now = self.uptime()
            told = self.ring.read()
            if lost := self.ring.lost():
                self._lost += lost
                self._doubted = True
            self._notice_sleep(now)
            self.candidates.hear(told, now)
            self.candidates.look(self._opened, now)
            return self.wait()

    def wait(self) -> float:
        """Return in how many seconds to heed, or to read if that is 0; inf: once it wakes."""
        with self._turn:
            now = self.uptime()
            read = min(0.0 if self.candidates.ripe else inf, self._until_list(now))
            read = max(read, self._begun + max(_GAP, _SHARE * self._took) - now, 0.0)
            return min(read, self.candidates.wait(now))

    def begin(self) -> list[Candidate] | None:
        """Return whom a read is to look at; None: at all sockets.

        Where a read had no `end`, all are listed next: nobody knows what it has missed.
        """
        with self._turn:
            self._begun = now = self.uptime()
            if self._reading:
                self._doubted, self._listed = True, -inf
            self._reading = True
            if self._until_list(now) > 0:
                return self.candidates.worth_a_look()
            self._listed, self._doubted, self.candidates.full = now, False, False
            return None

    def end(
        self,
        looked: Sequence[Candidate] | None,
        found: Mapping[str, Suspect],
        aside: Collection[str],
    ) -> None:
        """Take what a read has found, of those that it looked at, and which it left alone."""
        with self._turn:
            now = self.uptime()
            self._took, self._reading = now - self._begun, False
            each = [*self.candidates.seen()] if looked is None else looked
            self.candidates.settle(each, found, aside, now)
            if looked is None:
                self.candidates.adopt(found.values(), now)
            self._stored = len(found)

    def recall(self, stored: Mapping[str, Suspect]) -> None:
        """Take what is stored."""
        with self._turn:
            self.candidates.recall(stored)

    def known(self) -> dict[str, Suspect]:
        """Return what is suspected, by the names of the sockets."""
        with self._turn:
            return self.candidates.known()

    def unripe(self, but: Collection[str]) -> Iterator[tuple[TcpSocket, Suspect]]:
        """Yield what is suspected still of all ``but`` these, as another look finds it now."""
        sockets = self.open_sockets()
        for thing, suspect in self.known().items():
            one = None if thing in but else sockets.exact(suspicion.named(thing))
            if one is not None and one.is_over:
                yield one, suspect

    def counts(self, suspect: Suspect) -> bool:
        """Whether what is stored of a suspect counts: not what began before a suspend."""
        with self._turn:
            return suspect.judged or suspect.since >= self._awake_since

    def told(self) -> str:
        """Return how it sees, in a few words."""
        lost = counted(self._lost, "event")
        return f"bpf; {lost} lost, and made up for by lists" if self._lost else "bpf"

    def close(self) -> None:
        """Let the kernel tell nothing more."""
        with self._turn:
            self.ring.close()
            if self._sockets is not None:
                self._sockets.close()
                self._sockets = None

    def _opened(self) -> Sockets:
        if self._sockets is None:
            self._sockets = self.open_sockets()
        return self._sockets

    def _until_list(self, now: float) -> float:
        """Return in how many seconds all sockets are to be listed."""
        half = self.candidates.lasting / 2
        waits = [half] if self._doubted or self.candidates.full else []
        waits += [_SWEEP] if self._stored else []
        if (closely := self.closely()) is not None:
            waits.append(closely)
        return max(0.0, self._listed + min(waits) - now) if waits else inf

    def _notice_sleep(self, now: float) -> None:
        before, self._asleep = self._asleep, self.slept()
        if before is not None and self._asleep - before > _SLEPT:
            self.candidates.forget()
            self._doubted, self._awake_since = True, now
