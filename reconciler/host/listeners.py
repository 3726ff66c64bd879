"""The TCP ports on which this network namespace listens."""

from pathlib import Path
from typing import Final

from reconciler.errors import TreasonError

_TABLES: Final = ("tcp", "tcp6")
_LISTEN: Final = "0A"  # TCP_LISTEN in the kernel's include/net/tcp_states.h


def ports(directory: Path = Path("/proc/self/net")) -> frozenset[int]:
    """Return the ports, read from proc(5)'s net/tcp and net/tcp6. Raise `TreasonError`.

    The listening sockets come first there (kernel's networking/proc_net_tcp.rst), so no more is
    read, however many connections there are.
    """
    found: set[int] = set()
    for name in _TABLES:
        path = directory / name
        try:
            with path.open(encoding="ascii") as table:
                next(table, None)  # the titles
                for line in table:
                    _, local, _, state, *_ = line.split()
                    if state != _LISTEN:
                        break
                    found.add(int(local.rpartition(":")[2], 16))
        except OSError as error:
            if name == "tcp6" and isinstance(error, FileNotFoundError):
                continue  # a kernel without IPv6
            raise TreasonError(
                f"{path}: cannot read which ports listen: {error.strerror}",
                "make /proc readable, or set [policy] listeners_only = false",
            ) from None
    return frozenset(found)
