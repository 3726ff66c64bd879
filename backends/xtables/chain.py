"""What the chain holds, as iptables-save(8) writes it, and how it is read, compared and changed."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from attrs import frozen

from reconciler import BackendUnreadable, Desired, InvalidNetwork, Network

CHAIN: Final = "TREASON"
REMOVALS: Final = 10
"""Rules deleted one by one; each costs a walk through the chain, so for more it is replaced."""

_TELLING: Final = 3
"""Differences told of one object; the repair is the same for more."""

_LOOPBACK: Final = "-i lo -j RETURN"
_HEAD: Final = {
    4: (_LOOPBACK,),
    6: (  # neighbour discovery, RFC 4861 §7.1
        _LOOPBACK,
        "-p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j RETURN",
        "-p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j RETURN",
    ),
}
_EVERYTHING: Final = {4: Network.of(4, 0, 0), 6: Network.of(6, 0, 0)}
_RULE: Final = re.compile(r"(?:-s (\S+) )?-j (RETURN|DROP)")
_LINE: Final = re.compile(r"(?:\[[0-9]+:[0-9]+\] )?-A (\S+) ?(.*)", re.DOTALL)
_QUOTED: Final = re.compile(r' "(?:[^"\\]|\\.)*"', re.DOTALL)
_INCOMPATIBLE: Final = re.compile(r"# Table `(\S+)' is incompatible")

Listing = Mapping[str, Mapping[str, Sequence[str]]]
"""The tables of a family, their chains, and the rules of those without ``-A CHAIN``."""


@frozen
class Fixed:
    """Rules of a family that stand beside those for networks: what sets pass, and what they drop.

    They are written exactly as iptables-save prints them.
    """

    passing: tuple[str, ...] = ()
    dropping: tuple[str, ...] = ()


NO_SETS: Final = Fixed()


@frozen
class Content:
    """What one chain holds; ``problem`` is empty when the chain is as such a chain is to be."""

    banned: AbstractSet[Network]
    passed: AbstractSet[Network]
    problem: str


def parse(saved: str, tables: Iterable[str] = ()) -> Listing:
    """Read what ``iptables-save`` prints; raise `BackendUnreadable` if one of ``tables`` is hidden.

    A comment may hold line breaks, and so imitate anything: inside a rule they become spaces.
    """
    wanted = frozenset(tables)
    listing: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    if '"' in saved:
        saved = _QUOTED.sub(lambda quoted: quoted[0].replace("\n", " "), saved)
    for line in saved.split("\n"):
        match line[:1]:
            case "-" | "[":
                if rule := _LINE.fullmatch(line):
                    current.setdefault(rule[1], []).append(rule[2])
            case ":":
                current.setdefault(line[1:].partition(" ")[0], [])
            case "*":
                current = listing.setdefault(line[1:].strip(), {})
            case "#":
                hidden = _INCOMPATIBLE.match(line)
                if hidden and hidden[1] in wanted:
                    raise BackendUnreadable(
                        f"iptables: the table {hidden[1]} holds what iptables cannot show",
                        "see it with: nft list ruleset",
                    )
    return listing


def bare(rule: str) -> str:
    """Give the rule without quoted text, which may hold anything."""
    return _QUOTED.sub("", rule) if '"' in rule else rule


def networks(state: Desired, version: int) -> Desired:
    """Give the networks of one family."""
    return Desired(
        frozenset(network for network in state.banned if network.version == version),
        frozenset(network for network in state.passed if network.version == version),
    )


def read(rules: Sequence[str], version: int, fixed: Fixed = NO_SETS) -> Content:
    """Read the rules of a chain ``TREASON``."""
    head = _HEAD[version]
    places = {rule: rank for rank, rule in enumerate((*head, *fixed.passing))}
    places |= {rule: len(places) + 1 + rank for rank, rule in enumerate(fixed.dropping)}
    passing = len(head) + len(fixed.passing)
    ranks = {"RETURN": passing, "DROP": len(places) + 1}
    held: dict[str, list[Network]] = {"RETURN": [], "DROP": []}
    order: list[int] = []
    strange: list[str] = []
    for rule in rules:
        rank = places.get(rule)
        if rank is None:
            network, target = _network(rule, version)
            if network is None:
                strange.append(rule)
                continue
            held[target].append(network)
            rank = ranks[target]
        order.append(rank)
    passed, banned = frozenset(held["RETURN"]), frozenset(held["DROP"])
    present = frozenset(rules)
    said = [f"lacks {rule!r}" for rule in places if rule not in present]
    said += [f"has {rule!r}" for rule in strange]
    if not said and (len(present) != len(rules) or order != sorted(order)):
        said = ["has its rules twice or in another order"]
    return Content(banned, passed, told(said))


def told(said: Sequence[str]) -> str:
    """Join the first differences."""
    if len(said) > _TELLING:
        said = [*said[:_TELLING], f"and {len(said) - _TELLING} more differences"]
    return ", ".join(said)


def body(wanted: Desired, version: int, fixed: Fixed = NO_SETS) -> Iterator[str]:
    """Yield all rules of the chain, in order; ``wanted`` is of this family."""
    yield from _HEAD[version]
    yield from fixed.passing
    yield from map(_written("RETURN"), sorted(wanted.passed))
    yield from fixed.dropping
    yield from map(_written("DROP"), sorted(wanted.banned))


def changes(
    rules: Sequence[str] | None, wanted: Desired, version: int, fixed: Fixed = NO_SETS
) -> list[str]:
    """Give the lines for iptables-restore that make the chain hold what is wanted; none if it does.

    A few bans are added and removed one by one. For everything else, and where the chain is
    missing (None), it is replaced. Either way it is one commit, without a gap.
    """
    if rules is not None:
        held = read(rules, version, fixed)
        added, removed = wanted.banned - held.banned, held.banned - wanted.banned
        if not held.problem and held.passed == wanted.passed and len(removed) <= REMOVALS:
            ban = _written("DROP")
            lines = [f"-A {CHAIN} {ban(network)}" for network in sorted(added)]
            return lines + [f"-D {CHAIN} {ban(network)}" for network in sorted(removed)]
    return [
        f":{CHAIN} - [0:0]",
        *(f"-A {CHAIN} {rule}" for rule in body(wanted, version, fixed)),
    ]


def restore(tables: Mapping[str, Sequence[str]]) -> str:
    """Give the text for ``iptables-restore --noflush``; tables without lines are left out."""
    return "".join(
        "\n".join([f"*{table}", *lines, "COMMIT\n"])
        for table, lines in sorted(tables.items())
        if lines
    )


def _network(rule: str, version: int) -> tuple[Network | None, str]:
    """Read a rule that names a network alone, and its target."""
    match = _RULE.fullmatch(rule)
    if match is None:
        return None, ""
    text, target = match.groups()
    if text is None:
        return _EVERYTHING[version], target
    try:
        network = Network.exact(text)
    except InvalidNetwork:
        return None, ""
    return (network if network.version == version and network.length else None), target


def _written(target: str) -> Callable[[Network], str]:
    """Give what writes the rule for a network as iptables-save does."""

    def write(network: Network) -> str:
        if not network.length:
            return f"-j {target}"
        return f"-s {network}{f'/{network.length}' if network.is_host else ''} -j {target}"

    return write
