"""The pace of what looks at the machine: however much happens there, it costs little of a core."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SHARE: Final = 20.0
"""So many times longer than a look takes is the pause behind it."""


class Pace:
    """When the next look may begin: ``least`` seconds are between two of them in any case.

    Each pause is ``share`` times as long as the look took. Who had rested for long may be so many
    seconds of pauses ``ahead``.
    """

    def __init__(self, least: float, share: float = SHARE, ahead: float = 0.0) -> None:
        self._least, self._share, self._ahead = least, share, ahead
        self._after = 0.0

    def wait(self) -> float:
        """Return for how many seconds the next look has to wait."""
        return max(0.0, self._after - self._ahead - time.monotonic())

    def took(self, seconds: float) -> None:
        """Take how long a look took that ends now."""
        begin = max(self._after, time.monotonic()) if self._ahead else time.monotonic()
        self._after = begin + max(self._least, self._share * seconds)

    @contextmanager
    def look(self) -> Iterator[None]:
        """Look in the block."""
        begun = time.monotonic()
        yield
        self.took(time.monotonic() - begun)
