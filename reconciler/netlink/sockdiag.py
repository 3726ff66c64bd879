"""What the kernel tells of TCP sockets, and how it ends one (sock_diag(7)).

Reading needs no privilege, ending needs CAP_NET_ADMIN. Only the network namespace is seen in which
`Sockets` was made. Names in capitals are the kernel's: ``linux/inet_diag.h``, ``linux/tcp.h``.
"""

import socket
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from reconciler.netlink.connection import Connection
from reconciler.netlink.errors import Missing
from reconciler.netlink.message import DUMP, HEADER, Message, attribute
from reconciler.network import Network

SOCK_DIAG: Final = 4
"""The protocol, NETLINK_SOCK_DIAG."""

ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT = range(1, 7)
CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = range(7, 12)
"""States of a socket, ``net/tcp_states.h``."""

HOLDING: Final = (ESTABLISHED, FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING)
"""The states in which data may wait for a peer's acknowledgement."""

RETRANSMIT, PERSIST = 1, 4
"""Timers: a segment waits for its acknowledgement; a closed window is probed (`tcp_probe0`)."""

_LEAST_TIMEOUT: Final = 200_000
"""Microseconds that Linux waits at least: TCP_RTO_MIN."""
_GROWN: Final = 4
_DOUBLED_TWICE: Final = 2

_GET_BOTH, _BY_FAMILY, _DESTROY = 18, 20, 21  # TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY, SOCK_DESTROY
_INFO, _MEMORY = 2, 7  # INET_DIAG_INFO, INET_DIAG_SKMEMINFO
_BYTECODE: Final = 1  # INET_DIAG_REQ_BYTECODE
_JUMP, _LOCAL = 1, 7  # INET_DIAG_BC_JMP, INET_DIAG_BC_S_COND
_ANY_STATE: Final = 0xFFFF
_ANY_COOKIE: Final = b"\xff" * 8  # INET_DIAG_NOCOOKIE, twice

_SOCKET: Final = struct.Struct("=4B48s5I")  # struct inet_diag_msg
_TIMER: Final = HEADER + 2
"""Where a message has the timer: idiag_timer."""
_PEER: Final = HEADER + 4 + 20
"""Where it has the peer's address, in 16 bytes."""
_PORTS_AT: Final = HEADER + 4
"""Where it has both ports, our own first."""
_PORTS: Final = struct.Struct(">HH")

_IDENTITY: Final = struct.Struct(">HH16s16s")  # struct inet_diag_sockid; then interface, cookie
_TCP_INFO: Final = struct.Struct("=2x3B3xI12xI16xI8xI8x2I24xI16xQ16xI52xQQ12xI")
"""struct tcp_info as far as tcpi_snd_wnd, which it has from Linux 5.4 on."""
_MEMINFO: Final = struct.Struct("=7I")
_ATTRIBUTE: Final = struct.Struct("=HH")
_BEFORE_WINDOW: Final = bytes(_TCP_INFO.size)
_SIZES: Final = {2: 4, 10: 16}  # AF_INET, AF_INET6: bytes of an address


