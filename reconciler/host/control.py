"""How a command speaks with the running daemon: the control socket, as its client sees it.

A message is an object of JSON in one packet (SOCK_SEQPACKET, unix(7)) of up to `LIMIT` bytes. The
daemon greets first: the version of this format, its process id, and what it guards. Then each
question, ``{"ask": WORD}``, has one answer, or several packets of which all but the last say
``"more": true``. ``{"refused": TEXT}`` is an answer, too.
"""

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import AttrsInstance, asdict, field, fields_dict, frozen
from attrs.validators import deep_iterable, deep_mapping, instance_of, optional

from reconciler.errors import DaemonError, InvalidNetwork
from reconciler.log import Log
from reconciler.network import Network
from reconciler.networks import Networks

T = TypeVar("T", bound=AttrsInstance)

FORMAT: Final = 1
"""Grows when a message changes its meaning; a daemon of another version is not understood."""

LIMIT: Final = 1 << 16
"""Bytes of a message."""

PATIENCE: Final = 2.0
"""Seconds within which a daemon that lives and is well answers."""

LONG: Final = 60.0
"""Seconds to wait for what the daemon has begun: removals wait for a pass that is running."""

_NETNS_COOKIE: Final = 71  # SO_NETNS_COOKIE, Linux 5.14
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid

_text = field(validator=instance_of(str))
_texts = field(
    default=(), converter=tuple, validator=deep_iterable(instance_of(str), instance_of(tuple))
)
_words = deep_mapping(instance_of(str), instance_of(str), instance_of(dict))
_numbers = deep_iterable(instance_of(int), instance_of(tuple))

_log = Log("control")


@frozen
class Identity:
    """What a process guards: by which configuration and database, in which network namespace.

    ``database`` is the device and the inode of the file, empty as long as there is none.
    ``namespace`` is the kernel's cookie or, before Linux 5.14, the device and the inode.
    """

    configuration: str = _text
    database: str = _text
    namespace: str = _text

    @classmethod
    def of(cls, configuration: Path, database: Path, where: str = "") -> "Identity":
        """Return what this process guards with these files; ``where`` is its `namespace`."""
        return cls(os.path.realpath(configuration), _inode(database), where or namespace())

    def difference(self, other: "Identity") -> str:
        """Return in which way the other is another one, in words; empty if it is the same."""
        if self.configuration != other.configuration:
            return f"has another configuration, {other.configuration}"
        if self.namespace != other.namespace:
            return "is in another network namespace"
        return "" if self.database == other.database else "has another database open"


@frozen
class Enforced:
    """What became of what a command has stored: in force in these backends, unless ``error``.

    ``rests`` says that the daemon changes nothing now, as it was told to.
    """

    backends: tuple[str, ...] = _texts
    error: str = field(default="", validator=instance_of(str))
    rests: bool = field(default=False, validator=instance_of(bool))


@frozen
class DaemonStatus:
    """How a daemon is, which runs ``since`` (epoch seconds).

    ``awake`` are the sources that wake it, ``timed`` those that it reads by a timer. ``ways`` tells
    of sources that see in several ways by which one, and why by no better one. ``pending``
    networks are in force and not stored yet. ``repaired`` (epoch seconds) is when it put back last
    what somebody else had changed, ``repair`` what that was. ``troubles`` are for people, and
    ``rests``: why it changes nothing now. Processes that ``held`` are let it do so, or somebody who
    told it to stand ``still`` (epoch seconds). While everything is ``paused``, nothing is in force.
    """

    pid: int = field(validator=instance_of(int))
    since: float = field(validator=instance_of((int, float)))
    awake: tuple[str, ...] = _texts
    timed: tuple[str, ...] = _texts
    pending: int = field(default=0, validator=instance_of(int))
    repaired: float | None = field(default=None, validator=optional(instance_of((int, float))))
    repair: str = field(default="", validator=instance_of(str))
    troubles: tuple[str, ...] = _texts
    rests: str = field(default="", validator=instance_of(str))
    held: tuple[int, ...] = field(default=(), converter=tuple, validator=_numbers)
    still: float | None = field(default=None, validator=optional(instance_of((int, float))))
    paused: bool = field(default=False, validator=instance_of(bool))
    ways: dict[str, str] = field(factory=dict, validator=_words)


def packed(message: Mapping[str, Any]) -> bytes:
    """Return the packet of a message."""
    return json.dumps(message, separators=(",", ":")).encode()


def unpacked(packet: bytes) -> dict[str, Any]:
    """Return the message of a packet. Raise ValueError for what is none."""
    if len(packet) > LIMIT:
        raise ValueError(f"a message of more than {LIMIT:,} bytes")
    try:
        message = json.loads(packet)
    except RecursionError:
        raise ValueError("a message of too many levels") from None
    if not isinstance(message, dict):
        raise ValueError("not an object")  # noqa: TRY004 - what comes from outside is a value
    return message


