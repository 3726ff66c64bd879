"""What the table is to hold, in as few bytes as the addresses have, and what of it to send.

Messages are made of it in a fiftieth of the time that the kernel takes to carry them out, so it is
the elements alone that are kept, a run of bytes for each set.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from backends.nftables.layout import Shape, spread
from backends.nftables.statements import Hosts, Intervals, Set
from reconciler import Desired, Network, Networks

_APART: Final = 4096
"""Addresses that are kept one by one until they are put between the others."""

Contents = Hosts | Intervals


class Addresses:
    """The addresses of a hash set: most of them packed and ascending, the latest one by one."""

    def __init__(self, width: int, packed: bytes = b"") -> None:
        """Take ascending addresses of ``width`` bytes each."""
        self._width = width
        self._packed = packed
        self._latest: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._packed) // self._width + len(self._latest)

    def packed(self) -> bytes:
        """Return all of them, the latest last."""
        return b"".join([self._packed, *self._latest])

    def unheld(self, addresses: bytes) -> bytes:
        """Return those of packed addresses that are not held."""
        return b"".join([each for each in self._each(addresses) if not self._holds(each)])

    def take(self, addresses: bytes) -> None:
        """Hold packed addresses, too, that are not held yet."""
        self._latest.update(self._each(addresses))
        if len(self._latest) > _APART:
            self._packed, self._latest = self._merged(), set()

    def _each(self, addresses: bytes) -> list[bytes]:
        places = range(0, len(addresses), self._width)
        return [addresses[at : at + self._width] for at in places]

    def _holds(self, address: bytes) -> bool:
        at = self._place(address)
        return address in self._latest or self._packed[at : at + self._width] == address

    def _place(self, address: bytes) -> int:
        """Return where the first packed address begins that is not less."""
        packed, width = self._packed, self._width
        places = range(0, len(packed), width)
        return width * bisect_left(places, address, key=lambda at: packed[at : at + width])

    def _merged(self) -> bytes:
        parts: list[bytes] = []
        start = 0
        for address in sorted(self._latest):
            at = self._place(address)
            parts += [self._packed[start:at], address]
            start = at
        return b"".join([*parts, self._packed[start:]])


class Holding:
    """All that the table is to hold, laid out in its sets."""

    def __init__(self, desired: Desired, owner: str, shape: Shape) -> None:
        self.owner = owner
        self.shape = shape
        self._addresses: dict[str, Addresses] = {}
        self._networks: dict[str, Networks] = {}
        for version in (4, 6):
            hashes = shape.hosts(version)
            parts = spread(desired.banned.hosts(version), hashes)
            for each, part in zip(hashes, parts, strict=True):
                self._addresses[each.name] = Addresses(each.width, part)
        for each in shape.sets:
            if each.interval:
                wider = Networks.of(desired.banned.wider(each.version))
                held = wider if each.banned else desired.passed.family(each.version)
                self._networks[each.name] = held

    def relaid(self, shape: Shape) -> "Holding":
        """Return the same in another shape."""
        return Holding(self.desired(), self.owner, shape)

    def desired(self) -> Desired:
        """Return all of it as it is desired."""
        passed = Networks()
        banned = Networks()
        for version in (4, 6):
            hashes = self.shape.hosts(version)
            packed = b"".join([self._addresses[each.name].packed() for each in hashes])
            banned |= Networks.of_hosts(version, packed)
        for each in self._intervals():
            if each.banned:
                banned |= self.members(each)
            else:
                passed |= self.members(each)
        return Desired(banned, passed)

    def count(self, each: Set) -> int:
        """Return how many elements a set is to hold."""
        return len(self._networks[each.name] if each.interval else self._addresses[each.name])

    def endless(self, each: Set) -> Network | None:
        """Return the network of a set that reaches to the last address of all, if there is one."""
        held = self._networks.get(each.name)
        return held[-1] if held and _is_last(held[-1]) else None

    def members(self, each: Set) -> Networks:
        """Return all that a set is to hold."""
        if each.interval:
            return self._networks[each.name]
        return Networks.of_hosts(each.version, self._addresses[each.name].packed())

    def contents(self, names: Collection[str] | None = None) -> Iterator[Contents]:
        """Yield all that these sets are to hold; None stands for all sets."""
        for each in self.shape.sets:
            if names is not None and each.name not in names:
                continue
            if each.interval and self._networks[each.name]:
                yield Intervals(each, self._networks[each.name])
            elif not each.interval and self._addresses[each.name]:
                yield Hosts(each, self._addresses[each.name].packed())

    def additions(self, networks: Networks) -> list[Contents]:
        """Return what is to be sent so that all these networks are dropped.

        What lies inside a held network needs nothing. A network around held ones cannot be put
        beside them: of it is sent what they leave of it.
        """
        banned = networks.outermost()
        found: list[Contents] = []
        for version in (4, 6):
            nets = self._banned_nets(version)
            hashes = self.shape.hosts(version)
            for each, part in zip(hashes, spread(banned.hosts(version), hashes), strict=True):
                unheld = self._outside(nets, each, self._addresses[each.name].unheld(part))
                if unheld:
                    found.append(Hosts(each, unheld))
            held = self._networks[nets.name]
            pieces = [piece for wide in banned.wider(version) for piece in _left(wide, held)]
            if pieces:
                found.append(Intervals(nets, pieces))
        return found

    def passing(self, networks: Networks) -> list[Contents]:
        """Return likewise what is to be sent so that all these networks are passed ahead."""
        passed = networks.outermost()
        found: list[Contents] = []
        for each in self._intervals():
            held = self._networks[each.name]
            if not each.banned:
                family = passed.family(each.version)
                pieces = [piece for network in family for piece in _left(network, held)]
                found += [Intervals(each, pieces)] if pieces else []
        return found

    def take(self, additions: Sequence[Contents]) -> None:
        """Hold these, too, which were not held."""
        for each in additions:
            name = each.set.name
            if isinstance(each, Hosts):
                self._addresses[name].take(each.addresses)
            else:
                self._networks[name] |= Networks.of(each.networks)

    def crowded(self, additions: Sequence[Contents]) -> set[int]:
        """Return the families of which a hash would be more than half full with these, too."""
        return {
            each.set.version
            for each in additions
            if isinstance(each, Hosts)
            and 2 * (len(self._addresses[each.set.name]) + each.number)
            > self.shape.sizes.get(each.set.name, 0)
        }

    def _intervals(self) -> list[Set]:
        return [each for each in self.shape.sets if each.interval]

    def _banned_nets(self, version: int) -> Set:
        return next(each for each in self._intervals() if each.banned and each.version == version)

    def _outside(self, nets: Set, hashed: Set, addresses: bytes) -> bytes:
        """Return those of packed addresses that no held network holds."""
        held = self._networks[nets.name]
        if not held:
            return addresses
        width, bits = hashed.width, hashed.width * 8
        each = (addresses[at : at + width] for at in range(0, len(addresses), width))
        return b"".join(
            [
                address
                for address in each
                if not _covered(Network.of(nets.version, int.from_bytes(address), bits), held)
            ]
        )


def _is_last(network: Network) -> bool:
    """Whether it reaches to the last address of its family."""
    return bool((network.address + (1 << network.bits - network.length)) >> network.bits)


def _covered(network: Network, held: Networks) -> bool:
    """Whether one of the disjoint ``held`` holds all of it."""
    at = bisect_right(held, network)
    return at > 0 and network <= held[at - 1].end


def _left(network: Network, held: Networks) -> Iterator[Network]:
    """Yield, as disjoint networks, what the disjoint ``held`` leave of a network."""
    if _covered(network, held):
        return
    at = bisect_left(held, network)
    if at == len(held) or held[at] > network.end:
        yield network
        return
    for half in network.halves:
        yield from _left(half, held)
