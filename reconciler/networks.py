"""Many networks in few bytes: an immutable sorted set, without an object for each.

A network of IPv4 takes five bytes, one of IPv6 seventeen: the address in network byte order, then
the prefix length. That is the number which `Network` is (without the mark of IPv6), so the bytes
sort as the networks do, and whole runs are cut, joined and compared at the speed of memory.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Final, overload

from reconciler import runs
from reconciler.network import Network
from reconciler.runs import BITS, WIDER, WIDTH

_V6: Final = Network.of(6, 0, 0)


class Networks(AbstractSet[Network], Sequence[Network]):
    """A set of networks that is also the sequence of them in ascending order.

    It equals any other set of the same networks.
    """

    __slots__ = ("_four", "_six")

    def __init__(self, four: bytes = b"", six: bytes = b"") -> None:
        """Take packed networks of IPv4 and of IPv6, ascending and without repetition."""
        self._four = four
        self._six = six

    @classmethod
    def of(cls, networks: Iterable[Network]) -> "Networks":
        """Take any networks, in any order."""
        if isinstance(networks, Networks):
            return networks
        ascending = sorted(set(networks))
        border = bisect_left(ascending, _V6)
        return cls(
            b"".join([network.to_bytes(5) for network in ascending[:border]]),
            b"".join([(network ^ _V6).to_bytes(17) for network in ascending[border:]]),
        )

    @classmethod
    def of_hosts(cls, version: int, addresses: bytes) -> "Networks":
        """Take single addresses of 4 or 16 bytes each, in any order, also repeatedly."""
        size = BITS[version] // 8
        if version == 4:
            numbers = array("I", addresses)
            runs.swap(numbers)
            numbers = array("I", runs.ascending(numbers))
            runs.swap(numbers)
            addresses = numbers.tobytes()
        else:
            addresses = b"".join(runs.ascending(runs.chunks(addresses, size)))
        packed = bytearray(bytes([*bytes(size), BITS[version]]) * (len(addresses) // size))
        for byte in range(size):
            packed[byte :: size + 1] = addresses[byte::size]
        return cls(bytes(packed)) if version == 4 else cls(b"", bytes(packed))

    @classmethod
    def of_packed(cls, four: bytes | bytearray, six: bytes | bytearray) -> "Networks":
        """Take packed networks of IPv4 and of IPv6 in any order, also repeatedly."""
        return cls(runs.ordered(four, 5), runs.ordered(six, 17))

    @classmethod
    def joined(cls, parts: Iterable["Networks"]) -> "Networks":
        """Put runs together; each one is behind the one before it."""
        held = [*parts]
        if len(held) == 1:
            return held[0]
        return cls(*(b"".join([each.packed(version) for each in held]) for version in (4, 6)))

    @classmethod
    def union(cls, parts: Iterable["Networks"]) -> "Networks":
        """Return all networks of many sets: all but the largest are put together at once."""
        held = [*filter(None, parts)]
        if len(held) < 2:  # as often
            return held[0] if held else NOTHING
        *others, largest = sorted(held, key=len)
        packed = ([each.packed(version) for each in others] for version in (4, 6))
        more = cls(*map(runs.merged, packed, WIDTH.values()))
        return largest | more

    @property
    def is_canonical(self) -> bool:
        """Whether what it was made from is what it must be; for bytes from strangers."""
        return runs.is_canonical(self._four, 4) and runs.is_canonical(self._six, 6)

    def packed(self, version: int) -> bytes:
        """Return the networks of a family, as they are held."""
        return self._four if version == 4 else self._six

    def family(self, version: int) -> "Networks":
        """Return the networks of a family."""
        return Networks(self._four) if version == 4 else Networks(b"", self._six)

    def singles(self, version: int) -> "Networks":
        """Return the networks of a family that are single addresses."""
        width = WIDTH[version]
        packed = self.packed(version)
        if places := self._places(version):
            ends = pairwise([-1, *places, len(packed) // width])
            packed = b"".join([packed[(a + 1) * width : b * width] for a, b in ends])
        return Networks(packed) if version == 4 else Networks(b"", packed)

    def hosts(self, version: int) -> bytes:
        """Return the single addresses of a family: ascending, 4 or 16 bytes each."""
        width = WIDTH[version]
        packed = self.singles(version).packed(version)
        addresses = bytearray(len(packed) // width * (width - 1))
        for byte in range(width - 1):
            addresses[byte :: width - 1] = packed[byte::width]
        return bytes(addresses)

    def wider(self, version: int) -> list[Network]:
        """Return the networks of a family that are no single addresses."""
        start = 0 if version == 4 else self._border
        return [self[start + place] for place in self._places(version)]

    def meeting(self, network: Network) -> "Networks":
        """Return those that share an address with a network: around it, itself, and inside it."""
        first, behind = bisect_left(self, network), bisect_right(self, Network(network.end))
        around = [each for each in network.supernets if each in self]
        return Networks.of([*around, *self[first:behind]])

    def wider_than(self, version: int, length: int) -> "Networks":
        """Return the networks of a family whose prefix is shorter than ``length``."""
        width, start = WIDTH[version], 0 if version == 4 else self._border
        lengths = self.packed(version)[width - 1 :: width]
        if not length or min(lengths, default=length) >= length:
            return NOTHING
        shorter = re.compile(b"[\\x00-\\x%02x]" % (length - 1))
        return Networks.of([self[start + found.start()] for found in shorter.finditer(lengths)])

    def outermost(self) -> "Networks":
        """Leave out every network that lies inside another."""
        kept: list[Networks] = []
        start = behind = 0
        for first, version in ((0, 4), (self._border, 6)):
            for at in (first + place for place in self._places(version)):
                if at < behind or at + 1 == len(self):
                    continue
                end = self[at].end
                if self[at + 1] <= end:
                    kept.append(self[start : at + 1])
                    start = behind = bisect_left(self, Network(end + 1), at)
        return Networks.joined([*kept, self[start:]])

    def __len__(self) -> int:
        return len(self._four) // 5 + len(self._six) // 17

    def __iter__(self) -> Iterator[Network]:
        four, six = self._four, self._six
        for at in range(0, len(four), 5):
            yield Network(int.from_bytes(four[at : at + 5]))
        for at in range(0, len(six), 17):
            yield Network(_V6 | int.from_bytes(six[at : at + 17]))

    @overload
    def __getitem__(self, index: int) -> Network: ...
    @overload
    def __getitem__(self, index: slice) -> "Networks": ...
    def __getitem__(self, index: int | slice) -> "Network | Networks":
        border = self._border
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return Networks.of([self[each] for each in range(start, stop, step)])
            four = self._four[start * 5 : stop * 5]
            return Networks(
                four, self._six[max(start - border, 0) * 17 : max(stop - border, 0) * 17]
            )
        at = range(len(self))[index]
        if at < border:
            return Network(int.from_bytes(self._four[at * 5 : at * 5 + 5]))
        at = (at - border) * 17
        return Network(_V6 | int.from_bytes(self._six[at : at + 17]))

    def __contains__(self, network: object) -> bool:
        if not isinstance(network, Network):
            return False
        at = bisect_left(self, network)
        return at < len(self) and self[at] == network

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Networks):
            return self._four == other._four and self._six == other._six
        return AbstractSet.__eq__(self, other)

    def __hash__(self) -> int:
        return self._hash()

    def __sub__(self, other: AbstractSet[object]) -> "Networks":
        if not isinstance(other, Networks):
            return Networks.of([network for network in self if network not in other])
        if not other:
            return self
        parts = [
            runs.difference(self.packed(each), other.packed(each), WIDTH[each]) for each in (4, 6)
        ]
        return Networks(*parts)

    def __and__(self, other: AbstractSet[object]) -> "Networks":
        if self == other:
            return self
        few, many = sorted((self, other), key=len)
        return Networks.of(few) - (few - many)  # type: ignore[arg-type]  # of sets of networks

    def __or__(self, other: AbstractSet[object]) -> "Networks":
        more = Networks.of(other)  # type: ignore[arg-type]  # likewise
        if not self or not more:
            return self or more
        return Networks(*(runs.union(self.packed(v), more.packed(v), WIDTH[v]) for v in (4, 6)))

    __rand__ = __and__
    __ror__ = __or__

    def __repr__(self) -> str:
        some = ", ".join(map(str, self[:3])) + (", ..." if len(self) > 3 else "")
        return f"Networks({len(self)}: {some})" if self else "Networks()"

    @classmethod
    def _from_iterable(cls, networks: Iterable[Network]) -> "Networks":  # type: ignore[override]  # sets of networks only
        return cls.of(networks)

    @property
    def _border(self) -> int:
        return len(self._four) // 5

    def _places(self, version: int) -> list[int]:
        """Return the places, within the family, of the networks that are no single addresses."""
        width = WIDTH[version]
        lengths = self.packed(version)[width - 1 :: width]
        return [found.start() for found in WIDER[version].finditer(lengths)]


NOTHING: Final = Networks()


def covered(network: Network, by: Sequence[Network]) -> bool:
    """Whether a network of the collapsed ``by`` holds all of it."""
    index = bisect_right(by, network)
    return index > 0 and network <= by[index - 1].end


def overlaps(network: Network, others: Sequence[Network]) -> bool:
    """Whether a network of the collapsed ``others`` shares an address with it."""
    index = bisect_left(others, network)
    inside = index < len(others) and others[index] <= network.end
    return inside or covered(network, others)
