"""A way from members to their server that a test may freeze, cut off, or make deaf."""

import os
import selectors
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

_PATIENCE: Final = 60.0

_NOTIFICATION: Final = b"A"
"""The kind of a NotificationResponse (PostgreSQL's manual, "Message Formats")."""


class Proxy:
    """Stands between members and the server: what passes may be stopped, cut off or swallowed.

    ``frozen``: nothing is forwarded, and nothing ends, as where a machine in between is gone.
    ``deaf``: notifications are swallowed, as by a pool that shares connections.
    ``asked`` is how often members have sent something.
    """

    def __init__(self, directory: Path, server: Path, port: int) -> None:
        self.directory = directory
        self.frozen = self.deaf = False
        self.asked = 0
        self._server = f"{server}/.s.PGSQL.{port}"
        self._path = directory / f".s.PGSQL.{port}"
        self._ends = self._wakes = None
        self._stack = ExitStack()
        self._pairs: dict[socket.socket, tuple[socket.socket, bytearray | None]] = {}
        self._selector = selectors.DefaultSelector()
        self._stack.callback(self._selector.close)
        mine, self._other = socket.socketpair()
        for each in (mine, self._other):
            self._stack.callback(each.close)
        self._selector.register(mine, selectors.EVENT_READ, "wake")
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._over = False
        self.open()
        self._thread = threading.Thread(target=self._forward, name="proxy")
        self._thread.start()

    def open(self) -> None:
        """Let members in again."""
        with self._lock:
            if self._listener is None:
                self._path.unlink(missing_ok=True)
                self._listener = socket.socket(socket.AF_UNIX)
                self._listener.bind(os.fspath(self._path))
                self._path.chmod(0o777)
                self._listener.listen(100)
                self._selector.register(self._listener, selectors.EVENT_READ, "new")
        self._wake()

    def cut(self) -> None:
        """End all connections, and let nobody in."""
        with self._lock:
            self._refuse()
            for each in [*self._pairs]:
                self._drop(each)
        self._wake()

    def freeze(self) -> None:
        """Let nothing pass."""
        self.frozen = True
        self._wake()

    def thaw(self) -> None:
        """Let all pass, also what waited."""
        self.frozen = False
        self._wake()

    def close(self) -> None:
        """End it."""
        self._over = True
        self._wake()
        self._thread.join(_PATIENCE)
        self.cut()
        self._stack.close()

    def _wake(self) -> None:
        with suppress(OSError):
            self._other.send(b"x")

    def _refuse(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._path.unlink(missing_ok=True)
            self._listener = None

    def _drop(self, one: socket.socket) -> None:
        """End a connection, both halves."""
        found = self._pairs.pop(one, None)
        if found is None:
            return
        other = found[0]
        self._pairs.pop(other, None)
        for each in (one, other):
            with suppress(KeyError, ValueError):
                self._selector.unregister(each)
            each.close()

    def _forward(self) -> None:
        while not self._over:
            ready = self._selector.select()
            with self._lock:
                for key, _ in ready:
                    source: Any = key.fileobj
                    if key.data == "wake":
                        source.recv(4096)
                    elif self.frozen:
                        continue
                    elif key.data == "new":
                        self._accept(source)
                    elif source in self._pairs:
                        self._pass(source)
            if self.frozen:
                time.sleep(0.02)

    def _accept(self, listener: socket.socket) -> None:
        try:
            member, _ = listener.accept()
        except OSError:
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._server)
        except OSError:
            server.close()
            member.close()
            return
        self._pairs[member], self._pairs[server] = (server, None), (member, bytearray())
        for each in (member, server):
            self._selector.register(each, selectors.EVENT_READ, "data")

    def _pass(self, source: socket.socket) -> None:
        other, kept = self._pairs[source]
        try:
            data = source.recv(1 << 16)
            if not data:
                self._drop(source)
            elif kept is None:
                self.asked += 1
                other.sendall(data)
            else:
                kept += data
                other.sendall(_whole(kept, deaf=self.deaf))
        except OSError:
            self._drop(source)


def _whole(kept: bytearray, *, deaf: bool) -> bytes:
    """Take the server's messages that are whole, and return them: without notifications if deaf."""
    found, start = bytearray(), 0
    while len(kept) >= start + 5:
        end = start + 1 + int.from_bytes(kept[start + 1 : start + 5])
        if len(kept) < end:
            break
        if not deaf or kept[start : start + 1] != _NOTIFICATION:
            found += kept[start:end]
        start = end
    del kept[:start]
    return bytes(found)
