"""What the daemon has decided, and what is not stored yet."""

from reconciler.network import Network
from reconciler.networks import NOTHING, Networks


class Unstored:
    """The networks that are dropped for a source, until what led to it is stored.

    ``early`` are those that the writer has decided for the batch that is being stored.
    """

    def __init__(self) -> None:
        self._sources: dict[Network, str] = {}
        self.early = NOTHING

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self._sources)

    def add(self, source: str, networks: Networks) -> None:
        """Keep these in mind."""
        self._sources |= dict.fromkeys(networks, source)

    def forget(self, networks: Networks) -> None:
        """Keep these in mind no more: they are stored, or are not to be."""
        for network in networks:
            self._sources.pop(network, None)

    def of(self, source: str) -> Networks:
        """Return those of a source."""
        return Networks.of(each for each, name in self._sources.items() if name == source)

    def all(self) -> Networks:
        """Return all of them."""
        return Networks.of(self._sources)
