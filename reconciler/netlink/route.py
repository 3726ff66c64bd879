"""What the kernel's routing knows of this machine (rtnetlink(7)).

Names in capitals are the kernel's: ``linux/rtnetlink.h``, ``linux/if_addr.h``, ``linux/if_link.h``
and ``linux/nexthop.h`` (6.1).
"""

import errno
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from reconciler.netlink.connection import ROUTE, Connection, messages
from reconciler.netlink.errors import CUT_OFF, NetlinkError, Stale, refusal
from reconciler.netlink.message import DUMP, Message, attribute, whole
from reconciler.network import Network

_GET_LINKS, _GET_ADDRESSES, _GET_ROUTES, _GET_HOPS = 18, 22, 26, 106  # RTM_GET*
_ADDRESS, _LOCAL, _BROADCAST = 1, 2, 4  # IFA_*
"""Of a point-to-point link, the first is the peer's."""

_INFO, _MASK, _LEAN = 18, 29, 8  # IFLA_LINKINFO, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
_KIND, _DATA = 1, 2  # IFLA_INFO_*
_GRE, _IPTUN, _VTI = {7}, {3}, {5}  # IFLA_GRE_REMOTE, IFLA_IPTUN_REMOTE, IFLA_VTI_REMOTE
_REMOTES: Final = {
    b"gre": _GRE, b"gretap": _GRE, b"ip6gre": _GRE, b"ip6gretap": _GRE, b"erspan": _GRE,
    b"ipip": _IPTUN, b"sit": _IPTUN, b"ip6tnl": _IPTUN, b"vti": _VTI, b"vti6": _VTI,
    b"vxlan": {2, 16}, b"geneve": {2, 7},  # IFLA_VXLAN_GROUP*, IFLA_GENEVE_REMOTE*
}  # fmt: skip
"""Of each kind of tunnel, what holds the address of its far end."""

_TO, _GATEWAY, _MULTIPATH, _TABLE, _VIA = 1, 5, 9, 15, 18  # RTA_*; RTA_DST
_HOP_GATEWAY: Final = 6  # NHA_GATEWAY
_HERE: Final = 2  # RTN_LOCAL
_OWN_TABLE: Final = (255).to_bytes(4, sys.byteorder)  # RT_TABLE_LOCAL

_LINK, _ADDR, _ROUTE, _HOP = 15, 7, 11, 7
"""Bytes of struct ifinfomsg, ifaddrmsg, rtmsg and nhmsg behind the family."""

_HOP_HEAD: Final = 8  # bytes of struct rtnexthop: length, flags, hops, index
_VERSIONS: Final = {2: 4, 10: 6}  # AF_INET, AF_INET6
_WIDTHS: Final = {b"\x02": 4, b"\x0a": 16}
_LENGTH: Final = struct.Struct("=I")
_START, _END, _TYPE, _TO_AT = 16, 17, 23, 40
"""Where, in the answer about a route, its family stands and ends, its type, and the destination, if
it has one: it comes second, after the table."""

_TRIES: Final = 3


@frozen
class Routes:
    """``gateways`` are the next hops of all routes; ``here`` are networks that are this machine.

    All tables count, and next-hop objects, whether a route has them or not. What is local in
    another table than the kernel's own is that of a transparent proxy: often the whole Internet.
    """

    gateways: list[Network]
    here: list[Network]


def addresses() -> list[Network]:
    """Return every address of the caller's network namespace, as hosts. Raise `NetlinkError`."""
    return [_host(a.get(_LOCAL, a.get(_ADDRESS, b""))) for a in _addresses()]


def broadcasts() -> list[Network]:
    """Return the broadcast addresses of its networks, likewise."""
    return [_host(each[_BROADCAST]) for each in _addresses() if _BROADCAST in each]


def peers() -> list[Network]:
    """Return the far ends of its point-to-point links and of its tunnels, likewise."""
    found = [
        each[_ADDRESS]
        for each in _addresses()
        if _LOCAL in each and each.get(_ADDRESS, each[_LOCAL]) != each[_LOCAL]
    ]
    lean = attribute(_MASK, _LEAN.to_bytes(4, sys.byteorder))
    for answer in _dump(_GET_LINKS, _LINK, lean):
        info = dict(whole(dict(whole(answer.body)).get(_INFO, b"")))
        remotes = _REMOTES.get(info.get(_KIND, b"").rstrip(b"\0"), set())
        found += [value for kind, value in whole(info.get(_DATA, b"")) if kind in remotes]
    return [_host(each) for each in found if any(each)]


