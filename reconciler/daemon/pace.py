"""The pace of what looks at the machine: however much happens there, it costs little of a core."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SHARE: Final = 20.0
"""So many times longer than a look takes is the pause behind it."""


class Pace:
    """When the next look may begin: ``least`` seconds are between two of them in any case."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._after = 0.0

    def wait(self) -> float:
        """Return for how many seconds the next look has to wait."""
        return max(0.0, self._after - time.monotonic())

    def took(self, seconds: float) -> None:
        """Take how long a look took that ends now."""
        self._after = time.monotonic() + max(self._least, SHARE * seconds)

    @contextmanager
    def look(self) -> Iterator[None]:
        """Look in the block."""
        begun = time.monotonic()
        yield
        self.took(time.monotonic() - begun)
