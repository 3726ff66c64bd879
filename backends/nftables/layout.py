"""What the table looks like, and how what nft(8) lists of it is compared with that.

Single addresses stand in hash sets, networks in interval sets. Many single addresses are spread
over several hashes by four of their bits: the time in which the kernel lists a hash grows with the
square of what it holds.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from socket import AF_INET, AF_INET6, IPPROTO_ICMPV6, inet_ntop, inet_pton
from sys import byteorder
from typing import Final

from attrs import evolve, field, frozen

from backends.nftables import expressions as expr
from backends.nftables.statements import TABLE, Jumps, NewChain, Rule, Set
from reconciler import Damage, Desired, lines

CHAIN: Final = "prerouting"
_HOOK: Final = "type filter hook prerouting priority -300; policy accept;"  # -300 is `raw`
_SMALLEST: Final = 1 << 16
"""The least declared size of a hash set: a set without one can be listed with elements missing."""

SHARDS: Final = 16
_WHOLE: Final = 1 << 17
"""The most single addresses of a family that are put into one hash."""

_SAMPLE: Final = 1 << 16
_EVEN: Final = 2 / SHARDS
"""The share of the addresses up to which the greatest shard is as good as even."""


_WIDTH: Final = {4: 4, 6: 16}
_LOW: Final = bytes(byte % SHARDS for byte in range(256))


@frozen
class _Source:
    """The source address of a family: how nft calls it, and the expressions that load it."""

    text: str
    load: bytes


_SOURCE: Final = {
    4: _Source(
        "ip saddr",  # RFC 791 §3.1
        expr.family(expr.IPV4) + expr.payload(expr.NETWORK, 12, 4),
    ),
    6: _Source(
        "ip6 saddr",  # RFC 8200 §3
        expr.family(expr.IPV6) + expr.payload(expr.NETWORK, 8, 16),
    ),
}
_HEAD: Final = (
    Rule(
        'iif "lo" accept',
        expr.meta(expr.INPUT_INTERFACE)
        + expr.compare((1).to_bytes(4, byteorder))  # the first interface of every namespace
        + expr.decide(expr.ACCEPT),
    ),
    Rule(
        "icmpv6 type 135-136 ip6 hoplimit 255 accept",  # neighbour discovery, RFC 4861 §7.1
        expr.family(expr.IPV6)
        + expr.meta(expr.PROTOCOL)
        + expr.compare(bytes([IPPROTO_ICMPV6]))
        + expr.payload(expr.TRANSPORT, 0, 1)
        + expr.compare(bytes([135]), expr.AT_LEAST)
        + expr.compare(bytes([136]), expr.AT_MOST)
        + expr.payload(expr.NETWORK, 7, 1)
        + expr.compare(bytes([255]))
        + expr.decide(expr.ACCEPT),
    ),
)

Listing = Mapping[str, Sequence[str]]
"""The table's objects (``set banned4``, ``chain prerouting``) and their lines; "" is the table."""


@frozen
class Shape:
    """How the hosts are laid out: for each family, in one hash (None) or spread over several.

    Those are told apart by the last four bits of the byte that ``spread`` names. ``sizes`` are the
    declared sizes of the hashes, by name.
    """

    spread: Mapping[int, int | None]
    sizes: Mapping[str, int] = field(factory=dict)

    @property
    def sets(self) -> list[Set]:
        """All sets of the table."""
        return [
            *(each for version in (4, 6) for each in self.hosts(version)),
            *(Set(f"banned{version}_nets", version, interval=True) for version in (4, 6)),
            *(Set(f"passed{version}", version, interval=True) for version in (4, 6)),
        ]

    def hosts(self, version: int) -> list[Set]:
        """Return the hashes of a family."""
        name, byte = f"banned{version}", self.spread[version]
        if byte is None:
            return [Set(name, version, interval=False)]
        return [
            Set(f"{name}_{shard}", version, interval=False, shard=shard, byte=byte)
            for shard in range(SHARDS)
        ]

    @property
    def chains(self) -> list[NewChain]:
        """All chains of the table; the one with the hook, which jumps to the others, is last."""
        hashes = [self.hosts(version) for version in (4, 6)]
        branches = [
            NewChain(_branch(each), [_drop(each)])
            for each in (*hashes[0], *hashes[1])
            if each.shard is not None
        ]
        *_, nets4, nets6, passed4, passed6 = self.sets
        rules = [
            *_HEAD,
            _pass(passed4),
            _pass(passed6),
            *(_drop(each[0]) if len(each) == 1 else _spread(each) for each in hashes),
            _drop(nets4),
            _drop(nets6),
        ]
        return [*branches, NewChain(CHAIN, rules, _HOOK)]


def spread(addresses: bytes, sets: Sequence[Set]) -> list[bytes]:
    """Return the addresses of each of a family's hashes."""
    if len(sets) == 1:
        return [addresses]
    width, byte = sets[0].width, sets[0].byte
    parts = [bytearray() for _ in sets]
    for at in range(0, len(addresses), width):
        parts[addresses[at + byte] % SHARDS] += addresses[at : at + width]
    return [bytes(part) for part in parts]


def parse(ruleset: str) -> Listing | None:
    """Find the table in what ``nft -s -t -y list ruleset`` prints; None if it is missing."""
    # A comment may hold line breaks, and so imitate anything.
    ruleset = re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace("\n", " "), ruleset)
    block = re.search(rf"^table {TABLE} {{( # .*)?\n((?:.*\n)*?)}}$", ruleset, re.MULTILINE)
    if block is None:
        return None
    listing: dict[str, list[str]] = {"": [block[1].strip()] if block[1] else []}
    current = ""
    for line in block[2].splitlines():
        if not line.startswith("\t\t"):
            opened = re.fullmatch(r"\t(\S+ \S+) {", line)
            current = opened[1] if opened else ""
            if opened:
                listing[current] = []
        if line.strip() not in {"", "}"} and not line.endswith(f"{current} {{"):
            listing[current].append(line.strip())
    return listing


