"""The brake: who repairs again and again pauses, so that a fight costs nobody the machine."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from attrs import define, field

LIMITS: Final = ((1.0, 5), (10.0, 20))
"""Repairs that are made at once: so many within so many seconds, but no more."""

PASSES: Final = ((60.0, 5),)
"""The same of passes: each takes a process some tenths of a second."""

FIRST: Final = 0.05
"""Seconds of the first pause; each is twice as long as the one before, up to a limit."""

SHARE: Final = 5.0
"""The limit: so many times as long as the repair took, so that a fight costs less than a fifth of a
core."""

LEAST: Final = 0.5
LONGEST: Final = 10.0
"""Seconds below which the limit is not, and above. What takes a tenth of a second or less to repair
is repaired within less than a second after the end of a fight."""

QUIET: Final = 60.0
"""Seconds without a repair after which the pauses are forgotten."""


@define(eq=False)
class Brake:
    """Counts repairs, of which ``limits`` allow some; times are of one clock that nobody sets."""

    limits: Sequence[tuple[float, int]] = LIMITS
    pause: float = field(default=0.0, init=False)
    _repairs: deque[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._repairs = deque(maxlen=self.limits[-1][1] + 1)

    def note(self, now: float, took: float = 0.0) -> None:
        """Count a repair, which took so many seconds, and decide how long to pause after it."""
        if self._repairs and now - self._repairs[-1] >= QUIET:
            self._repairs.clear()
            self.pause = 0.0
        self._repairs.append(now)
        if self._is_fight(now):
            limit = min(max(LEAST, SHARE * took), LONGEST)
            self.pause = min(max(2 * self.pause, FIRST), limit)

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
            for seconds, most in self.limits
        )
        return self.pause > 0 or any(within)
