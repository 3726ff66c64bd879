"""Packets while something else goes on: a peer floods, another one numbers what it sends."""

import socket
import time
from threading import Event, Thread
from types import TracebackType
from typing import Self

from container import Network

from reconciler.host.netns import HOST4

PORT = 4712
AT_ONCE, PAUSE = 20, 0.004
"""How many packets the flood has at a time, and the seconds after which it goes on."""
BUFFER = 64 << 20
SO_RCVBUFFORCE = 33  # asm-generic/socket.h


class Traffic:
    """Both send for as long as the block lasts; each packet of the steady one has a number."""

    def __init__(self, network: Network, flooding: str, steady: str) -> None:
        self._steady = steady
        self.flooded = self.numbered = self.let_in = 0
        self.heard: set[int] = set()
        with network.own.entered():
            self._listener = _bound("", PORT)
        self._listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._listener.settimeout(0.2)
        with network.wire.peers.entered():
            self._flood, self._sender = _bound(flooding, 0), _bound(steady, 0)
        self._ended, self._sent = Event(), Event()
        self._threads = [Thread(target=self._send), Thread(target=self._hear)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for each in (self._listener, self._flood, self._sender):
            each.close()
        if error is None:
            lost = {*range(self.numbered)} - self.heard
            assert not self.let_in, f"{self.let_in} of {self.flooded} banned packets arrived"
            assert not lost, f"lost of {self.numbered}: {sorted(lost)[:20]}, {len(lost)} in all"
            assert self.numbered > 10

    def __str__(self) -> str:
        return f"none of {self.flooded} banned packets arrived, all {self.numbered} others did"

    def _send(self) -> None:
        while not self._ended.is_set():
            for _ in range(AT_ONCE):
                self._flood.sendto(b"flood", (HOST4, PORT))
            self.flooded += AT_ONCE
            self._sender.sendto(b"%d" % self.numbered, (HOST4, PORT))
            self.numbered += 1
            time.sleep(PAUSE)
        self._sent.set()

    def _hear(self) -> None:
        """Take what comes, until a while after the last was sent nothing more does."""
        while True:
            try:
                data, (address, _) = self._listener.recvfrom(64)
            except TimeoutError:
                if self._sent.is_set():
                    return
                continue
            if address == self._steady:
                self.heard.add(int(data))
            else:
                self.let_in += 1


def _bound(address: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, port))
    return opened