def greeting(identity: Identity) -> dict[str, Any]:
    """Return what the daemon says first."""
    return {"format_version": FORMAT, "pid": os.getpid(), **asdict(identity)}


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the process id and the user of who is at the other end (SO_PEERCRED, unix(7))."""
    held = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _group = _CREDENTIALS.unpack(held)
    return pid, user


def is_trusted(user: int, *others: int) -> bool:
    """Whether this user may be at the other end: root, our own, or one of the ``others``."""
    return user in {0, os.geteuid(), *others}


class Client:
    """A connection to the daemon with process id ``pid``, which has greeted."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def pending(self) -> Networks:
        """Return what is in force and not stored yet. Raise `DaemonError`."""
        found: list[Network] = []
        for answer in self._answers("pending"):
            try:
                found += map(Network.parse, answer["networks"])
            except (AttributeError, KeyError, TypeError, InvalidNetwork):
                raise _strange(self.pid, "its list of networks") from None
        return Networks.of(found)

    def enforce(self, timeout: float = LONG) -> Enforced:
        """Let the daemon take in what is stored now, and wait until it is in force.

        ``timeout`` (seconds) begins when the daemon has begun. Raise `DaemonError`.
        """
        answers = self._answers("enforce")
        next(answers)
        _limit(self._connection, timeout)
        return _made(Enforced, next(answers), self.pid)

    def status(self) -> DaemonStatus:
        """Return how the daemon is. Raise `DaemonError`."""
        return _made(DaemonStatus, next(self._answers("status")), self.pid)

    def hold(self, timeout: float) -> None:
        """Let the daemon change nothing from now on, as long as the connection is open.

        A pass of its own that runs is waited for, ``timeout`` seconds. Raise `DaemonError`.
        """
        self._ask("hold")
        _limit(self._connection, max(timeout, PATIENCE))
        next(self._coming())

    def stand_still(self, by: str) -> None:
        """Let the daemon, which is held, change nothing after that either; ``by`` is the command.

        Raise `DaemonError`.
        """
        self._ask("stand still", by=by)
        next(self._coming())

    def go_on(self) -> None:
        """Let the daemon stand still no more. Raise `DaemonError`."""
        next(self._answers("go on"))

    def _answers(self, question: str) -> Iterator[dict[str, Any]]:
        """Ask, and yield what is answered, until no more is to come. Raise `DaemonError`."""
        self._ask(question)
        yield from self._coming()

    def _ask(self, question: str, **more: str) -> None:
        _limit(self._connection, PATIENCE)
        with _talking(self.pid):
            self._connection.send(packed({"ask": question, **more}))

    def _coming(self) -> Iterator[dict[str, Any]]:
        more = True
        while more:
            answer = _received(self._connection, self.pid)
            more = bool(answer.pop("more", False))
            if refused := answer.get("refused"):
                raise DaemonError(f"the daemon (process {self.pid}) refused: {refused}")
            yield answer


@contextmanager
def connected(path: Path, configuration: Path, database: Path) -> Iterator[Client | None]:
    """Connect to the daemon that guards by these files, where we are; None where there is none.

    It may be run by root, by us, or by who owns the database, and so decides on bans anyway. That
    somebody else's daemon is there, or one that guards something else, is logged. Raise
    `DaemonError` where there is one that does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        _limit(connection, PATIENCE)
        try:
            connection.connect(os.fspath(path))
        except BlockingIOError:  # nobody has accepted those who came before
            raise _unanswered("", f"{path}: takes no connections") from None
        except OSError as error:
            _log.info("no daemon at %s: %s", path, error.strerror or error)
            yield None
            return
        pid, user = peer_of(connection)
        if is_trusted(user, *_owner(database)):
            yield _greeted(connection, pid, Identity.of(configuration, database))
        else:
            _log.info("not asking the daemon at %s: it runs as user %d", path, user)
            yield None


def _greeted(connection: socket.socket, pid: int, own: Identity) -> Client | None:
    said = _received(connection, pid)
    if said.get("format_version") != FORMAT:
        raise DaemonError(
            f"the daemon (process {pid}) is of another version of treason, and not understood",
            "restart it: systemctl restart treason",
        )
    if difference := own.difference(_made(Identity, said, pid)):
        _log.info("not asking the daemon (process %d): it %s", pid, difference)
        return None
    return Client(connection, pid)


def _received(connection: socket.socket, pid: int) -> dict[str, Any]:
    with _talking(pid):
        packet = connection.recv(LIMIT + 1)
    if not packet:
        raise _unanswered(pid, "it has closed the connection")
    try:
        return unpacked(packet)
    except ValueError as error:
        raise _strange(pid, str(error)) from None


@contextmanager
def _talking(pid: int) -> Iterator[None]:
    """Raise `DaemonError` for what goes wrong between us and the daemon."""
    begun = time.monotonic()
    try:
        yield
    except BlockingIOError:
        waited = time.monotonic() - begun
        raise _unanswered(pid, f"nothing came within {waited:.0f} s") from None
    except OSError as error:
        raise _unanswered(pid, error.strerror or str(error)) from None


def _made(kind: type[T], values: Mapping[str, Any], pid: int) -> T:
    """Fill a class from a message; keys that it does not know are of a newer daemon."""
    try:
        return kind(**{name: value for name, value in values.items() if name in fields_dict(kind)})
    except (TypeError, ValueError):
        raise _strange(pid, f"its {kind.__name__}") from None


def _limit(connection: socket.socket, seconds: float) -> None:
    """Let every call take so long at most: then it raises BlockingIOError (socket(7))."""
    whole = int(seconds)
    limit = struct.pack("ll", whole, int((seconds - whole) * 1e6))  # struct timeval
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def _unanswered(pid: int | str, why: str) -> DaemonError:
    who = f" (process {pid})" if pid else ""
    return DaemonError(
        f"the daemon{who} does not answer: {why}",
        "see: systemctl status treason; what it drops stays dropped while it is restarted",
    )


def _strange(pid: int, what: str) -> DaemonError:
    return DaemonError(f"the daemon (process {pid}) is not understood: {what}")


def _inode(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def _owner(database: Path) -> tuple[int, ...]:
    try:
        return (database.stat().st_uid,)
    except OSError:
        return ()


def namespace() -> str:
    """Return the network namespace of this process, as `Identity` names it. Raise OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        try:
            cookie = asked.getsockopt(socket.SOL_SOCKET, _NETNS_COOKIE, 8)
        except OSError:
            return _inode(Path("/proc/self/ns/net"))
    return str(int.from_bytes(cookie, sys.byteorder))