def shape_of(listing: Listing | None) -> Shape:
    """Return how the hosts are laid out in the table that is listed."""
    found = listing or {}
    sizes = {}
    for subject, said in found.items():
        for line in said:
            if subject.startswith("set ") and (match := re.fullmatch(r"size ([0-9]+)", line)):
                sizes[subject.removeprefix("set ")] = int(match[1])
    several = {each: f"set banned{each}_0" in found for each in (4, 6)}
    rules = found.get(f"chain {CHAIN}", ())
    return Shape({each: _byte(each, rules) if several[each] else None for each in (4, 6)}, sizes)


def shape_for(state: Desired) -> Shape:
    """Choose how to lay out the hosts, with room for twice as many."""
    held = {version: state.banned.hosts(version) for version in (4, 6)}
    shape = Shape({version: _chosen(held[version], _WIDTH[version]) for version in (4, 6)})
    parts = {
        each.name: len(part) // each.width
        for version, addresses in held.items()
        for hashes in [shape.hosts(version)]
        for each, part in zip(hashes, spread(addresses, hashes), strict=True)
    }
    sizes = {name: max(_SMALLEST, 1 << (2 * n - 1).bit_length()) for name, n in parts.items()}
    return evolve(shape, sizes=sizes)


def _chosen(addresses: bytes, width: int) -> int | None:
    """Return the last byte whose last four bits are spread evenly, or most evenly; None for few.

    The last bits of IPv6 addresses are often all the same.
    """
    if len(addresses) // width <= _WHOLE:
        return None
    step = max(1, len(addresses) // width // _SAMPLE)
    shares = {}
    for byte in reversed(range(width)):
        some = addresses[byte :: width * step].translate(_LOW)
        shares[byte] = max(Counter(some).values()) / len(some)
        if shares[byte] <= _EVEN:
            return byte
    return min(shares, key=lambda byte: shares[byte])


def _byte(version: int, rules: Sequence[str]) -> int:
    """Return by which byte the rules spread a family; the last one if they do not tell."""
    pattern = re.compile(rf"{_SOURCE[version].text} & (\S+) vmap .*")
    family = AF_INET if version == 4 else AF_INET6
    masks = (inet_pton(family, match[1]) for rule in rules if (match := pattern.fullmatch(rule)))
    return next(
        (mask.find(SHARDS - 1) for mask in masks if SHARDS - 1 in mask), _WIDTH[version] - 1
    )


def damage(listing: Listing | None) -> Iterator[Damage]:
    """Yield every way in which the table is not as it is to be."""
    if listing is None:
        yield Damage(f"table {TABLE}", "is missing")
        return
    expected = _expected(shape_of(listing))
    for line in listing[""]:
        yield Damage(f"table {TABLE}", f"has {line!r}")
    for subject in listing.keys() - expected.keys() - {""}:
        yield Damage(subject, "does not belong here")
    for subject, wanted in expected.items():
        if subject not in listing:
            yield Damage(subject, "is missing")
        elif listing[subject] != wanted:
            yield Damage(subject, _difference(wanted, listing[subject]))


def _expected(shape: Shape) -> dict[str, list[str]]:
    """Return the right table; a hash set may have any power of two from the least size up."""
    expected = {}
    for each in shape.sets:
        size = shape.sizes.get(each.name, 0)
        fits = size >= _SMALLEST and size.bit_count() == 1
        expected[f"set {each.name}"] = each.lines(size if fits else _SMALLEST)
    for chain in shape.chains:
        hook = [chain.hook] if chain.hook else []
        expected[f"chain {chain.name}"] = [*hook, *(rule.text for rule in chain.rules)]
    return expected


def _difference(expected: Sequence[str], found: Sequence[str]) -> str:
    said = [f"lacks {line!r}" for line in expected if line not in found]
    said += [f"has {line!r}" for line in found if line not in expected]
    return (
        ", ".join(lines.shortened(said, rest="and {} more differences"))
        or "has its lines twice or in another order"
    )


def _drop(each: Set) -> Rule:
    decision = expr.counter() + expr.decide(expr.DROP)
    return _matching(each, "counter drop", decision)


def _pass(each: Set) -> Rule:
    return _matching(each, "accept", expr.decide(expr.ACCEPT))


def _matching(each: Set, verdict: str, decision: bytes) -> Rule:
    source = _SOURCE[each.version]
    return Rule(
        f"{source.text} @{each.name} {verdict}", source.load + expr.lookup(each.name) + decision
    )


def _spread(hosts: Sequence[Set]) -> Rule:
    """Return the rule that goes on with the chain of the shard."""
    version = hosts[0].version
    source = _SOURCE[version]
    chains = {_at(each.byte, each.shard or 0, each.width): _branch(each) for each in hosts}
    bits = _at(hosts[0].byte, SHARDS - 1, hosts[0].width)
    jumps = ", ".join(f"{_written(value)} : jump {chain}" for value, chain in chains.items())
    identity = 0xF0 | version
    return Rule(
        f"{source.text} & {_written(bits)} vmap {{ {jumps} }}",
        source.load + expr.mask(bits) + expr.lookup("__map%d", identity, verdict=True),
        Jumps(version, identity, chains),
    )


def _at(byte: int, value: int, width: int) -> bytes:
    return value.to_bytes(byte + 1) + bytes(width - byte - 1)


def _branch(each: Set) -> str:
    return each.name.replace("banned", "drop")


def _written(address: bytes) -> str:
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)
