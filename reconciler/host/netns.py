"""Network namespaces and packets between them, for the demonstration and for tests."""

import ctypes
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from reconciler.errors import TreasonError
from reconciler.execute import run

HOST4: Final = "192.0.2.1"
HOST6: Final = "2001:db8::1"
WITNESS4: Final = "192.0.2.2"
WITNESS6: Final = "2001:db8::2"
"""Addresses for documentation (RFC 5737, RFC 3849): the host, and a peer that stays unbanned."""

_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_CURRENT: Final = "/proc/thread-self/ns/net"
_PORT: Final = 4711
_PATIENCE: Final = 5.0


class Namespace:
    """A new network namespace. It lives until it is closed."""

    def __init__(self) -> None:
        home = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", _CLONE_NEWNET)
            self._descriptor = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _call("setns", home, _CLONE_NEWNET)
            os.close(home)

    @property
    def path(self) -> str:
        """A path that names it for ``ip link set ... netns``."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into it, for the time of the block."""
        home = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._descriptor, _CLONE_NEWNET)
            yield
        finally:
            _call("setns", home, _CLONE_NEWNET)
            os.close(home)

    def close(self) -> None:
        """Let it go; the kernel removes it with its last user."""
        os.close(self._descriptor)


class Wire:
    """A cable from the current namespace, the host, to one whose peers have any addresses.

    Packets pass the host's prerouting hook as they would from outside, which those on loopback
    do not.
    """

    def __init__(self, peers: Iterable[str]) -> None:
        self._stack = ExitStack()
        self.peers = Namespace()
        self._stack.callback(self.peers.close)
        run(["ip", "link", "set", "lo", "up"])
        run(["ip", "link", "add", "host0", "type", "veth", "peer", "name", "peer0",
             "netns", self.peers.path])  # fmt: skip
        _bring_up("host0", [HOST4, HOST6])
        with self.peers.entered():
            _bring_up("peer0", [WITNESS4, WITNESS6, *peers])
        self._listeners = {
            family: self._stack.enter_context(_bound(family, "")) for family in _FAMILIES
        }

    def arriving(self, sources: Sequence[str]) -> set[str]:
        """Send a packet from each source, and give those whose packet reaches the host.

        The witness speaks last: when its packet is there, all that will come has come.
        """
        arrived: set[str] = set()
        for family, (host, witness) in _FAMILIES.items():
            senders = [s for s in sources if (":" in s) is (family == socket.AF_INET6)]
            if senders:
                arrived |= self._heard(family, host, [*senders, witness]) & set(senders)
        return arrived

    def close(self) -> None:
        """Take the cable away."""
        self._stack.close()
        run(["ip", "link", "del", "host0"], codes=(0, 1, 2))  # it may go with its other end

    def _heard(self, family: socket.AddressFamily, host: str, senders: Sequence[str]) -> set[str]:
        token = os.urandom(16)
        with self.peers.entered():
            for sender in senders:
                with _bound(family, sender) as speaker:
                    speaker.sendto(token, (host, _PORT))
        heard: set[str] = set()
        while senders[-1] not in heard:
            try:
                data, address = self._listeners[family].recvfrom(64)
            except TimeoutError:
                raise TreasonError(f"no packet arrives, not even from {senders[-1]}") from None
            if data == token:
                heard.add(address[0])
        return heard


_FAMILIES: Final = {
    socket.AF_INET: (HOST4, WITNESS4),
    socket.AF_INET6: (HOST6, WITNESS6),
}


def _bound(family: socket.AddressFamily, address: str) -> socket.socket:
    """Open a UDP socket at an address; the empty one listens for probes at all of them."""
    opened = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.settimeout(_PATIENCE)
    opened.bind((address, 0 if address else _PORT))
    return opened


def _bring_up(device: str, addresses: Iterable[str]) -> None:
    for address in addresses:
        options = ["nodad"] if ":" in address else []
        run(["ip", "addr", "add", address, "dev", device, *options])
    run(["ip", "link", "set", device, "up"])
    for version in ("-4", "-6"):
        run(["ip", version, "route", "add", "default", "dev", device])


def _call(name: str, *arguments: int) -> None:
    """Call the C library; os.unshare and os.setns exist from Python 3.12 on."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        error = os.strerror(ctypes.get_errno())
        raise TreasonError(
            f"{name}: cannot make or enter a network namespace: {error}",
            "run as root, or where user namespaces are allowed with: unshare -Urn",
        )
