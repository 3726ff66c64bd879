"""What the kernel's routing knows of this machine (rtnetlink(7))."""

from typing import Final

from reconciler.netlink.connection import ROUTE, Connection
from reconciler.netlink.message import DUMP, Message, attributes
from reconciler.network import Network

_GET_ADDRESSES: Final = 22  # RTM_GETADDR, linux/rtnetlink.h
_ADDRESS, _LOCAL, _BROADCAST = 1, 2, 4  # IFA_*, linux/if_addr.h
"""Of a point-to-point link, the first is the peer's."""

_REST: Final = bytes(7)  # of struct ifaddrmsg: prefix length, flags, scope, index
_VERSIONS: Final = {2: 4, 10: 6}  # AF_INET, AF_INET6


def addresses() -> list[Network]:
    """Return every address of the caller's network namespace, as hosts. Raise `NetlinkError`."""
    return _told(_LOCAL, _ADDRESS)


def broadcasts() -> list[Network]:
    """Return the broadcast addresses of its networks, likewise."""
    return _told(_BROADCAST)


def _told(*kinds: int) -> list[Network]:
    """Return the first of these attributes that the kernel tells of each address."""
    request = Message(_GET_ADDRESSES, 0, b"", DUMP, head=_REST)
    found = []
    for answer in Connection(protocol=ROUTE).ask(request):
        told = dict(attributes(answer.body))
        packed = next((told[kind] for kind in kinds if kind in told), None)
        if packed is not None and answer.family in _VERSIONS:
            version = _VERSIONS[answer.family]
            found.append(Network.of(version, int.from_bytes(packed), len(packed) * 8))
    return found
