"""Elements of sets, packed as nf_tables takes and gives them, thousands in a message.

A single address is the attribute NFTA_LIST_ELEM with nothing but its key. An interval is two such
elements: the first address of it, and, marked, the first behind it; one that reaches to the last
address of all has no second.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from reconciler import Network
from reconciler.netlink import LONGEST, NESTED, attribute, attributes, nested, number

_ELEMENT: Final = 1  # NFTA_LIST_ELEM
_KEY, _FLAGS, _COMMENT = 1, 3, 6  # NFTA_SET_ELEM_KEY, _FLAGS, _USERDATA
_VALUE: Final = 1  # NFTA_DATA_VALUE
INTERVAL_END, CATCH_ALL = 1, 2  # NFT_SET_ELEM_*
CATCHING_ALL: Final = nested(_ELEMENT, number(_FLAGS, CATCH_ALL))
"""Asks for the element that stands for all that a set does not name."""

_HEAD: Final = struct.Struct("=HHHHHH")


@frozen
class Element:
    """One element as the kernel gives it: its key, and NFT_SET_ELEM_* flags.

    ``conditional`` says that it has more than these and a comment: a quota, a limit, a timeout.
    """

    key: bytes
    flags: int
    conditional: bool


def pack_hosts(addresses: bytes, width: int) -> Iterator[bytes]:
    """Yield lists of elements, each as much as an attribute holds.

    ``addresses`` are of ``width`` bytes each.
    """
    most = LONGEST // (_HEAD.size + width) * width
    for start in range(0, len(addresses), most):
        yield _laid_out(addresses[start : start + most], width, NESTED)


def pack_networks(networks: Iterable[Network]) -> Iterator[bytes]:
    """Yield lists of elements, each as much as an attribute holds."""
    packed: list[bytes] = []
    size = 0
    for network in networks:
        interval = _interval(network)
        if size + len(interval) > LONGEST:
            yield b"".join(packed)
            packed, size = [], 0
        packed.append(interval)
        size += len(interval)
    if packed:
        yield b"".join(packed)


def pack_end(behind: bytes) -> bytes:
    """Return an element that asks where the interval ends that reaches up to this address."""
    key = nested(_KEY, attribute(_VALUE, behind))
    return nested(_ELEMENT, number(_FLAGS, INTERVAL_END), key)


def unpack_hosts(listed: bytes, width: int) -> bytes | None:
    """Return the addresses of a list of plain elements; None if one has more than its key."""
    stride = _HEAD.size + width
    addresses = bytearray(len(listed) // stride * width)
    for byte in range(width):
        addresses[byte::width] = listed[_HEAD.size + byte :: stride][: len(listed) // stride]
    return bytes(addresses) if _laid_out(addresses, width, 0) == listed else None


def unpack(listed: bytes) -> Iterator[Element]:
    """Yield the elements of any list."""
    for _, body in attributes(listed):
        told = dict(attributes(body))
        key = dict(attributes(told.get(_KEY, b""))).get(_VALUE, b"")
        more = told.keys() - {_KEY, _FLAGS, _COMMENT}
        yield Element(key, int.from_bytes(told.get(_FLAGS, b"")), bool(more))


def _laid_out(addresses: bytes | bytearray, width: int, flag: int) -> bytes:
    """Put a head before each address; the kernel's own answers do not flag what is nested."""
    head = _HEAD.pack(
        width + 12, _ELEMENT | flag, width + 8, _KEY | flag, width + 4, _VALUE
    )  # lengths and types of the three attributes that wrap a key
    packed = bytearray((head + bytes(width)) * (len(addresses) // width))
    for byte in range(width):
        packed[len(head) + byte :: len(head) + width] = addresses[byte::width]
    return bytes(packed)


def _interval(network: Network) -> bytes:
    width = network.bits // 8
    behind = network.address + (1 << (network.bits - network.length))
    first = nested(_ELEMENT, nested(_KEY, attribute(_VALUE, network.packed)))
    if behind >> network.bits:
        return first
    return first + pack_end(behind.to_bytes(width))
