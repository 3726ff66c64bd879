"""Peers that speak TCP by themselves, on a TUN device: honest ones, and those that hold memory.

The server is the kernel's own, at `SERVER4` and `SERVER6`. RFC 9293 tells of segments and windows.
"""

import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from attrs import define, field

from reconciler.execute import run

SERVER4, SERVER6 = "10.9.0.1", "fd00:9::ffff"
PORT = 8080
OPEN = 8192
"""The window that every peer begins with."""

_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_TUNSETIFF, _TUN = 0x400454CA, 0x1001  # linux/if_tun.h: IFF_TUN | IFF_NO_PI
_MSS = b"\x02\x04\x05\xb4"  # 1460

_PATIENCE = 20.0
_AGAIN = 0.3
"""Seconds after which a peer that was not heard speaks again."""

Answer = int | None
"""A window to tell, or silence."""


@define(eq=False)
class Flow:
    """One connection of a peer: ``una`` is what it acknowledges, ``nxt`` what it has received."""

    address: str
    port: int
    behave: Callable[["Flow"], Answer]
    sequence: int = 1000
    una: int = 0
    nxt: int = 0
    start: int = 0
    shut: float = 0.0
    reset: bool = False
    heard: int = 0
    to: int = PORT
    begun: float = 0.0

    @property
    def in_flight(self) -> int:
        """Bytes that came and were not acknowledged."""
        return self.nxt - self.una

    @property
    def received(self) -> int:
        """Bytes that were acknowledged."""
        return self.una - self.start


def healthy(flow: Flow) -> Answer:
    """Acknowledge all, with an open window."""
    flow.una = flow.nxt
    return OPEN


def shrinking(window: int = 0, after: int = 4000) -> Callable[[Flow], Answer]:
    """Keep silent until so much is in flight, then tell a window that is smaller."""

    def behave(flow: Flow) -> Answer:
        if not flow.shut and flow.in_flight >= after:
            flow.shut = time.monotonic()
        return window if flow.shut else None

    return behave


def nibbling(every: float = 0.2) -> Callable[[Flow], Answer]:
    """Shrink to 0, and acknowledge a byte now and then."""
    shrink = shrinking()

    def behave(flow: Flow) -> Answer:
        answer = shrink(flow)
        if flow.shut and time.monotonic() - flow.shut > every:
            flow.shut = time.monotonic()
            flow.una += 1
        return answer

    return behave


def slow(flow: Flow) -> Answer:
    """Acknowledge all, and let the window close behind it: nobody reads."""
    flow.una = flow.nxt
    return max(0, OPEN - flow.received)


def dead(flow: Flow) -> Answer:
    """Answer no more once something has come."""
    flow.shut = 1.0
    return None


def opening(every: float) -> Callable[[Flow], Answer]:
    """Shrink to 0; open now and then, take what comes, and shrink again."""
    shrink = shrinking()

    def behave(flow: Flow) -> Answer:
        if flow.shut and time.monotonic() - flow.shut > every:
            flow.shut = 0.0
            flow.una = flow.nxt
            return OPEN
        return shrink(flow)

    return behave


