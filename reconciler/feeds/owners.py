"""What belongs to each of many networks, whether few sets hold them all, or each has its own."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from reconciler.networks import Networks
from reconciler.runs import WIDTH, chunks

V = TypeVar("V", bound=Hashable)

_FEW: Final = 1 << 10
"""Fewer networks than these are looked up one by one; more are compared as sets."""

_SETS: Final = 4
_LOOKED_UP: Final = 10_000
"""Sets that are kept as they are, and networks that are looked up in them, at most."""


class Owners(Generic[V]):
    """A mapping from networks to values, in which a million with one value cost no object each.

    With many sets each network has an entry of its own: so the time is a matter of how many
    networks there are, however a stranger arranges them.
    """

    def __init__(self) -> None:
        self._each: dict[bytes, V] = {}
        self._together: list[tuple[Networks, V]] = []
        self._looked_up = 0

    @classmethod
    def of(cls, parts: Iterable[tuple[Networks, V]]) -> "Owners[V]":
        """Take networks with their values; of several values the first one counts."""
        made = cls()
        for networks, value in parts:
            made.add(networks, value)
        return made

    def add(self, networks: Networks, value: V) -> None:
        """Let the networks have the value, as far as they have none yet."""
        for held, _ in self._sets(networks):
            networks -= held
        if len(networks) >= _FEW and len(self._each) < _FEW:
            self._together.append((networks - _networks(self._each), value))
        else:
            for chunk in _chunks(networks):
                self._each.setdefault(chunk, value)

    def split(self, networks: Networks) -> Iterator[tuple[Networks, V | None]]:
        """Yield the networks by their values; None is for those that have none."""
        for held, value in self._sets(networks):
            if common := networks & held:
                yield common, value
                networks -= common
        few = len(self._each) < len(networks)
        found: defaultdict[V, list[bytes]] = defaultdict(list)
        for chunk in _chunks(networks & _networks(self._each) if few else networks):
            if chunk in self._each:
                found[self._each[chunk]].append(chunk)
        for value, several in found.items():
            common = _networks(several)
            yield common, value
            networks -= common
        if networks:
            yield networks, None

    def values(self) -> dict[V, Networks]:
        """Return the networks of each value."""
        each: defaultdict[V, list[bytes]] = defaultdict(list)
        for chunk, value in self._each.items():
            each[value].append(chunk)
        found = {value: [_networks(several)] for value, several in each.items()}
        for held, value in self._together:
            found.setdefault(value, []).append(held)
        return {value: Networks.union(parts) for value, parts in found.items()}

    def networks(self) -> Networks:
        """Return all networks that have a value."""
        return Networks.union([_networks(self._each), *(held for held, _ in self._together)])

    def _sets(self, networks: Networks) -> list[tuple[Networks, V]]:
        """Return the sets to compare these with; of too many each network gets its entry."""
        self._looked_up += len(networks) if len(networks) < _FEW else 0
        if len(self._together) > _SETS or (self._together and self._looked_up > _LOOKED_UP):
            for held, value in self._together:
                self._each |= dict.fromkeys(_chunks(held), value)
            self._together = []
        return self._together


def _chunks(networks: Networks) -> list[bytes]:
    """Return each network by itself, as it is packed."""
    return [chunk for v, width in WIDTH.items() for chunk in chunks(networks.packed(v), width)]


def _networks(chunks: Collection[bytes]) -> Networks:
    """Return the set of packed networks, whose lengths tell their families."""
    parts = (b"".join(c for c in chunks if len(c) == width) for width in WIDTH.values())
    return Networks.of_packed(*parts)
