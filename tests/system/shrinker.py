"""Peers in userspace behind a TUN device that shrink their window to zero with data in flight."""

import fcntl
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_SYN, _PSH, _ACK = 0x02, 0x08, 0x10
_PORT = 4638
_WINDOW = 8192
_FLIGHT = 2000
"""Bytes in flight on which the window closes; the first ones of a connection are more."""


@contextmanager
def tunnel(*addresses: str) -> Iterator[int]:
    """Make a device with these addresses of ours; give what reads and writes its packets."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"shrink", _IFF_TUN | _IFF_NO_PI))
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            _ip("address", "add", address, "dev", "shrink", *nodad)
        _ip("link", "set", "shrink", "up")
        yield device
    finally:
        os.close(device)


def shrink(device: int, peer: str, server: tuple[str, int], seconds: float = 3) -> None:
    """Connect, take what comes, and close the window on it; the server must send at once.

    The kernel takes a smaller window only with newer data (RFC 9293 §3.10.7.4), so the peer says
    a byte in between.
    """
    sequence, acknowledged, window = 1001, 0, _WINDOW

    def send(flags: int, data: bytes = b"") -> None:
        segment = _segment(_PORT, server[1], sequence, acknowledged, flags, window, data)
        os.write(device, _packet(peer, server[0], segment))

    os.write(device, _packet(peer, server[0], _segment(_PORT, server[1], 1000, 0, _SYN, window)))
    for flags, start, length in _arriving(device, peer, _PORT, seconds):
        if flags & _SYN:
            acknowledged = start + 1
            send(_ACK | _PSH, b"x")
            sequence += 1
        elif start + length - acknowledged >= _FLIGHT or window == 0:
            window = 0
            send(_ACK)


def _arriving(device: int, peer: str, port: int, seconds: float) -> Iterator[tuple[int, int, int]]:
    """Yield flags, sequence and length of each segment to the peer's port."""
    packed = ip_address(peer).packed
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([device], [], [], left)[0]:
            return
        packet = os.read(device, 65536)
        if packet[0] >> 4 == 6:
            protocol, target, segment = packet[6], packet[24:40], packet[40:]
        else:
            protocol, target = packet[9], packet[16:20]
            segment = packet[(packet[0] & 15) * 4 :]
        if protocol == socket.IPPROTO_TCP and target == packed:
            _, to, sequence, _, offset, flags = struct.unpack_from(">HHIIBB", segment)
            if to == port:
                yield flags, sequence, len(segment) - (offset >> 4) * 4


def _segment(
    source: int, target: int, sequence: int, ack: int, flags: int, window: int, data: bytes = b""
) -> bytes:
    """Make a TCP segment without its checksum (RFC 9293 §3.1)."""
    return (
        struct.pack(">HHIIBBHHH", source, target, sequence, ack, 5 << 4, flags, window, 0, 0) + data
    )


def _packet(source: str, target: str, segment: bytes) -> bytes:
    """Put a TCP segment into an IP packet, with its checksum."""
    ends = ip_address(source).packed + ip_address(target).packed
    pseudo = ends + struct.pack(">IxxxB", len(segment), socket.IPPROTO_TCP)
    segment = segment[:16] + _checksum(pseudo + segment) + segment[18:]
    if len(ends) == 32:
        return struct.pack(">IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, 64) + ends + segment
    head = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(segment), 1, 0, 64, socket.IPPROTO_TCP)
    return head + _checksum(head + b"\0\0" + ends) + ends + segment


def _checksum(data: bytes) -> bytes:
    """Sum up as RFC 1071 does."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
