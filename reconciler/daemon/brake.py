"""The brake: who repairs again and again pauses, so that a fight costs nobody the machine."""

from collections import deque
from typing import Final

from attrs import define, field

LIMITS: Final = ((1.0, 5), (10.0, 20))
"""Repairs that are made at once: so many within so many seconds, but no more."""

FIRST: Final = 0.05
LONGEST: Final = 5.0
"""Seconds of the first pause and of the longest; each is twice as long as the one before."""

QUIET: Final = 60.0
"""Seconds without a repair after which the pauses are forgotten."""


@define(eq=False)
class Brake:
    """Counts repairs; times are in seconds of one clock that nobody sets."""

    pause: float = 0.0
    _repairs: deque[float] = field(factory=lambda: deque(maxlen=LIMITS[-1][1] + 1), init=False)

    def note(self, now: float) -> None:
        """Count a repair, and decide how long to pause after it."""
        if self._repairs and now - self._repairs[-1] >= QUIET:
            self._repairs.clear()
            self.pause = 0.0
        self._repairs.append(now)
        if self._is_fight(now):
            self.pause = min(max(2 * self.pause, FIRST), LONGEST)

    def wait(self, now: float) -> float:
        """Return for how many seconds the next repair has to wait."""
        if not self._repairs or now - self._repairs[-1] >= QUIET:
            return 0.0
        return max(0.0, self._repairs[-1] + self.pause - now)

    @property
    def fights(self) -> bool:
        """Whether somebody undoes again and again what is repaired."""
        return self.pause > 0

    def _is_fight(self, now: float) -> bool:
        """Whether there are pauses already, or there were too many repairs."""
        within = (
            sum(1 for each in self._repairs if now - each < seconds) > most
            for seconds, most in LIMITS
        )
        return self.pause > 0 or any(within)
