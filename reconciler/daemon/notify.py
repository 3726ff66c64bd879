"""What the service manager is told of the daemon, by the protocol of sd_notify(3)."""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_MOST: Final = 900
"""Characters of a value, of up to four bytes each."""


class Notifier:
    """The line to a service manager; where there is none, nobody is told.

    It never waits: what the manager has no room for is sent with the next message, except for the
    signs of life, which are worth nothing later.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the manager's variables away, so that no child process speaks for the daemon."""
        names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        path, usec, pid = (environment.pop(name, "") for name in names)
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._socket = _socket() if path[:1] in {"/", "@"} else None
        self._late: dict[str, str] = {}
        self.pause = _pause(usec, pid) if self._socket else None
        """Seconds between two signs of life; None where nobody waits for them."""

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Send that the start, or a reload, is done; ``status`` is one line for people."""
        self._change(READY="1", STATUS=status)

    def status(self, status: str) -> None:
        """Send people, in one line, what the daemon does."""
        self._change(STATUS=status)

    def reloading(self) -> None:
        """Send that a reload has begun; `ready` ends it."""
        self._change(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self, status: str) -> None:
        """Send that the daemon ends."""
        self._change(STOPPING="1", STATUS=status)

    def alive(self) -> None:
        """Send a sign of life, as is due each `pause` seconds."""
        self._send({**self._late, "WATCHDOG": "1"})

    def close(self) -> None:
        """Close the socket; what is told after that is told nobody."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _change(self, **said: str) -> None:
        """Send it after what is late; the manager believes the last of READY and RELOADING."""
        late = {name: value for name, value in self._late.items() if name not in said}
        self._late = {**late, **said}
        self._send(self._late)

    def _send(self, said: Mapping[str, str]) -> None:
        if self._socket is None:
            self._late = {}
            return
        text = "\n".join(f"{name}={_line(value)}" for name, value in said.items())
        try:
            self._socket.sendto(text.encode(errors="replace"), _FLAGS, self._address)
        except OSError:
            return  # its queue is full, or it is being replaced: again with the next message
        self._late = {}


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _line(value: str) -> str:
    """Return a value in one line; systemd 252 takes no message of more than 4,096 bytes."""
    return " ".join(value.split())[:_MOST]


def _pause(usec: str, pid: str) -> float | None:
    """Return half of what the manager waits, as sd_watchdog_enabled(3) advises."""
    if not usec.isascii() or not usec.isdigit() or pid not in {"", str(os.getpid())}:
        return None
    return int(usec) / 2_000_000 or None
