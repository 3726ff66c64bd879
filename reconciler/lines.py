"""Networks as text and back, many at once: as programs and files take them and give them.

A single address costs no object of its own, and is written and read at the speed of C. Of lists
for people only the first entries are shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from reconciler.errors import InvalidNetwork
from reconciler.network import Network
from reconciler.networks import Networks

_TOGETHER: Final = 1 << 12
"""Networks in a piece of text; also lines that are read together, and so are slow together."""

_SPAN: Final = 1 << 16
_READ: Final = {4: partial(inet_pton, AF_INET), 6: partial(inet_pton, AF_INET6)}


def written(
    networks: Networks, before: str = "", after: str = "\n", *, full: bool = False
) -> Iterator[str]:
    """Yield pieces of text with every network, in order, between ``before`` and ``after``.

    ``full`` writes the length of single addresses too: ``192.0.2.1/32``.
    """
    four, six = networks.packed(4), networks.packed(6)
    head, tail = before.replace("%", "%%"), after.replace("%", "%%")
    ends = _ends(32, "/%d" + tail, "%.0s" + tail, full=full)  # of %.0s nothing is seen
    lines = [f"{head}%d.%d.%d.%d{end}" for end in ends]
    for start in range(0, len(four), 5 * _TOGETHER):
        block = four[start : start + 5 * _TOGETHER]
        yield "".join([lines[length] for length in block[4::5]]) % tuple(block)
    ends = [end % length for length, end in enumerate(_ends(128, "/%d", "%.0s", full=full))]
    for start in range(0, len(six), 17 * _TOGETHER):
        block = six[start : start + 17 * _TOGETHER]
        places = range(0, len(block), 17)
        yield "".join(
            [
                f"{before}{inet_ntop(AF_INET6, block[at : at + 16])}{ends[block[at + 16]]}{after}"
                for at in places
            ]
        )


def read(texts: Iterable[str]) -> tuple[Networks, list[str]]:
    """Read networks in any order, each as `Network.exact` does; give what is none beside them."""
    hosts: dict[int, list[bytes]] = {4: [], 6: []}
    wider: list[Network] = []
    odd: list[str] = []
    coming = iter(texts)
    while block := [*islice(coming, _TOGETHER)]:
        version = 6 if ":" in block[0] else 4
        try:
            hosts[version].append(b"".join(map(_READ[version], block)))
        except (OSError, ValueError):
            for text in block:
                try:
                    network = Network.exact(text)
                except InvalidNetwork:
                    odd.append(text)
                    continue
                if network.is_host:
                    hosts[network.version].append(network.packed)
                else:
                    wider.append(network)
    single = Networks.joined(
        Networks.of_hosts(version, b"".join(packed)) for version, packed in hosts.items()
    )
    return (single | Networks.of(wider) if wider else single), odd


def split(text: str) -> Iterator[str]:
    """Yield the lines of a text without ever holding all of them; the last may lack its end."""
    start, stop = 0, len(text) - text.endswith("\n")
    while start <= stop and text:
        end = text.find("\n", start + _SPAN, stop)
        end = stop if end < 0 else end
        yield from text[start:end].split("\n")
        start = end + 1


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 ban``, ``2 bans``, ``12,345 bans``."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def first_few(things: Sequence[object], most: int = 3) -> str:
    """Return the first things as text: ``a, b, c, ...``."""
    return ", ".join([*map(str, things[:most]), *(["..."] if len(things) > most else [])])


def shortened(
    texts: Sequence[str], most: int = 3, rest: str = "and {} more", *, count: int | None = None
) -> list[str]:
    """Return the first texts, and in place of the others one that tells how many there are.

    ``count`` is how many there are in all, where not all of them are given.
    """
    left = (len(texts) if count is None else count) - most
    return [*texts[:most], *([rest.format(f"{left:,}")] if left > 0 else [])]


def _ends(bits: int, wider: str, single: str, *, full: bool) -> list[str]:
    """Return what follows an address, by the prefix length."""
    return [wider] * bits + [wider if full else single]
