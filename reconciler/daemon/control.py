"""The control socket of the daemon: it answers commands, and never waits for them.

Nobody who connects can hold it up: what does not go out at once goes out when poll(2) says so, in
portions, and who asks nothing gives way to others. The format is that of `reconciler.host.control`.
"""

import fcntl
import os
import select
import socket
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import asdict, define, field

from reconciler.daemon.loop import Loop
from reconciler.daemon.rest import Rest
from reconciler.errors import DaemonError, TreasonError, words
from reconciler.host import lock
from reconciler.host.control import (
    LIMIT,
    DaemonStatus,
    Enforced,
    Identity,
    greeting,
    is_trusted,
    packed,
    peer_of,
    unpacked,
)
from reconciler.log import Log
from reconciler.networks import Networks

MOST: Final = 256
"""Connections at once; a process may have 1,024 descriptors without asking for more."""

_WAITING: Final = 64
"""Connections that the kernel keeps until they are accepted; others wait in connect(2)."""

_HOLDERS: Final = 16
"""Connections at once that let the daemon rest: none of them gives way to others."""

_AT_ONCE: Final = 16
"""Connections that are accepted before others have their turn."""

_WORD: Final = 32
"""Letters of a command's name, which come from outside."""

_PACKET: Final = 500
"""Networks in a packet, of which the longest takes 46 bytes."""

_log = Log("control")


class Daemon(Protocol):
    """What is asked."""

    @property
    def rest(self) -> Rest:
        """Whether anything may be changed: not as long as somebody holds it."""

    def identity(self) -> Identity:
        """Return what is guarded, by the database that is open."""

    def pending(self) -> Networks:
        """Return what is in force and not stored yet: until the commit has returned."""

    def enforce(self, done: Callable[[Enforced], None]) -> None:
        """Take in what commands have stored since; call ``done`` in the loop once it is in force.

        It may be asked again before it is done.
        """

    def status(self) -> DaemonStatus:
        """Return how things are."""


@contextmanager
def claimed(path: Path, like: Path | None = None) -> Iterator[socket.socket]:
    """Make the control socket, and hold its lock; nobody can connect before `Control` is made.

    A socket that a dead daemon left is replaced. What root makes is given to the owner of ``like``.
    Raise `DaemonError`, with the process id of a daemon that lives, or `LockError`.
    """
    with lock.opened(path.with_name(f"{path.name}.lock"), like) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(path, os.read(descriptor, 32)) from None
        with suppress(OSError):  # a disk that is full leaves the number out
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            try:
                _clear(path)
                os.fchmod(listener.fileno(), 0o600)  # which bind(2) gives the file
                listener.bind(os.fspath(path))
                made = path.lstat().st_ino
            except OSError as error:
                raise DaemonError(
                    f"{path}: cannot make the control socket: {error.strerror}",
                    "set [run] socket to a path that you may write",
                ) from None
            try:
                lock.give([path], like)
                yield listener
            finally:
                with suppress(OSError):
                    if path.lstat().st_ino == made:
                        path.unlink()


