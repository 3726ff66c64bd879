"""That the kernel tells of sockets at all: what is not told must not pass for peace."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from reconciler import Network, SourceUnreadable
from reconciler.netlink import HOLDING, LISTEN, NetlinkError, Sockets, TcpSocket

_LOOPBACK: Final = Network.parse("127.0.0.1")
_FREEBIND: Final = 15  # IP_FREEBIND, linux/in.h: the address need not be there
_OTHER_PORTS: Final = range(65535, 1023, -1)
_MODULES: Final = (
    "load the modules: modprobe -a inet_diag tcp_diag; where there are none, leave the source out"
)


_BLIND: Final = f"Linux {os.uname().release} does not tell the window of a peer; 5.4 is needed"


@contextmanager
def readable() -> Iterator[None]:
    """Turn what the kernel refuses into `SourceUnreadable`."""
    try:
        yield
    except NetlinkError as error:
        raise SourceUnreadable(
            f"cannot ask the kernel about its TCP sockets (sock_diag): {error.what}",
            error.hint or f"{_MODULES}; in a sandbox, allow AF_NETLINK",
        ) from None


def proved(sockets: Sockets) -> None:
    """Find a socket of our own by dump and by exact query. Raise `SourceUnreadable`.

    Where the module is missing, the kernel says of every socket that it is gone.
    """
    try:
        with socket.socket() as own:
            own.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
            port = _listening(own)
            listed = [*sockets.dump(states=(LISTEN,), ports=(port,))]
            found = sockets.find(_LOOPBACK, port, None, 0)
    except OSError as error:
        raise SourceUnreadable(
            f"cannot open a TCP socket, to prove that the kernel tells of it: {error.strerror}",
            "in a sandbox, allow AF_INET",
        ) from None
    _check(listed, found)


def blindness(sockets: Sockets) -> str | None:
    """Return why nobody's window is ever told; None where it is, or where nothing tells.

    It makes no socket, which a service may not. Where the module is missing, a dump says so.
    """
    for states in ((LISTEN,), HOLDING):
        listed = [*sockets.dump(states=states)]
        if listed:
            return _BLIND if listed[0].window is None else None
    return None


def _listening(own: socket.socket) -> int:
    """Listen on any port that is free, also where those that the kernel gives are used up."""
    for port in (0, *_OTHER_PORTS):
        try:
            own.bind((str(_LOOPBACK), port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            break
    own.listen(1)
    return int(own.getsockname()[1])


def _check(listed: list[TcpSocket], found: TcpSocket | None) -> None:
    if not listed or found is None or found.cookie not in {each.cookie for each in listed}:
        how = "in a list" if not listed else "by its address"
        raise SourceUnreadable(
            f"the kernel does not tell of TCP sockets: one of our own was not found {how}", _MODULES
        )
    if found.window is None:
        raise SourceUnreadable(_BLIND, "use the source kmsg, and: treason init --kernel-message")
