"""What the table is to hold, packed."""

import random

import pytest

from backends.nftables.holding import Addresses, Holding
from backends.nftables.layout import shape_for, shape_of
from backends.nftables.statements import Hosts, Intervals
from reconciler import Desired, Network, Networks


def networks(*texts: str) -> Networks:
    """Return them as a set."""
    return Networks.of(map(Network.parse, texts))


def holding(*texts: str) -> Holding:
    """Hold them, each family in one hash."""
    return Holding(Desired(networks(*texts)), "", shape_of(None))


def added(held: Holding, *texts: str) -> list[tuple[str, list[str]]]:
    """Return what is to be sent for these, by the set's name."""
    told = []
    for each in held.additions(networks(*texts)):
        if isinstance(each, Hosts):
            members = Networks.of_hosts(each.set.version, each.addresses)
        else:
            members = Networks.of(each.networks)
        told.append((each.set.name, [str(network) for network in members]))
    return told


@pytest.mark.parametrize("width", [4, 16])
def test_addresses_are_held_in_any_number_and_order(width: int) -> None:
    """Twenty thousand more than at the beginning, some of them in each half."""
    chance = random.Random(1)  # noqa: S311 - no secrets
    first = b"".join(sorted(chance.randbytes(width) for _ in range(5000)))
    held = Addresses(width, first)
    more = [chance.randbytes(width) for _ in range(20_000)]
    for at in range(0, len(more), 1000):
        held.take(held.unheld(b"".join(more[at : at + 1000])))
        assert held.unheld(b"".join(more[: at + 1000])) == b""
        assert len(held) == 5000 + at + 1000
    packed = held.packed()
    found = {packed[at : at + width] for at in range(0, len(packed), width)}
    assert found == {first[at : at + width] for at in range(0, len(first), width)} | {*more}
    assert held.unheld(bytes(width)) == bytes(width)


def test_what_is_held_needs_nothing() -> None:
    """By itself, or inside a network."""
    held = holding("192.0.2.7", "198.51.100.0/24", "2001:db8::7", "2001:db8:7::/48")
    assert not added(held, "192.0.2.7", "198.51.100.0/24", "198.51.100.9", "198.51.100.128/25")
    assert not added(held, "2001:db8:7::9", "2001:db8:7:1::/64", "2001:db8::7")


def test_what_is_new_is_sent_to_its_set() -> None:
    """What lies inside another new one is not."""
    held = holding("192.0.2.7")
    assert added(
        held, "192.0.2.8", "192.0.2.7", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::1"
    ) == [
        ("banned4", ["192.0.2.8"]),
        ("banned4_nets", ["10.0.0.0/8"]),
        ("banned6", ["::1"]),
    ]


def test_of_a_network_around_others_the_rest_is_sent() -> None:
    """The kernel refuses what overlaps; single addresses are in no one's way."""
    held = holding("192.0.2.7", "192.0.2.64/26", "192.0.2.8/31")
    [(name, pieces)] = added(held, "192.0.2.0/24")
    assert name == "banned4_nets"
    left = Networks.of(map(Network.parse, pieces)) | networks("192.0.2.64/26", "192.0.2.8/31")
    assert sum(1 << 32 - each.length for each in left) == 256
    assert left.outermost() == left


def test_what_was_taken_is_held_and_desired() -> None:
    """It is sent no more, and counted."""
    held = holding("192.0.2.7", "198.51.100.0/24")
    additions = held.additions(networks("192.0.2.8", "10.0.0.0/8", "240.0.0.0/4", "ff00::/8"))
    held.take(additions)
    assert not added(held, "192.0.2.8", "10.1.0.0/16", "250.0.0.1", "ff02::1")
    counts = {each.name: held.count(each) for each in held.shape.sets}
    assert (counts["banned4"], counts["banned4_nets"], counts["banned6_nets"]) == (2, 3, 1)
    assert held.desired().banned == networks(
        "192.0.2.7", "192.0.2.8", "198.51.100.0/24", "10.0.0.0/8", "240.0.0.0/4", "ff00::/8"
    )


def test_it_is_crowded_before_a_hash_is_half_full() -> None:
    """Which takes half of the least size."""
    held = holding()
    held.shape = shape_for(Desired())
    few, many = ([Hosts(held.shape.sets[0], bytes(4 * number))] for number in (32_768, 32_769))
    assert not held.crowded(few)
    assert held.crowded(many)
    assert not held.crowded([Intervals(held.shape.sets[2], networks("10.0.0.0/8"))])


def test_it_is_laid_out_anew() -> None:
    """Over several hashes, once there are many."""
    hosts = Networks.of_hosts(4, b"".join(number.to_bytes(4) for number in range(140_000)))
    held = Holding(Desired(hosts | networks("2001:db8::/32")), "", shape_of(None))
    other = held.relaid(shape_for(held.desired()))
    assert len(other.shape.hosts(4)) == 16
    assert other.desired() == held.desired()
    assert sum(other.count(each) for each in other.shape.hosts(4)) == 140_000