def _clear(path: Path) -> None:
    """Remove the socket of a dead daemon; nothing else. Raise `DaemonError` or OSError."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise DaemonError(
                f"{path}: cannot make the control socket: something else is there",
                "move it away, or set [run] socket to another path",
            )
        path.unlink()


def _taken(path: Path, holder: bytes) -> DaemonError:
    """Return the error that names the daemon which lives, by what it wrote into the lock."""
    who = f" (process {holder.decode().strip()})" if holder.strip().isdigit() else ""
    return DaemonError(
        f"another daemon is running{who}: it holds {path}",
        "stop that one first; a second one beside it needs its own [run] socket and database",
    )


@define(eq=False)
class _Connection:
    """Somebody who asks; ``packets`` are still to be sent, ``waits`` says that more will come.

    ``holds`` says that the daemon rests as long as the connection is open.
    """

    socket: socket.socket
    pid: int
    packets: Iterator[bytes] = field(factory=lambda: iter(()))
    next: bytes | None = None
    waits: bool = False
    holds: bool = False


class Control:
    """Answers who connects, from now on until `close`."""

    def __init__(self, listener: socket.socket, loop: Loop, daemon: Daemon) -> None:
        """Take the socket that `claimed` has made."""
        self._loop, self._daemon = loop, daemon
        self._connections: dict[int, _Connection] = {}  # the oldest first
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.listen(listener)

    def listen(self, listener: socket.socket) -> None:
        """Take new connections there, from now on until `deaf`."""
        self._listener = listener
        listener.setblocking(False)
        listener.listen(_WAITING)
        self._loop.watch(listener.fileno(), select.POLLIN, self._accept)

    def deaf(self) -> None:
        """Take no new connections."""
        self._loop.forget(self._listener.fileno())

    def close(self) -> None:
        """Answer nobody any more."""
        self.deaf()
        for connection in [*self._connections.values()]:
            connection.holds = False  # what ends does not go on
            self._drop(connection)
        if self._spare is not None:
            os.close(self._spare)

    def _accept(self) -> None:
        """Greet a few of those who wait."""
        for _ in range(_AT_ONCE):
            if len(self._connections) >= MOST:
                self._make_room()
            try:
                accepted, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("control socket: %s", error.strerror)
                self._turn_away()
                return
            self._greet(accepted)

    def _greet(self, accepted: socket.socket) -> None:
        pid, user = peer_of(accepted)
        if not is_trusted(user):
            _log.warning("control socket: user %d (process %d) is not served", user, pid)
            accepted.close()
            return
        accepted.setblocking(False)
        connection = self._connections[accepted.fileno()] = _Connection(accepted, pid)
        self._watch(connection)
        self._say(connection, [greeting(self._daemon.identity())])

    def _make_room(self) -> None:
        """Close the oldest connection of whoever has the most; nobody's that holds the daemon."""
        others = [each for each in self._connections.values() if not each.holds]
        [(pid, _)] = Counter(each.pid for each in others).most_common(1)
        self._drop(next(each for each in others if each.pid == pid))

    def _turn_away(self) -> None:
        """Accept one connection for which no descriptor is left, and close it."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        with suppress(OSError):
            self._listener.accept()[0].close()
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _ready(self, connection: _Connection) -> None:
        """Go on with a connection: send what is left, or read what is asked."""
        try:
            if connection.next is not None:
                self._flush(connection)
            elif (packet := connection.socket.recv(LIMIT + 1)) and not connection.waits:
                self._answer(connection, packet)
            else:  # it was closed, or speaks out of turn
                self._drop(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)

    def _answer(self, connection: _Connection, packet: bytes) -> None:
        """Answer a question; who asks what has no sense is told so."""
        try:
            message = unpacked(packet)
            match message.get("ask"):
                case "enforce":
                    connection.waits = True
                    self._say(connection, [{"accepted": True, "more": True}])
                    self._daemon.enforce(partial(self._enforced, connection))
                case "pending":
                    self._say(connection, _listed(self._daemon.pending()))
                case "status":
                    self._say(connection, [asdict(self._daemon.status())])
                case "hold":
                    self._hold(connection)
                case "stand still" if connection.holds:
                    by = message.get("by")
                    self._daemon.rest.stand_still(connection.pid, _word(by))
                    self._say(connection, [{"still": True}])
                case "go on":
                    self._daemon.rest.go_on()
                    self._say(connection, [{"going": True}])
                case other:
                    refused = f"the question {str(other)[:40]!r} is not known"
                    self._say(connection, [{"refused": refused}])
        except (TreasonError, ValueError) as error:
            connection.waits = False
            self._say(connection, [{"refused": words(error)}])

    def _hold(self, connection: _Connection) -> None:
        """Let the daemon rest; answer once it does."""
        if sum(each.holds for each in self._connections.values()) >= _HOLDERS:
            raise DaemonError(f"{_HOLDERS} processes hold it already")
        connection.holds = connection.waits = True
        self._watch(connection)
        rest = self._daemon.rest
        rest.hold(connection, connection.pid, partial(self._held, connection))

    def _held(self, connection: _Connection) -> None:
        connection.waits = False
        self._say(connection, [{"held": True}])

    def _enforced(self, connection: _Connection, outcome: Enforced) -> None:
        """Send the outcome to who waits for it, if they still do."""
        if connection.waits and connection.socket.fileno() in self._connections:
            connection.waits = False
            self._say(connection, [asdict(outcome)])

    def _say(self, connection: _Connection, messages: Iterable[dict[str, Any]]) -> None:
        """Send messages behind what is left; they are made when there is room for them."""
        connection.packets = chain(connection.packets, map(packed, messages))
        if connection.next is None:
            connection.next = next(connection.packets, None)
        try:
            self._flush(connection)
        except BlockingIOError:
            self._watch(connection)
        except OSError:
            self._drop(connection)

    def _flush(self, connection: _Connection) -> None:
        """Send one packet, if there is any; raise BlockingIOError where there is no room for it."""
        if connection.next is not None:
            connection.socket.send(connection.next)
            connection.next = next(connection.packets, None)
        self._watch(connection)

    def _watch(self, connection: _Connection) -> None:
        """Wait for room, for a question or, while an answer is being made, for a hang-up alone."""
        reading = 0 if connection.waits else select.POLLIN
        events = reading if connection.next is None else select.POLLOUT
        self._loop.watch(connection.socket.fileno(), events, partial(self._ready, connection))

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket.fileno(), None):
            self._loop.forget(connection.socket.fileno())
            connection.socket.close()
            if connection.holds:
                self._daemon.rest.let_go(connection)


def _word(text: object) -> str:
    """Return a word that may be printed; empty if it is none."""
    return text if isinstance(text, str) and text.isalpha() and len(text) < _WORD else ""


def _listed(networks: Networks) -> Iterator[dict[str, Any]]:
    """Yield the networks in as many messages as they need, one at least."""
    for start in range(0, max(len(networks), 1), _PACKET):
        some = networks[start : start + _PACKET]
        yield {"networks": [str(each) for each in some], "more": start + _PACKET < len(networks)}
