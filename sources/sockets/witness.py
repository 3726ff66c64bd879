"""Which sockets of this machine a message can mean: it tells the peer, and no address of ours."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from reconciler import Connection, Network
from reconciler.netlink import HOLDING, Sockets, TcpSocket

_FEW: Final = 256
"""Exact queries, of 15 µs each, that are as quick as a dump of some thousand sockets."""


def found(
    sockets: Sockets, connections: Collection[Connection], own: Collection[Network]
) -> dict[Connection, list[TcpSocket]]:
    """Return the sockets of each connection that there is, which may have data in flight.

    ``own`` are the machine's addresses. A few connections are asked for by each of these. What is
    not found so may have another address (IP_TRANSPARENT) or a device (SO_BINDTODEVICE) of its own:
    that, and what is many, is held against one dump. Only a dump fails where the module is missing.
    """
    by_address: dict[Connection, list[TcpSocket]] = {}
    if len(connections) * len(own) <= _FEW:
        for each in connections:
            if there := [*_exact(sockets, each, own)]:
                by_address[each] = there
    left = {each for each in connections if each not in by_address}
    return by_address | (_listed(sockets, left) if left else {})


def _exact(sockets: Sockets, each: Connection, own: Iterable[Network]) -> Iterator[TcpSocket]:
    for local in own:
        if local.version == each.peer.version:
            one = sockets.find(local, each.local_port, each.peer, each.peer_port)
            if one is not None and one.state in HOLDING:
                yield one


def _listed(
    sockets: Sockets, connections: Collection[Connection]
) -> dict[Connection, list[TcpSocket]]:
    listed: dict[Connection, list[TcpSocket]] = {}
    wanted = [(each.peer, each.peer_port, each.local_port) for each in connections]
    for one in sockets.dump(connections=wanted):
        each = Connection(one.peer, one.peer_port, one.local_port)
        listed.setdefault(each, []).append(one)
    return listed
