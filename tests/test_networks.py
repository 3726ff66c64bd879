"""Compact sets of networks, held against plain sets of the same networks."""

import sys
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from reconciler import Network, Networks

NEAR = (Network.of(4, 0x0A0A0A00, 24), Network.of(6, 0x20010DB8 << 96 | 0x0A, 128))


def _close(of: Network) -> st.SearchStrategy[Network]:
    """Networks of any length around one address, with bytes that mean something elsewhere."""
    bits = of.bits

    def cut(length: int, address: int) -> Network:
        return Network.of(of.version, address >> (bits - length) << (bits - length), length)

    addresses = st.integers(0, 40).map(lambda low: of.address ^ low)
    return st.builds(cut, st.sampled_from([0, 10, bits - 4, bits - 1, bits]), addresses)


networks = st.one_of([_close(each) for each in NEAR])
several = st.frozensets(networks, max_size=25)


@given(several, several)
def test_it_is_a_set_like_any_other(left: frozenset[Network], right: frozenset[Network]) -> None:
    """Operators give what those of plain sets give, also when the two kinds are mixed."""
    mine, other = Networks.of(left), Networks.of(right)
    assert mine == left
    assert (mine == other) is (left == right)
    for them in (other, right):
        assert mine - them == left - right
        assert mine & them == left & right
        assert mine | them == left | right
        assert mine ^ them == left ^ right
        assert (mine <= them) is (left <= right)
    assert left - other == left - right
    assert left | other == left | right
    assert hash(mine) == hash(left)


@given(several, networks, st.integers(-30, 30), st.integers(-30, 30))
def test_it_is_the_ascending_sequence_of_its_members(
    members: frozenset[Network], network: Network, start: int, stop: int
) -> None:
    """Order, length, membership, indices and slices are those of the sorted list."""
    mine, plain = Networks.of(members), sorted(members)
    assert [*mine] == plain
    assert len(mine) == len(plain)
    assert (network in mine) is (network in members)
    assert [mine[index] for index in range(-len(plain), len(plain))] == plain + plain
    assert [*mine[start:stop]] == plain[start:stop]
    assert [*mine[start:stop:2]] == plain[start:stop:2]
    assert [*Networks.joined([mine[:start], mine[start:]])] == plain


@given(several)
def test_hosts_and_wider_networks_are_told_apart(members: frozenset[Network]) -> None:
    """Single addresses come packed, the others as they are; packed ones may be repeated."""
    mine = Networks.of(members)
    for version in (4, 6):
        family = sorted(network for network in members if network.version == version)
        hosts = [network for network in family if network.is_host]
        assert mine.hosts(version) == b"".join(network.packed for network in hosts)
        assert [*mine.family(version)] == family
        assert [*mine.singles(version)] == hosts
        assert mine.wider(version) == [network for network in family if not network.is_host]
        scattered = b"".join(network.packed for network in reversed(hosts))
        assert Networks.of_hosts(version, scattered) == set(hosts)
        assert [*Networks.of_hosts(version, scattered * 2)] == hosts


@given(several)
def test_the_outermost_hold_all_the_others(members: frozenset[Network]) -> None:
    """What lies inside another one is left out, and nothing else."""
    inside = {
        network
        for network in members
        if any(other < network <= other.end for other in members - {network})
    }
    assert Networks.of(members).outermost() == members - inside


def test_many_are_compared_block_by_block() -> None:
    """A hundred thousand with differences at the edges of blocks, and far apart."""
    numbers = {*range(0, 200_000, 2)}
    changed = numbers - {0, 8190, 8192, 199_998} | {1, 8191, 8193, 200_001}
    left, right = (
        Networks.of(Network.of(4, 0x0B000000 + number, 32) for number in each)
        for each in (numbers, changed)
    )
    assert [network.address - 0x0B000000 for network in left - right] == [0, 8190, 8192, 199_998]
    assert [network.address - 0x0B000000 for network in right - left] == [1, 8191, 8193, 200_001]
    assert left & right == left - (left - right)
    assert [*(left - right | right)] == [*(right | left - right)] == sorted({*left, *right})
    assert [*(left | right)] == sorted({*left, *right})


