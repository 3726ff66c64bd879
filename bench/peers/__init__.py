"""Others that ban: each is told of peers its own way, and tells what it took until all are held."""

from collections.abc import Sequence
from typing import Protocol

from bench.measure import Sample


class Peer(Protocol):
    """One who bans, in a station of its own."""

    def start(self) -> None:
        """Prepare it; raise `TreasonError` if that cannot be."""

    def ban(self, peers: Sequence[str]) -> Sample:
        """Report peers to it, and measure until all of them are in force."""

    def pids(self) -> Sequence[int]:
        """Return its processes; none where nothing runs between two reports."""

    def close(self) -> None:
        """Stop what was started, also if that was not much."""
