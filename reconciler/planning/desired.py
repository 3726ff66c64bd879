"""Desired state as set algebra: what is banned, minus what must never be."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from reconciler.model import Desired
from reconciler.network import Network
from reconciler.networks import Networks

_FEW: Final = 32
"""So many times fewer networks are looked up among the holes, not gone through with them."""


def desired(
    bans: Iterable[Network], whitelist: Iterable[Network], protected: Iterable[Network] = ()
) -> Desired:
    """Collapse the bans and cut out what is exempt; the whitelist is passed ahead as well."""
    passed = collapse(whitelist)
    exempt = collapse([*passed, *protected])
    return Desired(subtract(collapse(bans), exempt), passed)


def keeping(
    state: Desired, networks: Iterable[Network], protected: Iterable[Network] = ()
) -> Desired:
    """Add networks to what is to be dropped; the whitelist and what is protected come first."""
    return desired(state.banned | Networks.of(networks), state.passed, protected)


def collapse(networks: Iterable[Network]) -> Networks:
    """Sort, and leave out every network that lies inside another."""
    return Networks.of(networks).outermost()


def subtract(networks: Networks, holes: Networks) -> Networks:
    """Return what is left of ``networks`` without ``holes``; both are collapsed.

    The time grows with the holes that are no plain single addresses, or with the networks, if they
    are far fewer: what lies between two holes is copied as a whole.
    """
    networks -= holes
    few = len(networks) * _FEW < len(holes)
    holes = _around(holes, networks) if few else _mattering(holes, networks)
    left: list[Networks] = []
    start = index = 0
    while index < len(holes):
        hole = holes[index]
        at = bisect_left(networks, hole, start)
        if at > start and hole <= networks[at - 1].end:
            outer = networks[at - 1]
            behind = bisect_right(holes, outer.end, index)
            left.append(networks[start : at - 1])
            left.append(Networks.of(_split(outer, holes[index:behind])))
            start, index = at, behind
        else:
            left.append(networks[start:at])
            start = bisect_right(networks, hole.end, at)
            index += 1
    return Networks.joined([*left, networks[start:]])


def _around(holes: Networks, networks: Networks) -> Networks:
    """Return the holes that share an address with one of the networks."""
    found: set[Network] = set()
    for network in networks:
        first = bisect_left(holes, network)
        if first and network <= holes[first - 1].end:
            found.add(holes[first - 1])
        found.update(holes[first : bisect_right(holes, network.end, first)])
    return Networks.of(found)


def _mattering(holes: Networks, networks: Networks) -> Networks:
    """Leave out the single addresses that lie in none of the wider networks."""
    wider = [each for version in (4, 6) for each in networks.wider(version)]
    inside = [holes[bisect_left(holes, each) : bisect_right(holes, each.end)] for each in wider]
    return Networks.joined(inside) | Networks.of(holes.wider(4) + holes.wider(6))


def _split(network: Network, holes: Sequence[Network]) -> Iterator[Network]:
    if not holes:
        yield network
    elif holes[0] != network:
        for half in network.halves:
            yield from _split(half, [hole for hole in holes if half <= hole <= half.end])
