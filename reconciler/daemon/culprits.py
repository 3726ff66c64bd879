"""Who is behind a netlink port id: the process, where that is certain."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from reconciler.lines import shortened

_NETFILTER: Final = "12"
"""NETLINK_NETFILTER of ``linux/netlink.h``."""

_TOLD: Final = 3
"""How many are named: who runs a program again and again has another port each time."""

_MOST: Final = 1_000
"""Descriptors of a process, and netlink sockets of the machine, among which is looked."""


def named(ports: Iterable[int]) -> str:
    """Return who has these port ids, for people; empty where nobody is known."""
    known = sorted(port for port in ports if port)  # 0: somebody unknown
    if not known:
        return ""
    sockets = dict(_sockets())
    some = [_named(port, sockets.get(port)) for port in known[:_TOLD]]
    return ", ".join(shortened(some, _TOLD, "{} more", count=len(known)))


def _named(port: int, inode: str | None) -> str:
    """Name the process of this number if the socket is its: port ids are mostly process ids."""
    with suppress(OSError):
        if inode and _has(port, f"socket:[{inode}]"):
            program = Path(f"/proc/{port}/comm").read_text(errors="replace").rstrip("\n")
            if program.isascii() and program.isprintable():
                return f"{program} (process {port})"
    return f"netlink port {port}"


def _has(pid: int, link: str) -> bool:
    with os.scandir(f"/proc/{pid}/fd") as entries:
        return any(_leads_to(each.path, link) for each in islice(entries, _MOST))


def _leads_to(path: str, link: str) -> bool:
    try:
        return os.readlink(path) == link  # noqa: PTH115 - it is no path
    except OSError:
        return False


def _sockets() -> Iterator[tuple[int, str]]:
    """Yield port id and inode of the sockets to netfilter, as the kernel lists them (proc(5))."""
    with suppress(OSError), Path("/proc/net/netlink").open() as lines:
        for line in islice(lines, 1, _MOST):
            words = line.split()
            if words[1] == _NETFILTER:
                yield int(words[2]), words[-1]