class TcpSocket(NamedTuple):
    """A socket as one look found it. Times are milliseconds, ``rtt`` and ``rto`` microseconds.

    ``identity`` is what the kernel knows it by: addresses, ports, interface and cookie.
    ``window`` is None where the kernel does not tell it; ``memory`` are the bytes of kernel memory
    that it holds, which an exact query alone asks for.
    """

    family: int
    state: int
    timer: int
    retrans: int
    identity: bytes
    expires: int
    unread: int
    unacknowledged: int
    uid: int
    inode: int
    retransmits: int = 0
    probes: int = 0
    backoff: int = 0
    rto: int = 0
    segments: int = 0
    since_sent: int = 0
    since_heard: int = 0
    rtt: int = 0
    rttvar: int = 0
    retransmitted: int = 0
    acknowledged: int = 0
    unsent: int = 0
    sent: int = 0
    sent_again: int = 0
    window: int | None = None
    memory: int = 0

    @property
    def local(self) -> Network:
        """The machine's own address; IPv4 where a socket of IPv6 serves IPv4."""
        return self._address(2)

    @property
    def peer(self) -> Network:
        """The peer's address, likewise."""
        return self._address(3)

    @property
    def local_port(self) -> int:
        """The machine's own port."""
        return int.from_bytes(self.identity[:2])

    @property
    def peer_port(self) -> int:
        """The peer's port."""
        return int.from_bytes(self.identity[2:4])

    @property
    def cookie(self) -> int:
        """The number that tells it from every other since boot."""
        return int.from_bytes(self.identity[40:48], "little")

    @property
    def in_flight(self) -> int:
        """Bytes that were sent and not acknowledged."""
        return self.unacknowledged - self.unsent

    @property
    def is_over(self) -> bool:
        """Whether more is in flight than the peer's window allows, and the kernel waits for it."""
        waiting = self.timer == RETRANSMIT and self.state in HOLDING
        return waiting and self.window is not None and self.in_flight > self.window

    @property
    def waited(self) -> float:
        """For how many seconds the kernel has waited, as its timeout tells; 0 if it does not.

        The timeout doubles each time, also where the kernel does not count it (before 6.8).
        """
        first = self.rtt + max(_LEAST_TIMEOUT, 4 * self.rttvar)
        if self.backoff < _DOUBLED_TWICE and self.rto < _GROWN * first:
            return 0
        return max(0, self.rto - first) / 1e6

    def _address(self, at: int) -> Network:
        packed = _IDENTITY.unpack_from(self.identity)[at][: _SIZES[self.family]]
        return Network.parse(socket.inet_ntop(self.family, packed))


class Sockets:
    """The TCP sockets of a network namespace: the one in which it is made."""

    def __init__(self) -> None:
        """Open a way to ask for them. Raise `NetlinkError`."""
        self._connection = Connection(protocol=SOCK_DIAG)

    @property
    def namespace(self) -> int | None:
        """What tells the network namespace from every other (`Connection.namespace`)."""
        return self._connection.namespace

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def dump(
        self,
        states: Sequence[int] = HOLDING,
        ports: Sequence[int] = (),
        timer: int | None = None,
        peers: Collection[Network] = (),
        connections: Collection[tuple[Network, int, int]] = (),
    ) -> Iterator[TcpSocket]:
        """Yield the sockets of both families: in the states, of the local ports, with the timer.

        ``peers`` are the addresses at the other end, ``connections`` each such an address, the
        port there and our own. What is left out stands for any. Take all before asking anything
        else. Raise `NetlinkError`.
        """
        bits = sum(1 << state for state in states)
        body = bytes(_SOCKET.size - 24) + struct.pack("=II", bits, 0)
        if ports:
            body += attribute(_BYTECODE, _of_ports(ports))
        head = bytes([0, 0, 1 << _INFO - 1])
        request = Message(_GET_BOTH, socket.AF_UNSPEC, body, DUMP, head=head)
        wanted = None if timer is None else bytes([timer])
        addresses = {packed for peer in peers for packed in _forms(peer)}
        ends = {
            _PORTS.pack(local_port, peer_port) + packed
            for peer, peer_port, local_port in connections
            for packed in _forms(peer)
        }
        for run, size in self._connection.runs(request):
            for at in _found(run, size, wanted):
                peer = run[at + _PEER : at + _PEER + 16]
                if addresses and peer not in addresses:
                    continue
                if not ends or run[at + _PORTS_AT : at + _PORTS_AT + 4] + peer in ends:
                    yield _decoded(run, at, size)

    def exact(self, one: TcpSocket) -> TcpSocket | None:
        """Look again at a socket, with its memory; None if it is gone. Raise `NetlinkError`."""
        return self._exact(one.family, one.identity)

    def find(
        self,
        local: Network,
        local_port: int,
        peer: Network | None,
        peer_port: int,
        interface: int = 0,
    ) -> TcpSocket | None:
        """Return the socket of these addresses and ports, mapped ones included; None if none is.

        Without a peer it is one that listens. One that is bound to a device (SO_BINDTODEVICE) is
        found only by the number of that ``interface``. Raise `NetlinkError`.
        """
        family = socket.AF_INET if local.version == 4 else socket.AF_INET6
        packed = [one.packed if one else b"" for one in (local, peer)]
        identity = _IDENTITY.pack(local_port, peer_port, *packed)
        identity += interface.to_bytes(4, sys.byteorder) + _ANY_COOKIE
        return self._exact(family, identity)

    def destroy(self, one: TcpSocket) -> bool:
        """End a socket, whose peer is sent a reset; False if it is gone. Raise `NetlinkError`.

        It must never be one that listens.
        """
        try:
            list(self._connection.ask(_about(_DESTROY, one.family, one.identity)))
        except Missing:
            return False
        return True

    def _exact(self, family: int, identity: bytes) -> TcpSocket | None:
        found = None
        try:
            for run, size in self._connection.runs(_about(_BY_FAMILY, family, identity)):
                found = _decoded(run, 0, size)
        except Missing:
            return None
        # For a connection that is gone the one answers that listens on its port.
        return found if found and found.identity[:4] == identity[:4] else None


