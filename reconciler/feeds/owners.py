"""What belongs to each of many networks, whether few sets hold them all, or each has its own."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from reconciler.network import Network
from reconciler.networks import Networks

V = TypeVar("V", bound=Hashable)

_FEW: Final = 1 << 10
"""Fewer networks than these are looked up one by one; more are compared as sets."""


class Owners(Generic[V]):
    """A mapping from networks to values, in which a million with one value cost no object each."""

    def __init__(self) -> None:
        self._each: dict[Network, V] = {}
        self._together: list[tuple[Networks, V]] = []

    @classmethod
    def of(cls, parts: Iterable[tuple[Networks, V]]) -> "Owners[V]":
        """Take networks with their values; of several values the first one counts."""
        made = cls()
        for networks, value in parts:
            made.add(networks, value)
        return made

    def add(self, networks: Networks, value: V) -> None:
        """Let the networks have the value, as far as they have none yet."""
        if len(networks) >= _FEW:
            fresh = networks - Networks.of(self._each)
            for held, _ in self._together:
                fresh -= held
            self._together.append((fresh, value))
            return
        for network in networks:
            if not any(network in held for held, _ in self._together):
                self._each.setdefault(network, value)

    def split(self, networks: Networks) -> Iterator[tuple[Networks, V | None]]:
        """Yield the networks by their values; None is for those that have none."""
        for held, value in self._together:
            if common := networks & held:
                yield common, value
                networks -= common
        known = networks if len(networks) < _FEW else networks & Networks.of(self._each)
        found: dict[V, list[Network]] = {}
        for network in known:
            if network in self._each:
                found.setdefault(self._each[network], []).append(network)
        for value, several in found.items():
            common = Networks.of(several)
            yield common, value
            networks -= common
        if networks:
            yield networks, None

    def values(self) -> dict[V, Networks]:
        """Return the networks of each value."""
        found: dict[V, list[Networks]] = {}
        for held, value in self._together:
            found.setdefault(value, []).append(held)
        each: dict[V, list[Network]] = {}
        for network, value in self._each.items():
            each.setdefault(value, []).append(network)
        for value, several in each.items():
            found.setdefault(value, []).append(Networks.of(several))
        return {value: Networks.union(parts) for value, parts in found.items()}

    def networks(self) -> Networks:
        """Return all networks that have a value."""
        return Networks.union([Networks.of(self._each), *(held for held, _ in self._together)])
