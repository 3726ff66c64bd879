"""A network of its own: namespaces for hosts on one switch, and a street from which anybody sends.

The machine's own network has no part in it.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Self

from attrs import define, field

from bench.measure import Failed
from reconciler.execute import run
from reconciler.host.netns import Namespace

STREET: Final = "203.0.113.0/24"
"""Where attackers live (RFC 5737); its first address, `WITNESS`, never attacks."""

WITNESS: Final = "203.0.113.1"
_PORT: Final = 4711
_PATIENCE: Final = 20.0


@define(eq=False)
class Port:
    """A host's place at the switch: its namespace, its address, and a socket that hears packets."""

    name: str
    address: str
    namespace: Namespace
    heard: socket.socket

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in its namespace for the time of the block."""
        with self.namespace.entered():
            yield


@define(eq=False)
class Switch:
    """A bridge in a namespace of its own, gone with all that hangs on it at the end of ``with``."""

    ports: dict[str, Port] = field(factory=dict, init=False)
    _joined: int = field(default=0, init=False)
    _bridge: Namespace = field(init=False)
    _street: Namespace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._bridge, self._street = _namespace(), _namespace()
        with self._bridge.entered():
            run(["ip", "link", "add", "switch", "type", "bridge"])
            run(["ip", "link", "set", "switch", "up"])
        self._cable("street", self._street)
        with self._street.entered():
            run(["ip", "route", "add", "10.77.0.0/24", "dev", "eth0"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in [*self.ports]:
            self.leave(name)
        self._bridge.close()
        self._street.close()

    def join(self, name: str) -> Port:
        """Let a host join, with the next free address of 10.77.0.0/24."""
        self._joined += 1
        address = f"10.77.0.{self._joined}"
        namespace = _namespace()
        self._cable(name, namespace)
        with namespace.entered():
            run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
            run(["sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=0"])
            run(["ip", "addr", "add", f"{address}/24", "dev", "eth0"])
            heard = _bound("", _PORT)
        self.ports[name] = Port(name, address, namespace, heard)
        return self.ports[name]

    def leave(self, name: str) -> None:
        """Take a host away, with all that its kernel holds."""
        port = self.ports.pop(name)
        port.heard.close()
        port.namespace.close()

    def reached(self, sender: str, names: Sequence[str]) -> Mapping[str, bool]:
        """Send a packet to each of these hosts; return at which it arrived.

        The witness speaks behind it: when its packet is there, all that will come has come.
        """
        token = os.urandom(16)
        with self._street.entered():
            for each in (sender, WITNESS):
                run(["ip", "addr", "replace", f"{each}/32", "dev", "eth0"])
                with _bound(each, 0) as speaker:
                    for name in names:
                        speaker.sendto(token, (self.ports[name].address, _PORT))
        return {name: sender in _until_witness(self.ports[name], token) for name in names}

    def _cable(self, name: str, namespace: Namespace) -> None:
        """Lay a cable from the bridge to a namespace, whose end is ``eth0``."""
        with self._bridge.entered():
            run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0",
                 "netns", namespace.path])  # fmt: skip
            run(["ip", "link", "set", name, "master", "switch", "up"])
        with namespace.entered():
            run(["ip", "link", "set", "eth0", "up"])


def _namespace() -> Namespace:
    made = Namespace()
    with made.entered():
        run(["ip", "link", "set", "lo", "up"])
    return made


def _until_witness(port: Port, token: bytes) -> set[str]:
    """Return who was heard with this token, once the witness was."""
    heard: set[str] = set()
    while WITNESS not in heard:
        try:
            data, (sender, _) = port.heard.recvfrom(64)
        except TimeoutError:
            raise Failed(f"no packet arrives at {port.name}, not even that of a witness") from None
        if data == token:
            heard.add(sender)
    return heard


def _bound(address: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.settimeout(_PATIENCE)
    opened.bind((address, port))
    return opened
