"""Servers of lists on loopback, as bad as can be, and the feed that asks them."""

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import trustme
from attrs import define, field

from feeds.list import ListSettings
from feeds.list.feed import List
from reconciler import FeedBan, FeedSnapshot, FeedUnreadable, Networks

HOST = "lists.example"
URL = f"https://{HOST}/list"
LIST = b"192.0.2.1\n198.51.100.0/24\n"
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")
PATIENCE = 20.0
"""Seconds after which a server ends by itself."""

Connection = ssl.SSLSocket | socket.socket
Answer = bytes | Callable[["Server", Connection], object]
"""What is sent; or what uses the connection, once the request was read."""


def reply(
    body: bytes = LIST, status: str = "200 OK", length: int | None = None, **headers: str
) -> bytes:
    """Return an answer; ``length`` is what it claims about its body."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str) -> bytes:
    """Return an answer that leads elsewhere."""
    return reply(b"", "302 Found", Location=location)


@define(eq=False)
class Server:
    """Answers each request by the next of its answers, and any more by the last one.

    Without a ``context`` it does so as soon as somebody connects.
    """

    address: str
    answers: tuple[Answer, ...]
    context: ssl.SSLContext | None
    requests: list[str] = field(factory=list)
    connections: int = 0
    ended: Event = field(factory=Event)
    _listener: socket.socket = field(init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._listener = socket.create_server((self.address, 443), family=family)
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """End it, and wait until it has ended."""
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self.ended.is_set():
            with suppress(OSError):
                connection, _ = self._listener.accept()
                self.connections += 1
                connection.settimeout(PATIENCE)
                with connection:
                    self._speak(connection)

    def _speak(self, plain: socket.socket) -> None:
        if self.context is None:
            self._send(plain, self.connections - 1)
            return
        with self.context.wrap_socket(plain, server_side=True) as connection:
            self._answer(connection)

    def _answer(self, connection: ssl.SSLSocket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (piece := connection.recv(1 << 16)):
            head += piece
        self.requests.append(head.decode())
        self._send(connection, len(self.requests) - 1)
        connection.unwrap()

    def _send(self, connection: Connection, turn: int) -> None:
        answer = self.answers[min(turn, len(self.answers) - 1)]
        if isinstance(answer, bytes):
            connection.sendall(answer)
        else:
            answer(self, connection)


def asked(request: str) -> dict[str, str]:
    """Return the headers of a request."""
    lines = request.split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines if line)


@define
class Resolver:
    """Takes the place of getaddrinfo: each name stands for addresses, each time for the next."""

    names: Mapping[str, list[list[str]]]
    asked: list[str] = field(factory=list)

    def __call__(self, host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        """Return what getaddrinfo returns for the addresses."""
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        turns = self.names[host]
        addresses = turns[min(self.asked.count(host), len(turns) - 1)]
        self.asked.append(host)
        return [each for a in addresses for each in socket.getaddrinfo(a, port, **options)]


def said(feed: List, cursor: str | None = None) -> dict[str, Networks] | None:
    """Return the networks of a list by their reasons; None where nothing has changed."""
    changes = [*feed.changes(cursor)]
    if not changes:
        return None
    assert (changes[0], changes[-1]) == (FeedSnapshot.BEGIN, FeedSnapshot.END)
    bans = [each for each in changes if isinstance(each, FeedBan)]
    assert len(bans) == len(changes) - 2
    return {ban.reason: ban.networks for ban in bans}


def refusal(feed: List, cursor: str | None = None) -> str:
    """Return why a feed is unreadable, and what to do; its cursor stays as it was."""
    before = feed.cursor()
    with pytest.raises(FeedUnreadable) as caught:
        said(feed, cursor)
    assert feed.cursor() == before
    return str(caught.value)


@cache
def authority() -> trustme.CA:
    """Return who signs the certificates of the tests."""
    return trustme.CA()


@define(eq=False)
class Site:
    """Servers of the host and of others, and feeds that find it at 127.0.0.1, and may ask it."""

    path: Path
    _servers: list[Server] = field(factory=list)

    def certified(
        self, *names: str, signed_by: trustme.CA | None = None, **options: Any
    ) -> ssl.SSLContext:
        """Return what a server needs to be the host of a name, or claim to be."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        signer = signed_by or authority()
        signer.issue_cert(*(names or (HOST,)), **options).configure_cert(context)
        return context

    def serve(
        self,
        *answers: Answer,
        address: str = "127.0.0.1",
        context: ssl.SSLContext | None = None,
        tls: bool = True,
    ) -> Server:
        """Start a server that gives these answers in turn."""
        server = Server(address, answers, (context or self.certified()) if tls else None)
        self._servers.append(server)
        return server

    def fed(
        self,
        url: str = URL,
        resolve: Callable[..., list[tuple[Any, ...]]] | None = None,
        timeout: float = 20,
        **settings: Any,
    ) -> List:
        """Make the feed of an address."""
        ca_file = self.path / "ca.pem"
        authority().cert_pem.write_to_path(str(ca_file))
        given: dict[str, Any] = {"allow_addresses": ["127.0.0.1"], "ca_file": ca_file} | settings
        within = timedelta(seconds=timeout)
        names = resolve or Resolver({HOST: [["127.0.0.1"]]})
        return List(ListSettings(url=url, timeout=within, **given), resolve=names)

    def close(self) -> None:
        """End the servers."""
        for server in self._servers:
            server.close()
