"""Sets asked for one network by its key: a question to the kernel, and no program.

Names in capitals are those of ``linux/netfilter/ipset/ip_set.h`` (6.1).
"""

from collections.abc import Iterator
from socket import AF_INET, AF_INET6
from typing import Final

from backends.ipset import layout, programs
from reconciler import BackendUnreadable, Network, Networks
from reconciler.netlink import (
    NESTED,
    Connection,
    Message,
    Missing,
    NetlinkError,
    attribute,
    nested,
    text,
)

_TEST: Final = 6 << 8 | 11  # NFNL_SUBSYS_IPSET, IPSET_CMD_TEST
_PROTOCOL, _NAME, _DATA = 1, 2, 7  # IPSET_ATTR_PROTOCOL, _SETNAME, _DATA
_IP, _CIDR = 1, 3  # IPSET_ATTR_IP, _CIDR
_VERSION: Final = bytes([6])
"""The least protocol that kernels understand today: IPSET_PROTOCOL_MIN."""

_ADDRESS: Final = {4: 1 | 0x4000, 6: 2 | 0x4000}
"""IPSET_ATTR_IPADDR_IPV4, _IPV6, with NLA_F_NET_BYTEORDER."""

_NOT_HELD: Final = 4103  # IPSET_ERR_EXIST
_OF_TYPE: Final = 4352
"""IPSET_ERR_TYPE_SPECIFIC: from here on a type refuses what it can never hold."""


def members(name: str, network: Network) -> Networks:
    """Return the members of a set that share an address with the network.

    Of a single address all that may hold it are asked for; for a network the set is listed. Raise
    `BackendUnreadable`.
    """
    base = name.partition("_")[0]
    found = next((each for each in layout.SETS if each.name == base), None)
    if found is None:
        return Networks()
    if not network.is_host:
        return layout.members(found, programs.save(name), name)[0].meeting(network)
    try:
        return Networks.of(_holding(Connection(), found, name, network))
    except NetlinkError as error:
        raise BackendUnreadable(f"ipset: {name}: {error.what}", error.hint) from None


def _holding(
    connection: Connection, found: layout.Set, name: str, address: Network
) -> Iterator[Network]:
    """Yield the members that hold an address; a set of networks first tells whether one does."""
    if not _test(connection, name, address, None):
        return
    wider = [
        each
        for each in (() if found.kind == "hash:ip" else address.supernets)
        if each.length and _test(connection, name, each, each.length)
    ]
    yield from wider or [address]


def _test(connection: Connection, name: str, network: Network, length: int | None) -> bool:
    """Whether a set holds a network of exactly this length; without one, whether it holds it."""
    address = nested(_IP, attribute(_ADDRESS[network.version], network.packed))
    cidr = b"" if length is None else attribute(_CIDR, bytes([length]))
    body = (
        attribute(_PROTOCOL, _VERSION)
        + text(_NAME, name)
        + attribute(_DATA | NESTED, address + cidr)
    )
    family = AF_INET if network.version == 4 else AF_INET6
    try:
        for _ in connection.ask(Message(_TEST, family, body)):
            pass
    except Missing:
        return False
    except NetlinkError as refused:
        if refused.code == _NOT_HELD or refused.code >= _OF_TYPE:
            return False
        raise
    return True
