"""Lists of networks: a slow reader written apart from the product's, and who writes such lists."""

import ipaddress
import json
import random
from typing import Final

import mutations
from attrs import field, frozen
from reference import Disagreement

from reconciler import InvalidList, Network, blocklist

Net = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST: Final = 4096
SPACES: Final = " \t\r\v\f"
HEADS: Final = ("address", "cidr", "ip", "ip_address", "network", "start")
NETMASKS: Final = {
    str(ipaddress.IPv4Network((0, length)).netmask): length for length in range(1, 33)
}


class Meaningless(Exception):
    """A line that names no network, and is there for nothing else."""


@frozen
class Said:
    """What a list says: the networks by reason, how many lines name any, and which mean nothing."""

    networks: dict[str, set[str]] = field(factory=dict)
    entries: list[int] = field(factory=list)
    refused: list[int] = field(factory=list)
    timeouts: dict[str, int] = field(factory=dict)


def said(data: bytes) -> Said | None:
    """Read a list line by line; None if it is not text."""
    if 0 in data:
        return None
    found = Said({"": set()})
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = raw.removesuffix(b"\r")
        try:
            networks, reason = told(line)
        except (Meaningless, ValueError):
            found.refused.append(number)
            continue
        for each in networks if (timeout := timeout_of(line)) else ():
            found.timeouts[str(each)] = max(timeout, found.timeouts.get(str(each), 0))
        if networks:
            found.entries.append(number)
            shown = "".join(each if each.isprintable() else " " for each in reason)
            held = found.networks.setdefault(" ".join(shown.split())[:100], set())
            held.update(map(str, networks))
    return found


def told(raw: bytes) -> tuple[list[Net], str]:
    """Return the networks of a line and their reason. Raise `Meaningless` or ValueError."""
    try:
        line = raw.decode()
    except UnicodeDecodeError:
        line = raw.decode("latin-1")
    stripped = raw.decode("latin-1").strip(SPACES)
    line = line.strip(SPACES)
    if not line or line[0] in "#;":
        return [], ""
    if len(stripped) > LONGEST:
        raise Meaningless
    if line[0] == "{":
        return of_json(line)
    if line.startswith("add "):
        before, _, comment = line.partition(' comment "')
        words = before.split()
        if len(words) < 3 or "," in words[2] or "nomatch" in words[3:]:
            raise Meaningless
        return entry(words[2]), comment.split('"')[0]
    marks = [at for at, character in enumerate(line) if character in "#;"]
    text = line[: marks[0]] if marks else line
    text = text.replace('"', "").strip(SPACES)
    if not text or line.startswith("create "):
        return [], ""
    return entry(text), line[marks[0] :].lstrip("#;") if marks else ""


def timeout_of(line: bytes) -> int:
    """Return the seconds that a line of ``ipset save`` names; 0 if it names none."""
    words = line.strip().partition(b' comment "')[0].split(b" ")
    if words[0] != b"add" or b"timeout" not in words[1:-1]:
        return 0
    number = words[words.index(b"timeout") + 1]
    return int(number) if number.isdigit() and len(number) < 10 else 0


def of_json(line: str) -> tuple[list[Net], str]:
    """Read an object of one line."""
    try:
        value = json.loads(line)
    except RecursionError:
        raise Meaningless from None
    if isinstance(value.get("cidr"), str):
        return [network(value["cidr"])], str(value.get("sblid", ""))
    if value.get("type") == "metadata":
        return [], ""
    raise Meaningless


def entry(text: str) -> list[Net]:
    """Read the columns of a line."""
    spaced = text
    for blank in "\t,":
        spaced = spaced.replace(blank, " ")
    first, *more = [*spaced.split(" ")]
    more = [each for each in more if each] + ([""] if more and not more[-1] else [])
    before, dash, behind = text.partition("-")
    if dash and is_plain(before.strip(SPACES)):
        behind = behind.strip(SPACES).replace("\t", " ").replace(",", " ")
        return spanned(before.strip(SPACES), behind.split(" ")[0])
    if first.lower() in HEADS:
        return []
    if not more:
        return [network(first)]
    if more[0] in NETMASKS:
        return [network(f"{first}/{more[0]}")]
    if is_address(more[0]):
        lengths = {str(each) for each in range(33)} | {*NETMASKS}
        if len(more) > 1 and more[1] in lengths:
            networks = spanned(first, more[0])
            if networks == [network(f"{first}/{more[1]}")]:
                return networks
        raise Meaningless
    if "\t" in text or "," in text:
        return [network(first)]
    raise Meaningless


def is_plain(text: str) -> bool:
    """Return whether it may be an address by its characters."""
    return text != "" and all(each in "0123456789abcdefABCDEF.:" for each in text)


