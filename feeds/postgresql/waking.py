"""One descriptor to wait for, whatever becomes of the connection: an epoll of a socket and a timer.

A descriptor of epoll(7) is itself ready for poll(2) once anything in it is. So the socket may be
another one after each reconnect, and what is due at a time wakes as well.
"""

import ctypes
import os
import select
import struct
from contextlib import suppress
from functools import cache
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_TFD_NONBLOCK: Final = 0o4000
_TFD_CLOEXEC: Final = 0o2000000
"""Of include/uapi/linux/time.h and timerfd.h."""

_TIME: Final = struct.Struct("@4l")
"""struct itimerspec (timerfd_settime(2)): the interval and the time, in seconds and nanoseconds."""


class Waking:
    """What is waited for, until `close`."""

    def __init__(self) -> None:
        """Wait for nothing yet. Raise OSError."""
        self._epoll = select.epoll()
        try:
            self._timer = _libc("timerfd_create", _CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        except OSError:
            self._epoll.close()
            raise
        self._epoll.register(self._timer, select.EPOLLIN)
        self._socket: int | None = None

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._epoll.fileno()

    def hear(self, socket: int | None) -> None:
        """Wait for this socket in place of the one before; None: for none."""
        if self._socket is not None and self._socket != socket:
            with suppress(OSError):  # a closed one is gone by itself
                self._epoll.unregister(self._socket)
        self._socket = socket
        if socket is not None:
            try:
                self._epoll.modify(socket, select.EPOLLIN)
            except FileNotFoundError:
                self._epoll.register(socket, select.EPOLLIN)

    def due(self, seconds: float) -> None:
        """Wake in so many seconds, in place of when it was said before."""
        whole = max(int(seconds * 1e9), 1)
        value = _TIME.pack(0, 0, whole // 10**9, whole % 10**9)
        _libc("timerfd_settime", self._timer, 0, value, None)

    def close(self) -> None:
        """Close it, also repeatedly."""
        if not self._epoll.closed:
            self._epoll.close()
            os.close(self._timer)


def _libc(name: str, *arguments: int | bytes | None) -> int:
    result: int = getattr(_library(), name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
