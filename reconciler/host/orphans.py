"""Whether this kernel ends an orphan, a connection that its program has closed, when it is told to.

Linux 5.10 answers that it did, and the orphan, which would have died by itself, stays for ever.
"""

import socket
from contextlib import ExitStack, suppress
from typing import Final

from reconciler.netlink.errors import NetlinkError
from reconciler.netlink.sockdiag import (
    CLOSING,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    Sockets,
    TcpSocket,
)
from reconciler.network import Network

_CLOSED: Final = (FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING)
"""The states that a program's close() leads to."""

_LOOPBACK: Final = "127.0.0.1"
_LONGEST: Final = 1.0
"""Seconds to wait for a connection of our own."""

_ROOM: Final = 4096
_BLOCK: Final = bytes(1 << 16)


def is_orphan(one: TcpSocket) -> bool:
    """Whether no program holds the connection any more."""
    return not one.inode and one.state in _CLOSED


def end(sockets: Sockets) -> bool | None:
    """Try it on a loopback connection of our own; None where it cannot be tried.

    Nothing is left behind: a reader that closes with data unread resets what is left.
    """
    with ExitStack() as stack, suppress(OSError, NetlinkError):
        orphan = _orphan(sockets, stack)
        if orphan is None or not sockets.destroy(orphan):
            return None
        left = sockets.exact(orphan)
        return left is None or left.cookie != orphan.cookie
    return None


def _orphan(sockets: Sockets, stack: ExitStack) -> TcpSocket | None:
    """Make a connection whose reader, kept in ``stack``, takes nothing, and close the other end."""
    listener = stack.enter_context(socket.socket())
    listener.bind((_LOOPBACK, 0))
    listener.listen(1)
    reader = stack.enter_context(socket.socket())
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
    for each in (listener, reader):
        each.settimeout(_LONGEST)  # what a firewall or a unit keeps from loopback is just lost
    reader.connect(listener.getsockname())
    writer, (_, port) = listener.accept()
    with writer:
        writer.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                writer.send(_BLOCK)
    here = Network.parse(_LOOPBACK)
    found = sockets.find(here, listener.getsockname()[1], here, port)
    return found if found is not None and is_orphan(found) else None
