"""What is never dropped without being asked: the machine's own ways to the world.

Asked of the kernel by netlink, in the net namespace of the calling thread, and read from the files
of the programs that resolve names.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeVar

from attrs import frozen

from reconciler import embedding, netlink
from reconciler.errors import InvalidNetwork, TreasonError
from reconciler.host.resolvers import places, resolvers
from reconciler.network import Network
from reconciler.networks import covered
from reconciler.planning.desired import collapse
from reconciler.planning.whitelist import Exemption
from reconciler.toml import schema
from reconciler.toml.schema import setting

T = TypeVar("T")

CLIENT_KEPT: Final = 12 * 3600
"""Seconds for which the address of an ssh client that ran treason stays protected."""

_LOOPBACK: Final = tuple(map(Network.parse, ("127.0.0.0/8", "::1")))
_LINK_LOCAL: Final = tuple(map(Network.parse, ("169.254.0.0/16", "fe80::/10")))


_prefixes = partial(schema.listed, read=embedding.prefix, what="prefixes")


def _texts(prefixes: Iterable[Network]) -> list[str]:
    return [*map(str, prefixes)]


@frozen
class Protect:
    """``[protect]``: each kind can be switched off; ``nat64`` are prefixes besides those known."""

    loopback: bool = True
    link_local: bool = True
    own_addresses: bool = True
    gateways: bool = True
    resolvers: bool = True
    ssh_client: bool = True
    nat64: tuple[Network, ...] = setting((), _prefixes, _texts)

    @property
    def prefixes(self) -> tuple[Network, ...]:
        """All prefixes of NAT64."""
        return (*embedding.NAT64, *self.nat64)


def protected(
    settings: Protect,
    clients: Iterable[Network],
    root: Path = Path("/"),
    banned: Iterable[Network] = (),
) -> list[Exemption]:
    """Return what is protected now, each with its reason.

    ``clients`` are the remembered ssh clients, ``root`` is where the files of resolvers are.
    Of the ``banned`` each address counts that stands for a protected one in a way that no network
    tells, as a client of Teredo. Raise `TreasonError` if it cannot be told.
    """
    s, routes = settings, cache(netlink.routes)  # one list of them, which may be long
    kinds: tuple[tuple[bool, str, str, Callable[[], Iterable[Network]]], ...] = (
        (s.loopback, "loopback", "loopback", lambda: _LOOPBACK),
        (s.link_local, "link_local", "link-local", lambda: _LINK_LOCAL),
        (
            s.own_addresses,
            "own_addresses",
            "own address",
            lambda: [*netlink.addresses(), *routes().here],
        ),
        (s.gateways, "gateways", "gateway", lambda: [*routes().gateways, *netlink.peers()]),
        (s.resolvers, "resolvers", "DNS resolver", lambda: resolvers(root)),
        (s.ssh_client, "ssh_client", "ssh client of a recent command", lambda: clients),
    )
    found = [
        Exemption(network, reason)
        for wanted, key, reason, ask in kinds
        if wanted
        for network in dict.fromkeys(_asked(key, ask))
    ]
    return [*found, *_embedded(settings, found, banned)]


def files(settings: Protect, root: Path = Path("/")) -> list[Path]:
    """Return the files and directories that are looked at for it. Raise `TreasonError`."""
    return _asked("resolvers", lambda: places(root)) if settings.resolvers else []


def _asked(key: str, ask: Callable[[], T]) -> T:
    """Return what is asked of a kind. Raise `TreasonError` that says which kind cannot be told."""
    what = f"cannot find out what to protect ({key} in [protect])"
    try:
        return ask()
    except OSError as error:
        raise TreasonError(
            f"{error.filename}: {what}: {error.strerror}",
            f"{_remedy(error)}, or set {key} = false in [protect]",
        ) from None
    except netlink.NetlinkError as error:
        hint = error.hint or "let the kernel be asked by netlink"
        raise TreasonError(
            f"{what}: {error.what}", f"{hint}, or set {key} = false in [protect]"
        ) from None


def _remedy(error: OSError) -> str:
    return "make it readable" if isinstance(error, PermissionError) else "put that right"


def ssh_client(pid: int | None = None) -> Network | None:
    """Return the address from which the person who runs this process came through ssh.

    sudo takes the variable away, so the processes above are asked, as far as that is allowed.
    Raise `TreasonError` where there is no /proc to tell of any.
    """
    here = pid in {None, os.getpid()}
    pid = os.getpid() if pid is None else pid
    while pid > 1:
        process = Path("/proc/self" if here else f"/proc/{pid}")
        try:
            environment = process.joinpath("environ").read_bytes()
            status = process.joinpath("status").read_bytes()
        except OSError as error:
            if here and isinstance(error, FileNotFoundError):
                raise TreasonError(
                    "/proc: cannot find out what to protect (ssh_client in [protect]): it is not"
                    " mounted",
                    "mount it, or set ssh_client = false in [protect]",
                ) from None
            return None
        here = False
        found = re.search(rb"(?:^|\0)SSH_CONNECTION=([0-9a-fA-F.:]+)", environment)
        if found:
            return _network(found[1].decode())
        parent = re.search(rb"^PPid:\s*([0-9]+)$", status, re.MULTILINE)
        pid = int(parent[1]) if parent else 0
    return None


def _embedded(
    settings: Protect, found: Iterable[Exemption], banned: Iterable[Network]
) -> Iterator[Exemption]:
    """Yield what of IPv6 stands for the protected addresses of IPv4 that others may send from."""
    never = collapse([*_LOOPBACK, *_LINK_LOCAL])
    of4 = [e for e in found if e.network.version == 4 and not covered(e.network, never)]
    for each in of4:
        for network in embedding.embeddings(each.network, settings.prefixes):
            yield Exemption(network, f"{each.comment}, as {each.network} in IPv6")
    exempt = collapse(each.network for each in of4)
    for address in banned:
        standing = embedding.embedded(address, settings.prefixes) if address.is_host else ()
        if inside := [each for each in standing if covered(each, exempt)]:
            of = next(e for e in of4 if e.network <= inside[0] <= e.network.end)
            yield Exemption(address, f"{of.comment}, as {inside[0]} in IPv6")


def _network(text: str) -> Network | None:
    try:
        return Network.parse(text)
    except InvalidNetwork:
        return None