def is_address(text: str) -> bool:
    """Return whether it is one."""
    try:
        address(text)
    except ValueError:
        return False
    return True


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address without a zone. Raise ValueError."""
    return ipaddress.ip_address("" if "%" in text else text)


def network(text: str) -> Net:
    """Read an address, and what stands behind its slash. Raise `Meaningless` or ValueError."""
    host, slash, behind = text.partition("/")
    base = address(host)
    if slash and base.version == 4 and behind in NETMASKS:
        behind = str(NETMASKS[behind])
    if slash and behind not in map(str, range(base.max_prefixlen + 1)):
        raise Meaningless
    net = ipaddress.ip_network(f"{host}/{behind or base.max_prefixlen}", strict=False)
    return unmapped(net)


def unmapped(net: Net) -> Net:
    """Return the IPv4 network that an IPv6 network stands for, if it does."""
    if isinstance(net, ipaddress.IPv6Network) and net.prefixlen >= 96:
        inner = net.network_address.ipv4_mapped
        return ipaddress.IPv4Network((inner, net.prefixlen - 96)) if inner else net
    return net


def spanned(low: str, high: str) -> list[Net]:
    """Return the networks of a range. Raise ValueError, as the standard library does."""
    first, last = (unmapped(ipaddress.ip_network(address(each)))[0] for each in (low, high))
    if first.version != last.version:
        raise Meaningless
    return [*ipaddress.summarize_address_range(first, last)]


def check(data: bytes) -> int:
    """Compare what the product reads, in whole and in small pieces."""
    expected = said(data)
    for size in (len(data) + 1, 7):
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        try:
            found = blocklist.read(chunks)
        except InvalidList:
            found = None
        if compared(found) != (expected and held(expected)):
            raise Disagreement(f"treason reads {compared(found)}, the reference {expected}")
    return len(expected.entries) if expected else 0


def compared(found: blocklist.Blocklist | None) -> object:
    """Return what is compared of what the product read."""
    if found is None:
        return None
    reasons = {"": found.networks, **found.reasons}
    networks = {why: sorted(map(written, each)) for why, each in reasons.items() if each}
    first = [each.line for each in found.first]
    timeouts = {written(network): seconds for network, seconds in found.timeouts.items()}
    return networks, found.entries, found.refused, first, timeouts


def held(expected: Said) -> object:
    """Return the same of what the reference read."""
    networks = {why: sorted(each) for why, each in expected.networks.items() if each}
    counts = len(expected.entries), len(expected.refused)
    return networks, *counts, expected.refused[:100], expected.timeouts


def written(network: Network) -> str:
    """Return a network as the standard library writes it, whether it is one or not."""
    return f"{ipaddress.ip_address(network.packed)}/{network.length}"


COMMENTS: Final = (
    "", "", "", " # a reason", " ; SBL1234", "#", " ## port scan; twice ", "\t# Größe", " ;\x1b[0m",
)  # fmt: skip
BREAKS: Final = ("\n", "\n", "\n", "\n", "\r\n", "\n\n", " \n", "\t\r\n")
IDLE: Final = (
    "# a comment", "; another", "", "Start\tEnd\tNetmask\tAttacks", "ip,country", "<html>",
    "create bad hash:net family inet hashsize 1024", '{"type":"metadata","records":3}', "Not Found",
    '{"asn":64496}', "\xa0", "x" * 5000, "# " + "x" * 5000,
)  # fmt: skip


def fresh(dice: random.Random) -> str:
    """Return a list: mostly one form, with strays."""
    kind = dice.randrange(9)
    made = ["\ufeff"] if dice.random() < 0.05 else []
    for _ in range(dice.randrange(1, 12)):
        chosen = kind if dice.random() < 0.8 else dice.randrange(9)
        text = _entry(dice, chosen) if dice.random() < 0.85 else dice.choice(IDLE)
        made.append(text + dice.choice(COMMENTS) + dice.choice(BREAKS))
    return "".join(made)


def _entry(dice: random.Random, kind: int) -> str:
    bits = dice.choice((32, 32, 32, 128))
    number = dice.getrandbits(bits) if dice.random() < 0.9 else 0xFFFF << 32 | dice.getrandbits(32)
    host = ipaddress.ip_address(number >> (96 if bits == 32 and number >> 32 else 0))
    length = dice.randrange(host.max_prefixlen + 1)
    net = ipaddress.ip_network(f"{host}/{length}", strict=False)
    last = net[-1] if length > 20 or dice.random() < 0.5 else net[0]
    dash = dice.choice(("-", " - ", " -", "- "))
    peer = dice.choice(mutations.PEERS + mutations.STRANGE_PEERS)
    forms = (
        str(host),
        str(net),
        f"{host}/{length}",
        f"{net[0]}{dash}{last}",
        f"{net[0]}{dice.choice('/ ')}{net.netmask}",
        f"{net[0]}\t{net[-1]}\t{dice.choice((length, 24))}\t3121\tNET\tNL",
        f"add bad {net}" + dice.choice(("", " timeout 3", " nomatch", ' comment "a # b"')),
        json.dumps({"cidr": str(net), "sblid": f"SBL{dice.randrange(3)}", "rir": "é"}),
        peer + dice.choice(("", "\t10", ",evil,3", " evil.example", "/24")),
    )
    return forms[kind]
