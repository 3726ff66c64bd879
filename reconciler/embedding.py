"""Addresses of IPv4 that stand inside those of IPv6: NAT64, 6to4 and Teredo."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from reconciler.network import Network

NAT64: Final = tuple(map(Network.parse, ("64:ff9b::/96", "64:ff9b:1::/96", "64:ff9b:1::/48")))
"""The prefixes that everybody knows: RFC 6052 §2.1, and two of all in that of RFC 8215."""

TEREDO: Final = Network.parse("2001::/32")
"""RFC 4380 §4: the server, flags and port, and the client with all its bits turned."""

SHARED: Final = (*NAT64, TEREDO)
"""Networks in which addresses that are next to each other belong to different people."""

SIX_TO_FOUR: Final = Network.parse("2002::/16")
SITE: Final = 48
"""RFC 3056 §2: the prefix length at which a site of 6to4 has its own network."""

LENGTHS: Final = (32, 40, 48, 56, 64, 96)
"""Of prefixes of NAT64 (RFC 6052 §2.2)."""

_ALL4: Final = 0xFFFFFFFF
_GAP, _GAP_END = 64, 72
"""The bits that RFC 6052 §2.2 leaves out."""


def prefix(text: object) -> Network:
    """Return a prefix of NAT64. Raise ValueError if it can be none."""
    network = Network.parse(text) if isinstance(text, str) else None
    if network is None or network.version == 4 or network.length not in LENGTHS:
        allowed = ", ".join(f"/{length}" for length in LENGTHS)
        raise ValueError(f"{text!r} is not a prefix of NAT64: an IPv6 network of {allowed}")
    return network


def embeddings(network: Network, nat64: Iterable[Network] = NAT64) -> Iterator[Network]:
    """Yield the networks of IPv6 that hold a network of IPv4, as far as they are networks."""
    for each in nat64:
        yield _behind(each, network)
    for outer in (SIX_TO_FOUR, TEREDO):  # as the site, as the server
        address = outer.address | network.address << 96 - outer.length
        yield Network.of(6, address, outer.length + network.length)


def embedded(address: Network, nat64: Sequence[Network] = NAT64) -> Iterator[Network]:
    """Yield the addresses of IPv4 that one of IPv6 may stand for."""
    number = address.address
    for each in nat64:
        if each <= address <= each.end:
            yield Network.of(4, _taken(each.length, number), 32)
    for outer in (SIX_TO_FOUR, TEREDO):
        if outer <= address <= outer.end:
            yield Network.of(4, number >> 96 - outer.length & _ALL4, 32)
    if TEREDO <= address <= TEREDO.end:
        yield Network.of(4, number & _ALL4 ^ _ALL4, 32)


def _behind(prefix: Network, network: Network) -> Network:
    """Put a network of IPv4 behind a prefix, around the gap, whatever follows it."""
    start, end = prefix.length, prefix.length + 32
    if start > _GAP:
        return Network.of(6, prefix.address | network.address, start + network.length)
    before = max(0, _GAP - start)
    high, low = network.address >> 32 - before, network.address & (1 << 32 - before) - 1
    address = prefix.address | high << 128 - _GAP | low << 128 - _GAP_END - (32 - before)
    length = start + network.length
    return Network.of(6, address, length if length <= min(_GAP, end) else length + 8)


def _taken(length: int, number: int) -> int:
    """Return the address of IPv4 behind a prefix of this length."""
    if length > _GAP:
        return number & _ALL4
    before = _GAP - length
    high = number >> 128 - _GAP & (1 << before) - 1
    low = number >> 128 - _GAP_END - (32 - before) & (1 << 32 - before) - 1
    return high << 32 - before | low
