"""Connections for httpcore: to the address that was checked and no other, all within one time."""

import os
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable
from threading import Thread
from typing import Any, Final

import httpcore

from feeds.list.address import refused
from reconciler import FeedUnreadable, Network

Resolve = Callable[..., list[tuple[Any, ...]]]
"""What `socket.getaddrinfo` is."""

_ATTEMPT: Final = 10.0
"""Seconds for which one address is tried: there may be others."""

_TLS: Final = "TLS handshake"


class Time:
    """The seconds that all of a fetch may take together; ``doing`` is what they are used for."""

    def __init__(self, seconds: float) -> None:
        self.allowed = seconds
        self._end = time.monotonic() + seconds
        self.doing = ""

    def left(self, doing: str = "") -> float:
        """Return the seconds left, for the next step where one is named. Raise TimeoutError."""
        self.doing = doing or self.doing
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class CheckedNetwork(httpcore.NetworkBackend):
    """Connects to public addresses, and to those ``allowed``; a name is resolved once for each."""

    def __init__(self, allowed: Collection[Network], within: Time, resolve: Resolve) -> None:
        self._allowed = allowed
        self._time = within
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - httpcore's; all has one time
        local_address: str | None = None,  # noqa: ARG002 - likewise, not used
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - likewise
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers. Raise `FeedUnreadable`."""
        found = self._addresses(host, port)
        taken = [each for each in found if not refused(each[4][0], self._allowed)]
        if not taken:
            raise _not_public(host, sorted({each[4][0] for each in found}))
        for family, kind, protocol, _name, address in taken:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(min(_ATTEMPT, self._time.left("connecting")))
                connection.connect(address)
            except OSError as error:
                connection.close()
                self._time.left()
                reason = error.strerror or "no answer"
                failure = f"no connection to {address[0]} port {port}: {reason}"
            else:
                return _Stream(connection, self._time)
        raise FeedUnreadable(failure, _proxies())

    def _addresses(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """Resolve a name, in a thread: that takes as long as the resolver's servers like."""
        answers: list[list[tuple[Any, ...]] | OSError] = []

        def ask() -> None:
            try:
                answers.append(self._resolve(host, port, type=socket.SOCK_STREAM))
            except OSError as error:
                answers.append(error)

        thread = Thread(target=ask, daemon=True)
        thread.start()
        thread.join(self._time.left("resolving its name"))
        if not answers:
            raise TimeoutError
        [answer] = answers
        if isinstance(answer, OSError):
            raise FeedUnreadable(f"{host} cannot be resolved: {answer.strerror}", _proxies())
        return answer


class _Stream(httpcore.NetworkStream):
    """A connection whose every step takes of the one time. It raises OSError itself."""

    def __init__(self, connection: socket.socket, within: Time) -> None:
        self._socket = connection
        self._time = within

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        """Return what has come, nothing at the end."""
        self._socket.settimeout(self._time.left())
        return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        """Send all of it."""
        self._socket.settimeout(self._time.left("waiting for the answer"))
        self._socket.sendall(buffer)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.NetworkStream:
        """Check who it is, by the name. An end that the other side has not signed is an error."""
        try:
            self._socket.settimeout(self._time.left(_TLS))
            wrapped = ssl_context.wrap_socket(
                self._socket, server_hostname=server_hostname, suppress_ragged_eofs=False
            )
        except BaseException:
            self.close()
            raise
        return _Stream(wrapped, self._time)


def _not_public(host: str, addresses: list[str]) -> FeedUnreadable:
    at = "" if addresses == [host] else f" is at {', '.join(addresses[:3])}, which"
    return FeedUnreadable(
        f"{host}{at} is not a public address",
        f'if that is meant, set allow_addresses = ["{addresses[0]}"]',
    )


def _proxies() -> str:
    """Return what to know where the environment names a proxy."""
    named = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY") if os.environ.get(name)]
    return f"{named[0]} is not used: nobody could check what it connects to" if named else ""
