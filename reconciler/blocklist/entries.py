"""What a line of a list names: one at a time in every form, or many together in the plain ones."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from attrs import frozen

from reconciler.errors import InvalidNetwork
from reconciler.network import Network

LONGEST: Final = 1 << 12
"""Characters of a line; only a comment may be longer."""

SPACE: Final = " \t\r\v\f"
SIMPLE: Final = re.compile(
    r"(?:add [^ ]+ )?([0-9A-Fa-f.:/]+)|[ \t]*([0-9A-Fa-f.:/]+)[ \t]*(?:[#;]+(.*))?"
)
"""An entry of ``ipset save`` without options; a plain network, and its comment if it has one."""

ODD: Final = (OSError, ValueError, KeyError)
"""What `together` raises."""

_SHOWN: Final = 60
"""Characters that are told of a line."""

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]+")
_COLUMNS: Final = re.compile(r"[\t, ]+")
_COMMENT: Final = re.compile(r"[#;]+")
_TIMEOUT: Final = re.compile(r" timeout ([0-9]{1,9})(?: |$)")
_HEADS: Final = frozenset(("address", "cidr", "ip", "ip_address", "network", "start"))
"""How the first of several columns is named."""

_READ: Final = {4: partial(inet_pton, AF_INET), 6: partial(inet_pton, AF_INET6)}
_BITS: Final = {4: 32, 6: 128}
_MAPPED: Final = bytes(10) + b"\xff\xff"
_MASKS: Final = {
    version: [
        (((1 << length) - 1) << bits - length).to_bytes(bits // 8) for length in range(bits + 1)
    ]
    for version, bits in _BITS.items()
}
_NETMASKS: Final = {".".join(map(str, _MASKS[4][length])): length for length in range(1, 33)}
"""By their text. 0.0.0.0 is none: in a router's list it stands behind a single address."""

_LENGTHS: Final = {
    version: {str(length): length for length in range(bits + 1)} | (_NETMASKS if bits == 32 else {})
    for version, bits in _BITS.items()
}


@frozen
class Entry:
    """What a line names: networks, none where it is there for something else, and why.

    ``timeout`` is in how many seconds that ends; None where the line does not say it.
    """

    networks: Iterable[Network] = ()
    reason: str = ""
    timeout: int | None = None


def together(lines: list[str]) -> tuple[bytes, bytes]:
    """Return lines that are a network each, packed, of IPv4 and of IPv6. Raise one of `ODD`."""
    text = "".join(lines)  # which is searched much faster than each of them
    six = [line for line in lines if ":" in line] if ":" in text else []
    four = [line for line in lines if ":" not in line] if six else lines
    return _packed(4, four, "/" in text), _packed(6, six, "/" in text)


def _packed(version: int, lines: list[str], mixed: bool) -> bytes:
    """Return networks of a family, packed: first the single addresses, then the others."""
    bits = _BITS[version]
    wider = [line for line in lines if "/" in line] if mixed else []
    single = [line for line in lines if "/" not in line] if wider else lines
    parts = "/".join(wider).split("/") if wider else []
    if len(parts) != 2 * len(wider):
        raise ValueError(parts)
    addresses = b"".join(map(_READ[version], single + parts[::2]))
    lengths = bytes([bits]) * len(single) + bytes(map(_LENGTHS[version].__getitem__, parts[1::2]))
    if wider:
        masks = b"".join(map(_MASKS[version].__getitem__, lengths[len(single) :]))
        border = len(addresses) - len(masks)
        both = int.from_bytes(addresses[border:]) & int.from_bytes(masks)
        addresses = addresses[:border] + both.to_bytes(len(masks))
    if version == 6 and _MAPPED in addresses:
        raise ValueError(_MAPPED)
    width = bits // 8 + 1
    packed = bytearray(width * len(lines))
    for byte in range(width - 1):
        packed[byte::width] = addresses[byte :: width - 1]
    packed[width - 1 :: width] = lengths
    return bytes(packed)