def _about(kind: int, family: int, identity: bytes) -> Message:
    head = bytes([socket.IPPROTO_TCP, 1 << _INFO - 1 | 1 << _MEMORY - 1, 0])
    return Message(kind, family, struct.pack("=I", _ANY_STATE) + identity, head=head)


def _found(run: bytes, size: int, timer: bytes | None) -> Iterator[int]:
    """Yield where the messages of a run begin that have the timer."""
    if timer is None:
        yield from range(0, len(run), size)
        return
    timers = run[_TIMER::size]
    at = timers.find(timer)
    while at >= 0:
        yield at * size
        at = timers.find(timer, at + 1)


def _forms(peer: Network) -> Iterator[bytes]:
    """Yield an address as a socket has it; of IPv4 also as one of IPv6 has it that serves both."""
    yield peer.packed.ljust(16, b"\0")
    if peer.version == 4:
        yield bytes(10) + b"\xff\xff" + peer.packed


def _decoded(run: bytes, at: int, size: int) -> TcpSocket:
    """Return the socket that a message tells of."""
    told = _SOCKET.unpack_from(run, at + HEADER)
    numbers: Sequence[int] = ()
    window, memory = None, 0
    end, at = at + size, at + HEADER + _SOCKET.size
    while at + 4 <= end:  # as `attributes`, without a copy of each: half the time
        length, kind = _ATTRIBUTE.unpack_from(run, at)
        if kind == _INFO:
            info, start = (run, at + 4)
            if length - 4 < _TCP_INFO.size:
                info, start = run[start : at + length] + _BEFORE_WINDOW, 0
            *numbers, window = _TCP_INFO.unpack_from(info, start)
            window = window if info is run else None
        elif kind == _MEMORY:
            received, _, _, _, forward, queued, options = _MEMINFO.unpack_from(run, at + 4)
            memory = received + forward + queued + options
        at += max(length + 3 & ~3, 4)
    if not numbers:
        return TcpSocket(*told)._replace(memory=memory)
    return TcpSocket._make((*told, *numbers, window, memory))


def _of_ports(ports: Sequence[int]) -> bytes:
    """Return a program for the kernel that takes the sockets of these local ports.

    Each condition jumps to the end when it holds, else to the next; the last one, past the end.
    """
    condition = struct.Struct("=BBHBBxxi")  # struct inet_diag_bc_op, inet_diag_hostcond
    jump = struct.Struct("=BBH")
    step = condition.size + jump.size
    program = b""
    for left, port in zip(range(len(ports), 0, -1), ports, strict=True):
        other = step if left > 1 else step + jump.size
        program += condition.pack(_LOCAL, condition.size, other, socket.AF_UNSPEC, 0, port)
        program += jump.pack(_JUMP, jump.size, left * step - condition.size)
    return program
