"""Desired state as set algebra, held against a plain reference."""

import ipaddress
from collections.abc import Set as AbstractSet

from hypothesis import given
from hypothesis import strategies as st

from reconciler import Network
from reconciler.networks import covered, overlaps
from reconciler.planning.desired import collapse, desired, subtract

BASE = int(ipaddress.ip_address("10.0.0.0"))
small = st.integers(26, 32).flatmap(
    lambda n: st.integers(0, 63).map(lambda a: Network.of(4, BASE + (a >> (32 - n) << (32 - n)), n))
)


def addresses(networks: AbstractSet[Network]) -> set[int]:
    """Return every single address."""
    return {n.address + i for n in networks for i in range(1 << (32 - n.length))}


@given(st.lists(small, max_size=8), st.lists(small, max_size=4))
def test_desired_is_bans_minus_exempt(bans: list[Network], exempt: list[Network]) -> None:
    """Address by address: banned and not exempt; and no two networks overlap."""
    state = desired(bans, exempt)
    assert addresses(state.banned) == addresses(frozenset(bans)) - addresses(frozenset(exempt))
    assert addresses(state.passed) == addresses(frozenset(exempt))
    assert sum(1 << (32 - n.length) for n in state.banned) == len(addresses(state.banned))


@given(small, st.lists(small, max_size=6))
def test_covered_and_overlaps_agree_with_the_addresses(n: Network, others: list[Network]) -> None:
    """Covered means by one network of the others; overlapping means in at least one address."""
    collapsed = collapse(others)
    mine = addresses(frozenset({n}))
    assert covered(n, collapsed) is any(mine <= addresses(frozenset({o})) for o in others)
    assert overlaps(n, collapsed) is bool(mine & addresses(frozenset(others)))


def test_a_network_is_split_around_a_whitelisted_address() -> None:
    """A /30 without one address is a /31 and a host."""
    state = desired([Network.parse("192.0.2.0/30")], [Network.parse("192.0.2.2")])
    assert sorted(map(str, state.banned)) == ["192.0.2.0/31", "192.0.2.3"]


def test_families_do_not_mix() -> None:
    """Exempting all of IPv4 leaves IPv6 alone, and the reverse."""
    bans = [Network.parse("0.0.0.0/1"), Network.parse("::/1")]
    assert desired(bans, [Network.parse("0.0.0.0/0")]).banned == {bans[1]}
    assert desired(bans, [Network.parse("::/0")]).banned == {bans[0]}


def test_neighbours_are_not_merged() -> None:
    """Only overlaps collapse: what is listed stays what was banned."""
    halves = [Network.parse("10.0.0.0/25"), Network.parse("10.0.0.128/25")]
    assert desired(halves, []).banned == set(halves)


@given(
    small, st.lists(small, max_size=3), st.sets(st.integers(0, 2000), min_size=120, max_size=200)
)
def test_few_networks_among_many_holes_lose_the_same_addresses(
    ban: Network, wide: list[Network], others: set[int]
) -> None:
    """They are looked up among the holes; which way was taken cannot be seen."""
    holes = collapse([*wide, *(Network.of(4, BASE + number, 32) for number in others)])
    left = subtract(collapse([ban]), holes)
    assert addresses(left) == addresses(frozenset([ban])) - addresses(holes)