def meaning(line: str) -> Entry:
    """Return what a line names. Raise `InvalidNetwork`."""
    if len(line) > LONGEST and line[0] not in "#;":
        raise _meaningless(line, f"has more than {LONGEST:,} characters")
    line = readable(line)
    if line.startswith("{"):
        return _of_json(line)
    if line.startswith("add "):
        return _of_ipset(line)
    entry, *comment = _COMMENT.split(line, maxsplit=1)
    entry = entry.replace('"', "").strip(SPACE)
    if not entry or line.startswith("create "):
        return Entry()
    return Entry(_named(entry), "".join(comment))


def readable(line: str) -> str:
    """Return a line whose bytes were taken for Latin-1; mostly it is UTF-8."""
    try:
        return line if line.isascii() else line.encode("latin-1").decode()
    except UnicodeError:
        return line


def _of_json(line: str) -> Entry:
    """Read a line of Spamhaus' lists; the last one tells of the others."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise _meaningless(line, "is damaged JSON, or not of one line") from None
    cidr = said.get("cidr")
    if isinstance(cidr, str):
        return Entry((_network(cidr),), str(said.get("sblid", "")))
    if said.get("type") == "metadata":
        return Entry()
    raise _meaningless(line, "has no cidr")


def _of_ipset(line: str) -> Entry:
    """Read what ``ipset save`` prints of an entry: ``add NAME ENTRY OPTIONS``."""
    words, _, comment = line.partition(' comment "')
    _, _, entry, *options = [*words.split(), "", ""]
    if not entry or "," in entry or "nomatch" in options:
        raise _meaningless(line, "is more, or less, than a network")
    ends = _TIMEOUT.search(words)  # 0 is none
    timeout = int(ends[1]) if ends else 0
    return Entry(_named(entry), comment.partition('"')[0], timeout or None)


def _named(text: str) -> Iterable[Network]:
    """Return the networks that an entry names by the first of its columns, or the first few."""
    low, dash, high = text.partition("-")
    if dash and _ADDRESS.fullmatch(low.strip(SPACE)):
        return _range(low.strip(SPACE), _COLUMNS.split(high.strip(SPACE))[0])
    first, *more = _COLUMNS.split(text)
    match more:
        case _ if first.lower() in _HEADS:
            return ()
        case []:
            return (_network(first),)
        case [mask, *_] if mask in _NETMASKS:
            return (_network(f"{first}/{mask}"),)
        case [last, length, *_] if _is_address(last) and length in _LENGTHS[4]:
            [*networks] = _range(first, last)
            if networks != [_network(f"{first}/{length}")]:
                raise _meaningless(text, f"is not a network of /{length}")
            return networks
        case [last, *_] if _is_address(last):
            raise _meaningless(text, "is two addresses; a range has - between them")
        case _ if "\t" in text or "," in text:
            return (_network(first),)
    raise _meaningless(text, "is more than a network")


def _range(low: str, high: str) -> Iterator[Network]:
    """Return the networks that all addresses from one to another make up."""
    if _is_address(low) and _is_address(high):
        first, last = Network.parse(low), Network.parse(high)
        if first.version == last.version and first <= last:
            return _spanned(first, last.address)
    raise _meaningless(f"{low}-{high}", "is not a range of addresses")


def _spanned(first: Network, last: int) -> Iterator[Network]:
    address = first.address
    while address <= last:
        fitting = (last - address + 1).bit_length() - 1
        even = (address & -address).bit_length() - 1 if address else fitting
        size = min(fitting, even)
        yield Network.of(first.version, address, first.bits - size)
        address += 1 << size


def _network(text: str) -> Network:
    """Read ``ADDRESS``, ``ADDRESS/LENGTH`` or ``ADDRESS/NETMASK``."""
    address, slash, mask = text.partition("/")
    try:
        host = Network.exact(address)
    except InvalidNetwork:
        raise _meaningless(text, "is not an IP address or network") from None
    if not slash:
        return host.unmapped
    length = _LENGTHS[host.version].get(mask)
    if length is None:
        raise _meaningless(text, "has neither a prefix length nor a netmask behind the /")
    rest = host.bits - length
    return Network.of(host.version, host.address >> rest << rest, length).unmapped


def _is_address(text: str) -> bool:
    try:
        return Network.exact(text).is_host
    except InvalidNetwork:
        return False


def _meaningless(text: str, why: str) -> InvalidNetwork:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return InvalidNetwork(f"{shown!r} {why}")
