"""IPv4 inside IPv6, held against the examples of the standards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import Network
from reconciler.embedding import LENGTHS, NAT64, embedded, embeddings, prefix

EXAMPLES = [
    ("2001:db8::/32", "2001:db8:c000:221::/64"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::/80"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::/88"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::/96"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0/104"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
    ("64:ff9b::/96", "64:ff9b::c000:221"),
]
"""RFC 6052 §2.4: 192.0.2.33 behind each prefix; what follows the address does not matter."""


@pytest.mark.parametrize(("before", "after"), EXAMPLES)
def test_an_address_stands_behind_a_prefix_of_each_length(before: str, after: str) -> None:
    """Around the eight bits that are left out."""
    first = next(embeddings(Network.parse("192.0.2.33"), [prefix(before)]))
    assert str(first) == after


@given(st.integers(0, 2**32 - 1), st.sampled_from(LENGTHS), st.integers(0, 2**24 - 1))
def test_what_is_put_behind_a_prefix_is_found_there(number: int, length: int, rest: int) -> None:
    """Whatever the address, the length, and the bits behind."""
    behind = Network.of(6, 0x20010DB8 << 96, length)
    address = Network.of(4, number, 32)
    network = next(embeddings(address, [behind]))
    inside = Network.of(6, network.address | rest & (1 << 128 - network.length) - 1, 128)
    assert [*embedded(inside, [behind])] == [address]


@given(st.integers(0, 32), st.sampled_from(LENGTHS))
def test_a_network_stands_there_as_a_whole(length: int, behind: int) -> None:
    """Its first and its last address are inside, the next ones are not."""
    at = Network.of(6, 0x20010DB8 << 96, behind)
    network = Network.of(4, 0xC0000200 >> 32 - length << 32 - length, length)
    whole = next(embeddings(network, [at]))
    last = network.address | (1 << 32 - length) - 1
    for number, held in ((network.address, True), (last, True), (last + 1, False)):
        if number < 2**32:
            one = next(embeddings(Network.of(4, number, 32), [at]))
            assert (whole <= one <= whole.end) is held


def test_the_ways_without_a_prefix() -> None:
    """6to4 (RFC 3056) and Teredo's server and client (RFC 4380 §4, its example)."""
    found = [*map(str, embeddings(Network.parse("192.0.2.33"), ()))]
    assert found == ["2002:c000:221::/48", "2001:0:c000:221::/64"]
    client = Network.parse("2001:0:4136:e378:8000:63bf:3fff:fdd2")
    assert [*map(str, embedded(client))] == ["65.54.227.120", "192.0.2.45"]
    assert [*map(str, embedded(Network.parse("2002:c000:221::1")))] == ["192.0.2.33"]
    assert [*embedded(Network.parse("2001:db8::1"))] == []
    assert [*embedded(Network.parse("192.0.2.1"))] == []


def test_the_known_prefixes_are_none_of_the_internet() -> None:
    """64:ff9b::/96, and in 64:ff9b:1::/48 what is usual."""
    found = {str(each) for each in embedded(Network.parse("64:ff9b:1::c000:221"), NAT64)}
    assert "192.0.2.33" in found
    assert {str(e) for e in embedded(Network.parse("64:ff9b::c000:221"))} == {"192.0.2.33"}


@pytest.mark.parametrize("text", ["2001:db8::/33", "192.0.2.0/24", "x", 7, "::ffff:192.0.2.0/120"])
def test_what_is_no_prefix_of_nat64_is_refused(text: object) -> None:
    """Of six lengths only, and of IPv6."""
    with pytest.raises(ValueError, match=r"not a prefix of NAT64|not an IP address"):
        prefix(text)