def routes() -> Routes:
    """Return what the routes of all tables say, likewise."""
    gateways: dict[Network, None] = {}
    here = []
    for answer in _dump(_GET_ROUTES, _ROUTE, split=_Alike()):
        if answer.head[6] != _HERE:
            gateways |= dict.fromkeys(_next_hops(answer.body))
            continue
        told = dict(whole(answer.body))
        if told.get(_TABLE) == _OWN_TABLE and _TO in told and answer.family in _VERSIONS:
            version, to = _VERSIONS[answer.family], int.from_bytes(told[_TO])
            here.append(Network.of(version, to, answer.head[0]))
    return Routes([*(gateways | dict.fromkeys(_objects()))], here)


def _addresses() -> Iterator[dict[int, bytes]]:
    for answer in _dump(_GET_ADDRESSES, _ADDR):
        if answer.family in _VERSIONS:
            yield dict(whole(answer.body))


def _objects() -> Iterator[Network]:
    """Yield the gateways of all next-hop objects; before Linux 5.3 there are none."""
    try:
        answers = _dump(_GET_HOPS, _HOP)
    except NetlinkError as error:
        if error.code == errno.EOPNOTSUPP:
            return
        raise
    for answer in answers:
        yield from (_host(value) for kind, value in whole(answer.body) if kind == _HOP_GATEWAY)


def _next_hops(body: bytes) -> Iterator[Network]:
    """Yield the gateways of a route; each of several next hops has attributes of its own."""
    for kind, value in whole(body):
        if kind == _GATEWAY:
            yield _host(value)
        elif kind == _VIA and int.from_bytes(value[:2], sys.byteorder) in _VERSIONS:
            yield _host(value[2:])
        elif kind == _MULTIPATH:
            at = 0
            while at < len(value):
                length = int.from_bytes(value[at : at + 2], sys.byteorder)
                if not _HOP_HEAD <= length <= len(value) - at:
                    raise refusal(errno.EBADMSG, CUT_OFF)
                yield from _next_hops(value[at + _HOP_HEAD : at + length])
                at += (length + 3) & ~3


def _host(packed: bytes) -> Network:
    """Return the address. Raise `NetlinkError` if it has neither 4 nor 16 bytes."""
    version = {4: 4, 16: 6}.get(len(packed))
    if version is None:
        raise refusal(errno.EBADMSG, CUT_OFF)
    return Network.of(version, int.from_bytes(packed), len(packed) * 8)


def _dump(
    kind: int, head: int, body: bytes = b"", split: "_Alike | None" = None
) -> Iterable[Message]:
    """Return all answers to a request; what changes meanwhile makes the kernel list it again.

    Where it changes all the time, what any of several lists has is returned.
    """
    request = Message(kind, 0, body, DUMP, head=bytes(head))
    found: list[Message] = []
    for _ in range(_TRIES):
        try:
            found += Connection(protocol=ROUTE).ask(request, split or messages)
            break
        except Stale:
            continue
    return found


class _Alike:
    """Splits answers about routes; of those that differ in their destination alone it gives one.

    A router has a hundred thousand routes and three gateways. What is local is left as it is.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __call__(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages. Raise `NetlinkError` if one is cut off.

        What was seen holds its own length, so what is like it is whole.
        """
        seen, unpack, width = self._seen, _LENGTH.unpack_from, _WIDTHS.get(data[_START:_END], 0)
        at, last, behind = 0, len(data) - _START, _TO_AT + width
        while at <= last:
            end = at + unpack(data, at)[0]
            alike = data[at : at + _TO_AT] + data[at + behind : end]
            if alike not in seen:
                message = next(messages(data[at : max(end, at + 1)]))
                if _leads(message, width):
                    seen.add(alike)
                yield message
            at = (end + 3) & ~3
        yield from messages(data[at:])


def _leads(message: bytes, width: int) -> bool:
    """Whether it tells of a route that leads elsewhere, with its destination at the usual place.

    One that leads nowhere does, too: there are blocklists of them.
    """
    head = struct.pack("=HH", 4 + width, _TO)
    elsewhere = len(message) >= _TO_AT + width and message[_TYPE] != _HERE
    return bool(width) and elsewhere and message[_TO_AT - 4 : _TO_AT] == head
