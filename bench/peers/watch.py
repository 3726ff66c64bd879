"""Watch elements come into nftables' sets, by the kernel's own events, without asking anything.

Numbers are those of linux/netfilter/nf_tables.h and linux/netfilter/nfnetlink.h.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Self

from bench.measure import Failed

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_NFNLGRP_NFTABLES: Final = 7
_RCVBUFFORCE: Final = 33  # asm-generic/socket.h: SO_RCVBUFFORCE
_NEWSETELEM: Final = 10 << 8 | 12  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWSETELEM
_ELEMENTS: Final = 3  # NFTA_SET_ELEM_LIST_ELEMENTS
_FLAGS: Final = 3  # NFTA_SET_ELEM_FLAGS
_INTERVAL_END: Final = 1
_BUFFER: Final = 64 << 20


class Watch:
    """Counts new elements in the namespace in which it was made, from then on."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        with suppress(PermissionError):  # root of the machine alone may; others may lose events
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, wanted: int, patience: float) -> float:
        """Return the time (of `time.perf_counter`) when so many elements had come.

        Raise `Failed` when none comes for so many seconds.
        """
        seen = 0
        self._socket.settimeout(patience)
        while seen < wanted:
            try:
                data = self._socket.recv(1 << 20)
            except TimeoutError:
                raise Failed(f"only {seen:,} of {wanted:,} bans came into force") from None
            except OSError as error:
                raise Failed(f"events were lost: {error.strerror}") from None
            seen += sum(_count(data, start, end) for start, end in _messages(data))
        return time.perf_counter()


def _messages(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the payload of each message about new elements starts and ends."""
    start = 0
    while start < len(data):
        length, kind = struct.unpack_from("=IH", data, start)
        if kind == _NEWSETELEM:
            yield start + 20, start + length  # nlmsghdr and nfgenmsg
        start += length + 3 & ~3


def _attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield type, start and end of each attribute."""
    while start < end:
        length, kind = struct.unpack_from("=HH", data, start)
        yield kind & 0x3FFF, start + 4, start + length
        start += length + 3 & ~3


def _count(data: bytes, start: int, end: int) -> int:
    """Count the elements of a message that begin an interval or stand alone."""
    return sum(
        not _ends_interval(data, *element)
        for kind, *inside in _attributes(data, start, end)
        if kind == _ELEMENTS
        for _, *element in _attributes(data, *inside)
    )


def _ends_interval(data: bytes, start: int, end: int) -> bool:
    return any(
        kind == _FLAGS and struct.unpack_from(">I", data, first)[0] & _INTERVAL_END
        for kind, first, _ in _attributes(data, start, end)
    )
