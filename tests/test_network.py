"""Networks: what is read, what is refused, and how the integers behave."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import InvalidNetwork, Network


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:200/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_text_is_read_canonically(text: str, canonical: str) -> None:
    """Every way of writing a network gives one value and one text."""
    assert str(Network.parse(text)) == canonical
    assert Network.parse(canonical) == Network.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a b", "010.0.0.1", "1.2.3", "1.2.3.4.5", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1",
        "1.2.3.4/+8", "1.2.3.4/08", "1.2.3.4/255.255.255.0", "1.2.3.4/" + "9" * 5000, "/24",
        "::1%lo", "fe80::1%eth0", ":::", "2001:db8::/129", "localhost", "１.２.３.４", "1.2.3.4\n",
        "1.2.3.4\0", "0x7f.1", "2130706433", "1.2.3.4;reboot", "$(id)", "\udcff",
    ],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    """What is no canonical address or network is refused by name."""
    with pytest.raises(InvalidNetwork, match=r"is not an IP address|has a prefix longer"):
        Network.parse(text)


def test_host_bits_are_refused_with_the_network_meant() -> None:
    """A network with bits set set is refused, and the right one is named."""
    with pytest.raises(InvalidNetwork) as refused:
        Network.parse("10.1.2.3/8")
    assert "an address inside a network" in refused.value.what
    assert "10.0.0.0/8" in refused.value.hint


networks = st.one_of(
    st.ip_addresses(v=4).flatmap(lambda a: st.integers(0, 32).map(lambda n: (a, n))),
    st.ip_addresses(v=6).flatmap(lambda a: st.integers(0, 128).map(lambda n: (a, n))),
).map(lambda pair: ipaddress.ip_network(pair, strict=False))


def unmapped(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    """Whether the reference means the same network."""
    mapped = ipaddress.ip_network("::ffff:0:0/96")
    return network.version == 4 or not network.subnet_of(mapped)  # type: ignore[arg-type]  # both are version 6


@given(networks.filter(unmapped))
def test_numbers_agree_with_the_standard_library(
    reference: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    """Version, length, address and text are those of `ipaddress`."""
    network = Network.parse(str(reference))
    assert network.version == reference.version
    assert network.length == reference.prefixlen
    assert network.address == int(reference.network_address)
    assert network.packed == reference.network_address.packed
    assert network.is_host is (reference.num_addresses == 1)
    assert ipaddress.ip_network(str(network)) == reference


@given(networks.filter(unmapped), networks.filter(unmapped))
def test_integer_order_tells_containment(
    a: ipaddress.IPv4Network | ipaddress.IPv6Network,
    b: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    """``a <= b <= a.end`` holds exactly if b lies in a."""
    inside = a.version == b.version and b.subnet_of(a)  # type: ignore[arg-type]  # versions agree
    first, second = Network.parse(str(a)), Network.parse(str(b))
    assert (first <= second <= first.end) is inside
    overlap = a.version == b.version and a.overlaps(b)
    assert first.meets(second) is second.meets(first) is overlap
