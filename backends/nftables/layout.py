"""What the table looks like, as nft(8) writes it, and how it is compared, made and changed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from reconciler import Damage, Desired, Network, Plan

TABLE: Final = "inet treason"
CHAIN: Final = "prerouting"
_HOOK: Final = "type filter hook prerouting priority -300; policy accept;"  # -300 is `raw`
_SMALLEST: Final = 1 << 16
"""The least declared size of a hash set: a set without one can be listed with elements missing."""

_TELLING: Final = 3
"""Differences told of one object; the repair is the same for more."""

_RULES: Final = (
    'iif "lo" accept',
    "icmpv6 type { 135, 136 } ip6 hoplimit 255 accept",  # neighbour discovery, RFC 4861 §7.1
    "ip saddr @passed4 accept",
    "ip6 saddr @passed6 accept",
    "ip saddr @banned4 counter drop",
    "ip6 saddr @banned6 counter drop",
    "ip saddr @banned4_nets counter drop",
    "ip6 saddr @banned6_nets counter drop",
)


@frozen
class Set:
    """A set of addresses of one family: a hash of hosts, or an interval set of networks."""

    name: str
    version: int
    interval: bool

    @property
    def type(self) -> str:
        """The line that tells its type."""
        return f"type ipv{self.version}_addr"

    @property
    def banned(self) -> bool:
        """Whether its members are dropped; else they are passed."""
        return self.name.startswith("banned")

    def lines(self, size: int) -> list[str]:
        """Its definition; ``size`` counts for a hash only."""
        return [self.type, "flags interval" if self.interval else f"size {size}"]

    def takes(self, network: Network) -> bool:
        """Whether the network belongs into this set."""
        return network.version == self.version and (
            not self.banned or network.is_host is not self.interval
        )

    def members(self, networks: Iterable[Network]) -> Iterator[Network]:
        """Yield those of the networks that belong into this set."""
        return filter(self.takes, networks)


SETS: Final = (
    Set("banned4", 4, interval=False),
    Set("banned6", 6, interval=False),
    Set("banned4_nets", 4, interval=True),
    Set("banned6_nets", 6, interval=True),
    Set("passed4", 4, interval=True),
    Set("passed6", 6, interval=True),
)

Listing = Mapping[str, Sequence[str]]
"""The table's objects (``set banned4``, ``chain prerouting``) and their lines; "" is the table."""


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


def damage(listing: Listing | None) -> Iterator[Damage]:
    """Yield every way in which the table is not as it is to be."""
    if listing is None:
        yield Damage(f"table {TABLE}", "is missing")
        return
    expected = _expected(listing)
    for line in listing[""]:
        yield Damage(f"table {TABLE}", f"has {line!r}")
    for subject in listing.keys() - expected.keys() - {""}:
        yield Damage(subject, "does not belong here")
    for subject, lines in expected.items():
        if subject not in listing:
            yield Damage(subject, "is missing")
        elif listing[subject] != lines:
            yield Damage(subject, _difference(lines, listing[subject]))


def sizes(listing: Listing | None) -> dict[str, int]:
    """Give the declared sizes of the sets that are listed."""
    found = {}
    for each in SETS:
        for line in (listing or {}).get(f"set {each.name}", ()):
            if match := re.fullmatch(r"size ([0-9]+)", line):
                found[each.name] = int(match[1])
    return found


def script(plan: Plan, declared: Mapping[str, int]) -> str:
    """Give the one transaction that carries out the plan; ``declared`` are the sets' sizes now.

    The chain alone is replaced while sets and elements stay. Anything worse, and a hash set that
    would be more than half full, makes the table anew. Either way no packet sees a gap.
    """
    if any(repair.subject != f"chain {CHAIN}" for repair in plan.repairs) or any(
        _size(each, plan.desired) > declared.get(each.name, 0) for each in SETS if not each.interval
    ):
        lines = [f"add table {TABLE}", f"delete table {TABLE}", *_table(plan.desired)]
    else:
        lines = [*(_chain() if plan.repairs else ())]
        for each in SETS:
            change = plan.banned if each.banned else plan.passed
            lines += _elements("delete", each, change.remove)
            lines += _elements("add", each, change.add)
    return "".join(f"{line}\n" for line in lines)


def _expected(listing: Listing) -> dict[str, list[str]]:
    """Give the right table; a hash set may have any power of two from the least size up."""
    found = sizes(listing)
    expected = {}
    for each in SETS:
        size = found.get(each.name, 0)
        fits = size >= _SMALLEST and size.bit_count() == 1
        expected[f"set {each.name}"] = each.lines(size if fits else _SMALLEST)
    expected[f"chain {CHAIN}"] = [_HOOK, *_RULES]
    return expected


def _difference(expected: Sequence[str], found: Sequence[str]) -> str:
    said = [f"lacks {line!r}" for line in expected if line not in found]
    said += [f"has {line!r}" for line in found if line not in expected]
    if len(said) > _TELLING:
        said[_TELLING:] = [f"and {len(said) - _TELLING} more differences"]
    return ", ".join(said) or "has its lines twice or in another order"


def _table(desired: Desired) -> Iterator[str]:
    yield f"add table {TABLE}"
    for each in SETS:
        lines = "; ".join(each.lines(_size(each, desired)))
        yield f"add set {TABLE} {each.name} {{ {lines}; }}"
    yield from _chain()
    for each in SETS:
        yield from _elements("add", each, desired.banned if each.banned else desired.passed)


def _chain() -> Iterator[str]:
    yield f"add chain {TABLE} {CHAIN}"  # so that there is one to delete
    yield f"delete chain {TABLE} {CHAIN}"
    yield f"add chain {TABLE} {CHAIN} {{ {_HOOK} }}"
    for rule in _RULES:
        yield f"add rule {TABLE} {CHAIN} {rule}"


def _elements(verb: str, into: Set, networks: Iterable[Network]) -> Iterator[str]:
    members = ", ".join(map(str, sorted(into.members(networks))))
    if members:
        yield f"{verb} element {TABLE} {into.name} {{ {members} }}"


def _size(each: Set, desired: Desired) -> int:
    """At least twice what a hash set is to hold, as a power of two."""
    count = sum(1 for _ in each.members(desired.banned))
    return max(_SMALLEST, 1 << (2 * count - 1).bit_length())
