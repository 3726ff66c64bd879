"""What everybody is given alike: addresses, and databases with bans of them."""

import os
import random
from collections.abc import Iterator, Sequence
from functools import cache
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path
from typing import Final

from reconciler.model import Ban
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.store import open_store

_SINCE: Final = 1_700_000_000
_CHUNK: Final = 100_000
_SPARE: Final = IPv4Network("198.18.0.0/15")  # for benchmarks, RFC 2544
_SPECIAL: Final = (  # RFC 6890: no public hosts
    _SPARE,
    *map(IPv4Network, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16")),
    *map(IPv4Network, ("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16")),
    *map(IPv4Network, ("198.51.100.0/24", "203.0.113.0/24")),
)
_RANGES: Final = [(int(net.network_address), int(net.broadcast_address)) for net in _SPECIAL]


@cache
def addresses(size: int) -> list[str]:
    """Return so many distinct addresses of public hosts, always the same."""
    return list(islice(_addresses(), size))


def hosts(size: int) -> Networks:
    """Return the same as networks."""
    return Networks.of(map(Network.parse, addresses(size)))


def more(start: int, size: int) -> list[str]:
    """Return addresses that `addresses` never gives, from a number on."""
    first = int(_SPARE.network_address) + start
    return [str(Network.of(4, first + number, 32)) for number in range(size)]


def store_bans(path: Path, banned: Sequence[str]) -> None:
    """Add bans to a database, and wait for the disk, so that it disturbs nobody later."""
    with open_store(path, write=True) as store:
        for start in range(0, len(banned), _CHUNK):
            chunk = banned[start : start + _CHUNK]
            store.bans.add([Ban(Network.parse(text), _SINCE, None, "manual") for text in chunk])
    sync(path)


def sync(path: Path) -> None:
    """Wait until the disk holds the file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _addresses() -> Iterator[str]:
    chance = random.Random(20260101)  # noqa: S311 - the same for everybody, no secrets
    seen: set[int] = set()
    while True:
        number = chance.randrange(0x01000000, 0xE0000000)
        if number not in seen and number & 0xFF not in (0, 255) and not _special(number):
            seen.add(number)
            yield str(Network.of(4, number, 32))


def _special(number: int) -> bool:
    return any(first <= number <= last for first, last in _RANGES)
