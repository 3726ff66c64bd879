"""The benchmarks' watch over what comes into sets, on the real kernel."""

from collections.abc import Callable

import pytest

from bench.measure import Failed
from bench.peers.watch import Watch

Nft = Callable[..., str]


@pytest.fixture
def sets(nft: Nft) -> Nft:
    """A hash set and an interval set."""
    nft("add table inet t; add set inet t hosts { type ipv4_addr; }")
    nft("add set inet t nets { type ipv4_addr; flags interval; }")
    return nft


def test_elements_are_counted_once_in_any_kind_of_set(sets: Nft) -> None:
    """The end of an interval is no element of its own; nor is what leaves."""
    with Watch() as watch:
        sets("add element inet t hosts { 192.0.2.1, 192.0.2.2 }")
        sets("delete element inet t hosts { 192.0.2.1 }")
        sets("add element inet t nets { 192.0.2.0/24, 198.51.100.7 }")
        assert watch.wait(4, 5.0) > 0


def test_what_does_not_come_is_missed(sets: Nft) -> None:
    """And told, with how much there was."""
    with Watch() as watch:
        sets("add element inet t nets { 192.0.2.0/24 }")
        with pytest.raises(Failed, match="only 1 of 2 bans"):
            watch.wait(2, 0.1)
