"""The one connection of a feed: made anew whenever it is lost, and what of it is waited for."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from feeds.postgresql import PostgresqlSettings, connecting, reading
from feeds.postgresql.failures import Lost, Refused, Silent, is_down, unreadable
from feeds.postgresql.hearing import LATE, POOLED, Ear
from feeds.postgresql.session import Session
from feeds.postgresql.waking import Waking
from reconciler import FeedUnreadable

T = TypeVar("T")

_EACH, _MOST = 0.0005, 0.5
"""Seconds before reading for each member that listens, and at most: or all would ask at once."""

_EACH_AGAIN, _MOST_AGAIN = 0.005, 5.0
"""Likewise, before connecting again."""

_FIRST, _AGAIN = 0.25, 1.0
"""Seconds until the first and each later try to connect."""

_HOPELESS, _LATEST = 5.0, 60.0
"""Likewise, where time alone does not help: twice as many each time, at most."""

_ASKED: Final = 30.0
"""Seconds after which the clock is read though nothing was told: that may have been lost."""

_EACH_DEAF, _LEAST_DEAF = 0.03, 2.0
"""Seconds for each member, and at least, where nothing is told at all."""


class Link:
    """A session with the fleet's database, what is heard by it, and what wakes who waits for it.

    ``members`` is how many listen. ``sleep`` waits, ``chance`` gives a number from 0 to 1.
    """

    def __init__(
        self,
        settings: PostgresqlSettings,
        sleep: Callable[[float], object],
        chance: Callable[[], float],
    ) -> None:
        self._settings, self._sleep, self._chance = settings, sleep, chance
        self._session: Session | None = None
        self._waking: Waking | None = None
        self._listens = False
        self._failed = 0
        self._hopeless = False
        self._asked = 0.0
        self.members = 0
        self.ear = Ear()

    @property
    def pause(self) -> float:
        """Seconds after which is asked though nothing was told."""
        if self.ear.deaf:
            return min(max(_EACH_DEAF * self.members, _LEAST_DEAF), _ASKED)
        return LATE if self.ear.is_unsure else _ASKED

    def reached(self, work: Callable[[Session], T]) -> T:
        """Return what ``work`` gives, which is done again where the connection was lost meanwhile.

        Raise `FeedUnreadable`.
        """
        self._failed += 1
        self._hopeless = False
        try:
            result = self._reached(work)
            self._failed = 0
        except (Lost, Refused) as error:
            self._hopeless = not is_down(error)
            raise unreadable(connecting.place(self._settings), error) from None
        finally:
            self.settle()
        return result

    def asking(self, session: Session, read: int) -> bool:
        """Take what woke, before all is read behind the tick ``read``; return whether any did.

        Who was woken waits for a moment, as all others were woken as well.
        """
        if self._waking and not self._listens:
            self.ear.begin(read)
            self.ear.deaf = reading.listen(session) or (POOLED if session.is_pooled else "")
            self._listens = True
        self.ear.hear(session.take(), session.pid)
        woken = self.ear.has_more
        if woken:
            self._sleep(self._chance() * min(_EACH * self.members, _MOST))
        self._asked = time.monotonic()
        return woken

    def settle(self) -> None:
        """See to it that whatever came meanwhile wakes, also what libpq has read already."""
        session, waking = self._session, self._waking
        if session and session.is_open:
            with suppress(Lost):
                self.ear.hear(session.take(), session.pid)
        if waking is None:
            return
        now = time.monotonic()
        if session is None or not session.is_open:
            waking.hear(None)
            waking.due(self._until_tried())
        elif self.ear.muted > now:
            waking.hear(None)
            waking.due(self.ear.muted - now)
        else:
            waking.hear(session.fileno())
            at_once = self.ear.has_more or not self._listens
            waking.due(0.0 if at_once else self._asked + self.pause - now)

    def fileno(self) -> int:
        """Return what is waited for. Raise `FeedUnreadable`."""
        if self._waking is None:
            try:
                self._waking = Waking()
            except OSError as error:
                raise FeedUnreadable(
                    f"cannot wait for the fleet: {error.strerror}", "raise the limit of open files"
                ) from None
            self._waking.due(0.0)
        return self._waking.fileno()

    def close(self) -> None:
        """Close the session, and what waits for it."""
        if self._waking:
            self._waking.close()
        if self._session:
            self._session.close()
        self._waking = self._session = None
        self._listens = False

    def _reached(self, work: Callable[[Session], T]) -> T:
        if self._session and self._session.is_open:
            try:
                return work(self._session)
            except Silent:
                raise
            except Lost:
                self._sleep(self._spread())
        self._listens = False
        if self._waking:
            self._waking.hear(None)
        self._session = connecting.connected(self._settings)
        return work(self._session)

    def _spread(self) -> float:
        """Return the seconds for which this member waits before connecting again, as all others."""
        return self._chance() * min(_EACH_AGAIN * self.members, _MOST_AGAIN)

    def _until_tried(self) -> float:
        if self._hopeless:
            return min(_HOPELESS * (1 << min(self._failed - 1, 8)), _LATEST)
        return (_AGAIN if self._failed > 1 else _FIRST) + self._spread()
