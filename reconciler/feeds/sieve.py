"""Which networks of a feed are taken at all: none that is too wide, and no private space."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from attrs import evolve, frozen

from reconciler.feeding import FeedGroup
from reconciler.feeds.owners import Owners
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks

_PRIVATE: Final = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16"
    " 224.0.0.0/3 ::/8 fc00::/7 fe80::/10 ff00::/8"
)
PRIVATE: Final = Networks.of(map(Network.parse, _PRIVATE.split()))
"""Private and reserved space (RFC 6890): no feed can mean a peer on the internet by it."""

_WIDE: Final = (16, 10)
"""The longest prefix in it: a network that holds any of it has a shorter one."""


@frozen
class Sieve:
    """What is not taken as it is: ``inner`` ones are private, ``outer`` ones hold private space."""

    refused: tuple[tuple[str, Networks], ...]
    inner: Networks
    outer: Networks
    cut: Networks

    @classmethod
    def of(
        cls, groups: Iterable[FeedGroup], min_prefix: tuple[int, int], *, private: bool
    ) -> "Sieve":
        """Look at all networks of the groups at once; ``private`` ones may be allowed."""
        every = Networks.union(group.networks for group in groups)
        refused: list[tuple[str, Networks]] = []
        for version, length in zip((4, 6), min_prefix, strict=True):
            if wider := every.wider_than(version, length):
                refused.append((f"wider than /{length}, the limit set by min_prefix", wider))
                every -= wider
        if private:
            return cls((*refused,), NOTHING, NOTHING, NOTHING)
        ends = [
            (bisect_left(every, each), bisect_right(every, Network(each.end))) for each in PRIVATE
        ]
        inner = Networks.joined(every[first:behind] for first, behind in ends)
        wide = every.wider_than(4, _WIDE[0]) | every.wider_than(6, _WIDE[1])
        around = {each: [n for n in each.supernets if n in wide] for each in PRIVATE if wide}
        outer = Networks.of(chain.from_iterable(around.values()))
        return cls((*refused,), inner, outer, inner | {n for n, found in around.items() if found})

    def sift(self, groups: Iterable[FeedGroup]) -> Iterator[FeedGroup]:
        """Yield what is left of each group, if anything is."""
        out = Networks.union([self.inner, self.outer, *(networks for _, networks in self.refused)])
        if not out:
            yield from groups
            return
        owners = Owners.of([(out, True)])
        for group in groups:
            parts = {is_out: networks for networks, is_out in owners.split(group.networks)}
            networks = parts.get(None, NOTHING)
            for wide in parts.get(True, NOTHING) & self.outer:
                networks |= Networks.of(public(wide))
            if networks:
                yield changed(group, networks)


def public(network: Network) -> Iterator[Network]:
    """Yield the widest networks inside that hold no private space."""
    if not PRIVATE.meeting(network):
        yield network
    elif network not in PRIVATE:
        for half in network.halves:
            yield from public(half)


def changed(group: FeedGroup, networks: Networks) -> FeedGroup:
    """Return the group with these networks instead."""
    return group if networks is group.networks else evolve(group, networks=networks)
