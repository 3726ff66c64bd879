"""What notifications are worth: anybody who may connect can send one, and some never arrive.

An honest one says where the fleet's clock stands, and each tick is told once, in order.
"""

import re
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from feeds.postgresql.session import Notification

_TICK: Final = re.compile(rb"[0-9]{1,18}")
LATE: Final = 5.0
"""Seconds after which a notification does not come any more."""

_MUTE: Final = 1.0
"""Seconds for which nothing is heard after notifications that told of nothing."""

_WAITING: Final = 1000
"""Notifications that are kept: more at once tell nothing more."""

UNTOLD: Final = "changes were not told"
POOLED: Final = "a pooler is between"


@define
class Ear:
    """What was heard in a session, for the ticks that were read. Times are of `time.monotonic`.

    ``read`` is the tick up to which was read, ``heard`` the last one that was told; ``empty`` is
    how many notifications told of nothing. ``deaf`` is why none arrives; empty where they do.
    ``muted`` is the time until which nothing should be heard.
    """

    read: int = 0
    heard: int = 0
    empty: int = 0
    deaf: str = ""
    muted: float = 0.0
    _counted: int = 0
    _true: bool = False
    _waiting: list[int] = field(factory=list)
    _began: int | None = None
    _expected: tuple[int, float] | None = None

    @property
    def has_more(self) -> bool:
        """Whether something was told that was not read."""
        return bool(self._waiting)

    @property
    def is_unsure(self) -> bool:
        """Whether something was read that should be told by now."""
        return self._expected is not None

    def begin(self, read: int) -> None:
        """Begin anew, in a new session, whose member has read so far."""
        self.read = self.heard = read
        self.deaf, self._began, self._expected, self._true = "", None, None, False
        self._waiting.clear()

    def hear(self, told: Iterable[Notification], own: int) -> None:
        """Take what was told; ``own`` is the process of the server that serves this session."""
        for each in told:
            tick = int(each.payload) if _TICK.fullmatch(each.payload) else 0
            if each.pid == own:
                self.heard = max(self.heard, tick)
            elif tick > self.read and len(self._waiting) < _WAITING:
                self._waiting.append(tick)
            else:
                self._take(tick)

    def judge(self, read: int, others: int, now: float) -> None:
        """Compare what was told with what was read: to this tick, of others to ``others``."""
        waiting, self._waiting = self._waiting, []
        self.read = read
        for tick in waiting:
            self._take(tick)
        if self.empty > self._counted and not self._true:
            self.muted = now + _MUTE
        self._counted, self._true = self.empty, False
        if self._began is None:  # what was before LISTEN nobody tells
            self._began = read
        elif others > max(self._began, self.heard) and not self._expected:
            self._expected = others, now
        if self._expected:
            tick, since = self._expected
            if self.heard >= tick:
                self._expected = None
            elif now - since >= LATE:
                self.deaf, self._expected = self.deaf or UNTOLD, None

    def _take(self, tick: int) -> None:
        if self.heard < tick <= self.read:
            self.heard, self.deaf, self._true = tick, "", True
        else:
            self.empty += 1