class Peers:
    """Any number of peers in 10.9.0.0/16 and fd00:9::/64, in the thread's network namespace."""

    def __init__(self, device: str = "treason9") -> None:
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self._tun, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _TUN))
        run(["ip", "link", "set", "lo", "up"])
        run(["ip", "addr", "add", f"{SERVER4}/16", "dev", device])
        run(["ip", "link", "set", device, "txqueuelen", "10000", "up"])
        run(["ip", "-6", "addr", "add", f"{SERVER6}/64", "dev", device, "nodad"])
        self.flows: dict[tuple[bytes, int], Flow] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def connect(
        self, address: str, port: int, behave: Callable[[Flow], Answer], to: int = PORT
    ) -> Flow:
        """Begin a connection, and ask for something once it stands."""
        flow = Flow(address, port, behave)
        self.flows[_packed(address), port] = flow
        flow.to = to
        self._begin(flow)
        return flow

    def _begin(self, flow: Flow) -> None:
        flow.begun = time.monotonic()
        self.send(flow, _SYN, OPEN, options=_MSS, to=flow.to)

    def send(
        self, flow: Flow, flags: int, window: int, data: bytes = b"", options: bytes = b"",
        *, to: int = PORT, sequence: int | None = None,
    ) -> None:  # fmt: skip
        """Write a segment of a flow, as if it came from its address."""
        peer = _packed(flow.address)
        server = _packed(SERVER6 if len(peer) == 16 else SERVER4)
        head = struct.pack(
            ">HHIIBBHHH", flow.port, to, (flow.sequence if sequence is None else sequence) % 2**32,
            flow.una % 2**32, (5 + len(options) // 4) << 4, flags, window, 0, 0,
        )  # fmt: skip
        segment = head + options + data
        pseudo = peer + server + struct.pack(">IxxxB", len(segment), 6)
        segment = segment[:16] + _sum(pseudo + segment) + segment[18:]
        if len(peer) == 16:
            header = struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) + peer + server
        else:
            header = struct.pack(">BBHIBBH", 0x45, 0, 20 + len(segment), 0, 64, 6, 0)
            header += peer + server
            header = header[:10] + _sum(header) + header[12:]
        os.write(self._tun, header + segment)

    def wait(self, seconds: float) -> None:
        """Let them go on for so long."""
        time.sleep(seconds)

    def settle(self, number: int) -> None:
        """Wait until so many have shut their windows, and the kernel has heard of it."""
        end = time.monotonic() + _PATIENCE
        while sum(bool(flow.shut) for flow in self.flows.values()) < number:
            assert time.monotonic() < end, "not all have shut their windows"
            time.sleep(0.01)
        time.sleep(0.1)

    def close(self) -> None:
        """Take them all away."""
        self._ended.set()
        self._thread.join()
        os.close(self._tun)

    def _pump(self) -> None:
        while not self._ended.is_set():
            if select.select([self._tun], [], [], 0.05)[0]:
                with suppress(BlockingIOError):
                    self._take(os.read(self._tun, 1 << 16))
            else:
                for flow in [*self.flows.values()]:
                    if not flow.heard and time.monotonic() - flow.begun > _AGAIN:
                        self._begin(flow)

    def _take(self, packet: bytes) -> None:
        """Answer a packet of the kernel."""
        if packet[0] >> 4 == 4 and packet[9] == 6:
            start, peer = (packet[0] & 15) * 4, packet[16:20]
            end = int.from_bytes(packet[2:4])
        elif packet[0] >> 4 == 6 and packet[6] == 6:
            start, peer, end = 40, packet[24:40], len(packet)
        else:
            return
        to, port, sequence = struct.unpack_from(">HHI", packet, start)
        size = end - start - (packet[start + 12] >> 4) * 4
        flags = packet[start + 13]
        if flow := self.flows.get((peer, port)):
            flow.heard += 1
            self._answer(flow, flags, sequence, size, to)

    def _answer(self, flow: Flow, flags: int, sequence: int, size: int, to: int) -> None:
        if flags & _RST:
            flow.reset = True
        elif flags & _SYN:
            flow.start = flow.una = flow.nxt = sequence + 1
            flow.sequence += 1
            self.send(flow, _ACK | _PSH, OPEN, b"GET", to=to)
            flow.sequence += 3
        elif not flow.reset:
            ahead = (sequence + size + bool(flags & _FIN) - flow.nxt) % 2**32
            if ahead < 2**31:
                flow.nxt += ahead
            if (size or flags & _FIN or flow.shut) and (window := flow.behave(flow)) is not None:
                self.send(flow, _ACK, window, to=to)


@define(eq=False)
class Server:
    """Sends ``size`` bytes to whoever asks; with ``closing`` it closes then."""

    address: str = SERVER4
    port: int = PORT
    size: int = 200_000
    closing: bool = False
    connections: list[socket.socket] = field(factory=list, init=False)
    _listener: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._listener.bind((self.address, self.port))
        self._listener.listen(4096)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Close all."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self.connections:
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(1)
            with suppress(OSError):
                connection.recv(100)
                connection.setblocking(False)
                connection.send(bytes(self.size))
            if self.closing:
                connection.close()
            else:
                self.connections.append(connection)


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _sum(data: bytes) -> bytes:
    """Return the checksum of the internet (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) % 2:
        total += data[-1] << 8
    total = (total >> 16) + (total & 0xFFFF)
    return int(~(total + (total >> 16)) & 0xFFFF).to_bytes(2)
