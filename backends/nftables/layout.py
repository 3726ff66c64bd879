"""What the table looks like: its sets and chains, and how the hosts are laid out in them.

Single addresses stand in hash sets, networks in interval sets. Many single addresses are spread
over several hashes by four of their bits: the time in which the kernel lists a hash grows with the
square of what it holds.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from socket import AF_INET, AF_INET6, IPPROTO_ICMPV6, inet_ntop
from sys import byteorder
from typing import Final

from attrs import evolve, field, frozen

from backends.nftables import expressions as expr
from backends.nftables.statements import Jumps, NewChain, Rule, Set
from backends.nftables.structure import FoundRule, Structure
from reconciler import Desired

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
HEAD: Final = (
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

    def lines(self, each: Set) -> list[str]:
        """Return how a set is to be declared; a hash may have any power of two from the least."""
        size = self.sizes.get(each.name, 0)
        fits = size >= _SMALLEST and size.bit_count() == 1
        return each.lines(size if fits else _SMALLEST)

    @property
    def chains(self) -> list[NewChain]:
        """All chains of the table; the one with the hook, which jumps to the others, is last."""
        hashes = [self.hosts(version) for version in (4, 6)]
        branches = [
            NewChain(branch_of(each), [rule_of(each)])
            for each in (*hashes[0], *hashes[1])
            if each.shard is not None
        ]
        *_, nets4, nets6, passed4, passed6 = self.sets
        rules = [
            *HEAD,
            rule_of(passed4),
            rule_of(passed6),
            *(rule_of(each[0]) if len(each) == 1 else jump_of(each) for each in hashes),
            rule_of(nets4),
            rule_of(nets6),
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


def shape_of(found: Structure | None) -> Shape:
    """Return how the hosts are laid out in the table that was found."""
    if found is None:
        return Shape(dict.fromkeys(_WIDTH, None))
    sizes = {name: each.size for name, each in found.sets.items() if each.size}
    rules = found.chains[CHAIN].rules if CHAIN in found.chains else ()
    several = {version: f"banned{version}_0" in found.sets for version in _WIDTH}
    return Shape({each: _byte(each, rules) if several[each] else None for each in _WIDTH}, sizes)


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


def grown(shape: Shape, state: Desired, versions: Collection[int]) -> Shape:
    """Return a shape whose hashes of these families are chosen anew for the state."""
    whole = shape_for(state)
    made = Shape({each: (whole if each in versions else shape).spread[each] for each in _WIDTH})
    sizes = {
        each.name: (whole if version in versions else shape).sizes.get(each.name, 0)
        for version in _WIDTH
        for each in made.hosts(version)
    }
    return evolve(made, sizes=sizes)


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


def _byte(version: int, rules: Sequence[FoundRule]) -> int:
    """Return by which byte the rules spread a family; the last one if they do not tell."""
    width = _WIDTH[version]
    masks = (mask for rule in rules for each in rule.expressions if (mask := expr.mask_of(each)))
    found = (mask.find(SHARDS - 1) for mask in masks if len(mask) == width)
    return next((byte for byte in found if byte >= 0), width - 1)


def rule_of(each: Set) -> Rule:
    """Return the rule that asks a set."""
    if each.banned:
        return _matching(each, "counter drop", expr.counter() + expr.decide(expr.DROP))
    return _matching(each, "accept", expr.decide(expr.ACCEPT))


def _matching(each: Set, verdict: str, decision: bytes) -> Rule:
    source = _SOURCE[each.version]
    return Rule(
        f"{source.text} @{each.name} {verdict}", source.load + expr.lookup(each.name) + decision
    )


def jump_of(hosts: Sequence[Set]) -> Rule:
    """Return the rule that goes on with the chain of the shard."""
    version = hosts[0].version
    source = _SOURCE[version]
    chains = {_at(each.byte, each.shard or 0, each.width): branch_of(each) for each in hosts}
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


def branch_of(each: Set) -> str:
    """Return the chain that asks a hash of several."""
    return each.name.replace("banned", "drop")


def _written(address: bytes) -> str:
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)