def test_an_address_costs_a_few_bytes() -> None:
    """Five for IPv4, seventeen for IPv6."""
    many = Networks.of(Network.of(4, number, 32) for number in range(10_000))
    more = Networks.of(Network.of(6, number, 128) for number in range(10_000))
    assert sys.getsizeof(many.packed(4)) < 50_100
    assert sys.getsizeof(more.packed(6)) < 170_100


@given(several, networks)
def test_those_that_meet_are_found(held: frozenset[Network], asked: Network) -> None:
    """Around a network, itself, and inside it, in both families."""
    found = Networks.of(held).meeting(asked)
    assert found == {each for each in held if each.meets(asked)}


@given(several)
def test_what_is_packed_is_told_from_what_is_not(members: frozenset[Network]) -> None:
    """Chunks out of order or repeated, host bits, and lengths that are too long."""
    mine = Networks.of(members)
    assert mine.is_canonical
    for version, width in ((4, 5), (6, 17)):
        packed = mine.packed(version)
        if not packed:
            continue
        network = mine.family(version)[0]
        longer = bytes([*packed[: width - 1], network.bits + 1])
        odd = network.address | 1 if network.length < network.bits else None
        wrong = [packed[:-1], packed + packed, packed + packed[-width:], longer]
        if odd:
            wrong.append(odd.to_bytes(width - 1) + packed[width - 1 : width])
        if len(packed) > width:
            wrong.append(packed[width:] + packed[:width])
        for each in wrong:
            assert not Networks(*((each, b"") if version == 4 else (b"", each))).is_canonical


@given(several, st.sampled_from([0, 1, 10, 28, 32, 124, 128]))
def test_those_wider_than_a_length_are_found(members: frozenset[Network], length: int) -> None:
    """By family."""
    for version in (4, 6):
        wider = {each for each in members if each.version == version and each.length < length}
        assert Networks.of(members).wider_than(version, length) == wider


@given(st.lists(several, max_size=6))
def test_the_union_of_many_holds_all(parts: list[frozenset[Network]]) -> None:
    """Large ones and small ones."""
    large = Networks.of_hosts(4, b"".join(n.to_bytes(4) for n in range(0x0A0A0A00, 0x0A0A1A00)))
    mine = Networks.union([*map(Networks.of, parts), large, large])
    assert mine == large | frozenset[Network]().union(*parts)


@given(st.lists(several))
def test_a_union_of_many_is_that_of_plain_sets(parts: list[frozenset[Network]]) -> None:
    """Of none, of empty ones, and of such that share networks."""
    assert Networks.union(map(Networks.of, parts)) == frozenset().union(*parts)


def test_a_union_of_very_many_sorts_few_at_once() -> None:
    """Of 400,000 networks, from large sets and from small ones: far less than an object each."""
    ours = [Networks.of_hosts(4, _every(number, 7)) for number in range(7)]
    ours += [Networks.of_hosts(4, _every(number, 100_000)) for number in range(0, 50_000, 10)]
    tracemalloc.start()
    mine = Networks.union(ours)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mine == Networks.of_hosts(4, _every(0, 1))
    assert peak < 400_000 * 32


def _every(first: int, step: int) -> bytes:
    """Return every so manieth of 400,000 addresses."""
    return b"".join(n.to_bytes(4) for n in range(0x0B000000 + first, 0x0B000000 + 400_000, step))


@given(several, st.integers(0, 3000))
def test_few_are_looked_up_among_many(few: frozenset[Network], start: int) -> None:
    """They give what those of plain sets give."""
    many = {Network.of(4, 0x0A0A0000 + start + number, 32) for number in range(3000)}
    many |= {Network.of(6, NEAR[1].address + start + number, 128) for number in range(3000)}
    mine, other = Networks.of(few), Networks.of(many)
    assert mine - other == few - many
    assert mine & other == few & many
    assert other & mine == few & many
    assert other - mine == many - few
    assert mine | other == few | many
