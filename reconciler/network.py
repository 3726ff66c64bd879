"""Networks as integers: one canonical, compact value for an address or a network."""

import re
from collections.abc import Iterator
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from reconciler.errors import InvalidNetwork

_V6: Final = 1 << 136
_KEY4: Final = 4 << 40
_KEY6: Final = 6 << 136
_MAPPED: Final = 0xFFFF << 32
_MAPPED_LENGTH: Final = 96
_BITS: Final = {4: 32, 6: 128}
_SHOWN: Final = 100
"""Characters that are told of what is no network: it may be a file of another kind."""


class Network(int):
    """One IPv4 or IPv6 network; an address is a network of full length.

    The integer is ``address << 8 | prefix length``, with bit 136 set for IPv6. So a network
    costs no more than a number, equality and hashing run at the speed of numbers, and sorting
    gives IPv4 before IPv6, then address order, then the wider network before those inside it.
    """

    __slots__ = ()

    @classmethod
    def of(cls, version: int, address: int, length: int) -> "Network":
        """Build from numbers that are known to be canonical (no host bits set)."""
        return cls((_V6 if version == 6 else 0) | address << 8 | length)

    @classmethod
    def parse(cls, text: str) -> "Network":
        """Read what a person or the kernel's log wrote; raise `InvalidNetwork`.

        As `exact`, but an IPv4-mapped IPv6 network (RFC 4291 §2.5.5.2) is the IPv4 network that
        it stands for.
        """
        network = cls.exact(text)
        return network if network < _V6 else network.unmapped

    @classmethod
    def exact(cls, text: str) -> "Network":
        """Read ``192.0.2.1``, ``192.0.2.0/24``, ``2001:db8::/32``; raise `InvalidNetwork`.

        Refused: leading zeros, host bits behind the prefix, zones (``%eth0``), names.
        """
        address, slash, suffix = text.partition("/")
        version = 6 if ":" in address else 4
        bits = _BITS[version]
        try:
            number = int.from_bytes(inet_pton(AF_INET6 if version == 6 else AF_INET, address))
        except (OSError, ValueError):
            raise _invalid(text) from None
        if not slash:
            return cls.of(version, number, bits)
        length = _prefix_length(text, suffix, bits)
        if number & ((1 << (bits - length)) - 1):
            network = cls.of(version, number >> (bits - length) << (bits - length), length)
            raise InvalidNetwork(
                f"{text!r} is an address inside a network", f"write {network} for the network"
            )
        return cls.of(version, number, length)

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if self & _V6 else 4

    @property
    def bits(self) -> int:
        """The width of an address of this family: 32 or 128."""
        return 128 if self & _V6 else 32

    @property
    def length(self) -> int:
        """The prefix length."""
        return self & 0xFF

    @property
    def is_host(self) -> bool:
        """Whether it is a single address."""
        length = self & 0xFF
        return length == 128 or (length == 32 and self < _V6)

    @property
    def address(self) -> int:
        """The first address as a number of 32 or 128 bits."""
        return (self & ~_V6) >> 8

    @property
    def unmapped(self) -> "Network":
        """The IPv4 network that an IPv4-mapped IPv6 network stands for; of another one itself."""
        if self >= _V6 and self.address >> 32 << 32 == _MAPPED and self.length >= _MAPPED_LENGTH:
            return Network.of(4, self.address & 0xFFFFFFFF, self.length - _MAPPED_LENGTH)
        return self

    @property
    def end(self) -> int:
        """The greatest integer of a network inside: ``a <= b <= a.end`` means that b is in a."""
        return self | ((1 << (self.bits - self.length)) - 1) << 8 | 0xFF

    @property
    def supernets(self) -> "Iterator[Network]":
        """The wider networks that it lies in, the widest first."""
        bits, address = self.bits, self.address
        for length in range(self.length):
            yield Network.of(self.version, address >> (bits - length) << (bits - length), length)

    def meets(self, other: "Network") -> bool:
        """Whether two networks share an address: one lies in the other."""
        return self <= other <= self.end or other <= self <= other.end

    @property
    def halves(self) -> "tuple[Network, Network]":
        """The two networks of half the size; a single address has none."""
        lower = Network(self + 1)
        return lower, Network(lower | 1 << (self.bits - lower.length + 8))

    @property
    def packed(self) -> bytes:
        """The first address in network byte order: 4 or 16 bytes."""
        return self.address.to_bytes(self.bits // 8)

    @property
    def key(self) -> bytes:
        """The network as bytes that sort as networks do: 4 or 6, the address, the length."""
        if self < _V6:
            return (_KEY4 | self).to_bytes(6)
        return (_KEY6 | self & ~_V6).to_bytes(18)

    @staticmethod
    def is_key(key: bytes) -> bool:
        """Whether bytes are the `key` of a network."""
        bits = {6: 32, 18: 128}.get(len(key), 0)
        if not bits or key[0] != (4 if bits == 32 else 6) or key[-1] > bits:
            return False
        return not int.from_bytes(key[1:-1]) & ((1 << bits - key[-1]) - 1)

    @classmethod
    def of_key(cls, key: bytes) -> "Network":
        """Return the network of a `key`."""
        return cls((_V6 if key[0] == 6 else 0) | int.from_bytes(key[1:]))

    def __str__(self) -> str:
        if self < _V6 and self & 0xFF == 32:
            return inet_ntop(AF_INET, (self >> 8).to_bytes(4))
        address = inet_ntop(AF_INET6 if self & _V6 else AF_INET, self.packed)
        return address if self.is_host else f"{address}/{self.length}"

    def __repr__(self) -> str:
        return f"Network({str(self)!r})"


def _prefix_length(text: str, suffix: str, bits: int) -> int:
    if re.fullmatch(r"0|[1-9][0-9]{0,2}", suffix) is None:
        raise _invalid(text)
    if int(suffix) > bits:
        raise InvalidNetwork(
            f"{text!r} has a prefix longer than {bits} bits", f"write at most /{bits}"
        )
    return int(suffix)


def _invalid(text: str) -> InvalidNetwork:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return InvalidNetwork(
        f"{shown!r} is not an IP address or network",
        "write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32, without leading zeros and without %eth0",
    )
