"""What is sent and received: a message, and the attributes that it is made of.

An attribute is length and type, 16 bits each in the machine's order, then the value, padded to four
bytes. Names in capitals are the kernel's: ``linux/netlink.h`` (6.1).
"""

import errno
import struct
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from reconciler.netlink.errors import CUT_OFF, refusal

REQUEST: Final = 0x1
ACK: Final = 0x4
DUMP: Final = 0x300
CREATE: Final = 0x400
APPEND: Final = 0x800
NESTED: Final = 0x8000
"""Flags of a message (NLM_F_*), and of a type whose value is made of attributes (NLA_F_NESTED)."""

HEADER: Final = 16
"""Bytes of struct nlmsghdr, with which every message begins."""

LONGEST: Final = 0xFFFF - 4
"""Bytes of the longest value of an attribute."""

_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr: length, type


@frozen
class Message:
    """A request, an answer or an event: its type, its family (AF_* or NFPROTO_*), its attributes.

    ``port`` is the port id of the socket that it answers, or whose change an event tells of;
    ``head`` is what stands between family and attributes: zeros in what netfilter is asked.
    """

    kind: int
    family: int
    body: bytes
    flags: int = 0
    port: int = 0
    head: bytes = bytes(3)


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute with its padding."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + bytes(-len(value) & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute made of others."""
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return an attribute that is a string."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Return an attribute that is a number of 32 bits in network byte order."""
    return attribute(kind, value.to_bytes(4))


def attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type (without its flags) and the value of each attribute."""
    at = 0
    while at + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < 4:
            return
        yield kind & 0x3FFF, body[at + 4 : at + length]
        at += (length + 3) & ~3


def whole(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield as `attributes` does. Raise `NetlinkError` where one is cut off, or makes no sense."""
    at, end = 0, len(body)
    while at < end:
        length, kind = _ATTRIBUTE.unpack_from(body, at) if at + 4 <= end else (0, 0)
        if not 4 <= length <= end - at:
            raise refusal(errno.EBADMSG, CUT_OFF)
        yield kind & 0x3FFF, body[at + 4 : at + length]
        at += (length + 3) & ~3
