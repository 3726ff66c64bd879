"""What is never dropped without being asked: the machine's own ways to the world.

Read from the files of proc(5), net namespace of the calling thread, and resolv.conf(5).
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import files
from reconciler.errors import InvalidNetwork, TreasonError
from reconciler.network import Network
from reconciler.planning.whitelist import Exemption

CLIENT_KEPT: Final = 12 * 3600
"""Seconds for which the address of an ssh client that ran treason stays protected."""

_NET: Final = Path("/proc/thread-self/net")
_RESOLVERS: Final = Path("/etc/resolv.conf")
_MOST: Final = 1 << 20
"""Bytes of resolv.conf; a resolver is asked for three of its lines."""

_LOOPBACK: Final = tuple(map(Network.parse, ("127.0.0.0/8", "::1")))
_LINK_LOCAL: Final = tuple(map(Network.parse, ("169.254.0.0/16", "fe80::/10")))
_RTF_GATEWAY: Final = 0x2  # linux/route.h


@frozen
class Protect:
    """``[protect]``: each kind can be switched off."""

    loopback: bool = True
    link_local: bool = True
    own_addresses: bool = True
    gateways: bool = True
    resolvers: bool = True
    ssh_client: bool = True


def protected(
    settings: Protect,
    clients: Iterable[Network],
    net: Path = _NET,
    resolvers: Path = _RESOLVERS,
) -> list[Exemption]:
    """Return what is protected now, each with its reason.

    ``clients`` are the remembered ssh clients. Raise `TreasonError` if it cannot be told.
    """
    kinds: tuple[tuple[bool, str, Iterable[Network]], ...] = (
        (settings.loopback, "loopback", _LOOPBACK),
        (settings.link_local, "link-local", _LINK_LOCAL),
        (settings.own_addresses, "own address", _own_addresses(net)),
        (settings.gateways, "default gateway", _gateways(net)),
        (settings.resolvers, "DNS resolver", _resolvers(resolvers)),
        (settings.ssh_client, "ssh client of a recent command", clients),
    )
    try:
        return [
            Exemption(network, reason)
            for wanted, reason, networks in kinds
            if wanted
            for network in dict.fromkeys(networks)
        ]
    except OSError as error:
        raise TreasonError(
            f"{error.filename}: cannot find out what to protect: {error.strerror}",
            "allow reading it, or switch that kind of protection off in [protect]",
        ) from None
    except ValueError as error:
        raise TreasonError(
            f"{net}: cannot find out what to protect: {' '.join(str(error).split())}",
            "switch own_addresses and gateways off in [protect]",
        ) from None


def ssh_client(pid: int | None = None) -> Network | None:
    """Return the address from which the person who runs this process came through ssh.

    sudo takes the variable away, so the processes above are asked, as far as that is allowed.
    """
    pid = os.getpid() if pid is None else pid
    while pid > 1:
        process = Path(f"/proc/{pid}")
        try:
            environment = process.joinpath("environ").read_bytes()
            status = process.joinpath("status").read_bytes()
        except OSError:
            return None
        found = re.search(rb"(?:^|\0)SSH_CONNECTION=([0-9a-fA-F.:]+)", environment)
        if found:
            return _network(found[1].decode())
        parent = re.search(rb"^PPid:\s*([0-9]+)$", status, re.MULTILINE)
        pid = int(parent[1]) if parent else 0
    return None


def _own_addresses(net: Path) -> Iterator[Network]:
    address = ""
    for line in _lines(net / "fib_trie"):
        if found := re.search(r"\|-- ([0-9.]+)$", line):
            address = found[1]
        elif "/32 host LOCAL" in line:
            yield Network.parse(address)
    for line in _lines(net / "if_inet6"):
        yield Network.of(6, int(line.split()[0], 16), 128)


def _gateways(net: Path) -> Iterator[Network]:
    for line in _lines(net / "route")[1:]:
        _, destination, gateway, flags, _, _, _, mask, *_ = line.split()
        if int(destination, 16) == int(mask, 16) == 0 and int(flags, 16) & _RTF_GATEWAY:
            packed = int(gateway, 16).to_bytes(4, sys.byteorder)  # the file prints it as a number
            yield Network.of(4, int.from_bytes(packed), 32)
    for line in _lines(net / "ipv6_route"):
        destination, length, _, _, gateway, _, _, _, flags, *_ = line.split()
        if int(destination, 16) == int(length, 16) == 0 and int(flags, 16) & _RTF_GATEWAY:
            yield Network.of(6, int(gateway, 16), 128)


def _resolvers(path: Path) -> Iterator[Network]:
    try:
        text = files.content(path, _MOST).decode(errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            network = _network(words[1].partition("%")[0])
            if network is not None and network.is_host:
                yield network


def _lines(path: Path) -> list[str]:
    """Return the lines of a file of proc(5); a missing one (no IPv6) has none."""
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _network(text: str) -> Network | None:
    try:
        return Network.parse(text)
    except InvalidNetwork:
        return None
