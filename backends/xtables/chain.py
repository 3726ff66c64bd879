"""What the chain holds, as iptables-save(8) writes it, and how it is read, compared and changed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from reconciler import BackendUnreadable, Desired, Network, Networks, lines

CHAIN: Final = "TREASON"
_OWNER: Final = f"{CHAIN}-OF-"
NOTE: Final = re.compile(rf"{CHAIN}-OF-[0-9a-f]{{16}}")
"""The name of an empty chain that notes for which database ours was changed last."""

REMOVALS: Final = 10
"""Rules deleted one by one; each costs a walk through the chain, so for more it is replaced."""


_LOOPBACK: Final = "-i lo -j RETURN"
_HEAD: Final = {
    4: (_LOOPBACK,),
    6: (  # neighbour discovery, RFC 4861 §7.1
        _LOOPBACK,
        "-p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j RETURN",
        "-p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j RETURN",
    ),
}
_EVERYTHING: Final = {version: Networks.of([Network.of(version, 0, 0)]) for version in (4, 6)}
_SINGLE: Final = {4: "/32", 6: "/128"}
_RULE: Final = re.compile(r"(?:-s ([0-9a-f:]\S*) )?-j (RETURN|DROP)")
_COUNTERS: Final = re.compile(r"\[[0-9]+:[0-9]+\] (?=-A )")
_QUOTED: Final = re.compile(r' "(?:[^"\\]|\\.)*"', re.DOTALL)
_EXPRESSIONS: Final = 5
_TARGET: Final = re.compile(r"(?:.* )?-([jg]) (\S+)", re.DOTALL)
"""The last one: what stands before it may be a comment."""

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

    banned: Networks
    passed: Networks
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
                verb, _, rest = _COUNTERS.sub("", line, 1).partition(" ")
                if verb == "-A":
                    chain, _, rule = rest.partition(" ")
                    current.setdefault(chain, []).append(rule)
            case ":":
                current.setdefault(line[1:].partition(" ")[0], [])
            case "*":
                current = listing.setdefault(line[1:].strip(), {})
            case "#":
                hidden = _INCOMPATIBLE.match(line)
                if hidden and hidden[1] in wanted:
                    raise BackendUnreadable(
                        f"iptables: the table {hidden[1]} holds rules that iptables cannot show",
                        "look at them: nft list ruleset",
                    )
    return listing


def bare(rule: str) -> str:
    """Return the rule without quoted text, which may hold anything."""
    return _QUOTED.sub("", rule) if '"' in rule else rule


def with_hidden(rules: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Mark the rules for networks that are made of more expressions than iptables shows.

    A network is loaded, masked and compared, then counted and decided about; each condition that
    is left out (a set of nft, say) is loaded and compared as well.
    """
    if len(rules) != len(sizes):
        return [*rules]
    return [
        f"{rule} (with conditions that iptables does not show)"
        if size > _EXPRESSIONS and rule.startswith("-s ")
        else rule
        for rule, size in zip(rules, sizes, strict=True)
    ]


def leads_to(rule: str) -> tuple[str, bool]:
    """Return the target of a rule, which may be a chain, and whether it is gone to for good."""
    match = _TARGET.match(bare(rule))
    return (match[2], match[1] == "g") if match else ("", False)


def networks(state: Desired, version: int) -> Desired:
    """Return the networks of one family."""
    return Desired(state.banned.family(version), state.passed.family(version))


def read(rules: Sequence[str], version: int, fixed: Fixed = NO_SETS) -> Content:
    """Read the rules of a chain ``TREASON``."""
    head = _HEAD[version]
    places = {rule: rank for rank, rule in enumerate((*head, *fixed.passing))}
    places |= {rule: len(places) + 1 + rank for rank, rule in enumerate(fixed.dropping)}
    passing = len(head) + len(fixed.passing)
    ranks = {"RETURN": passing, "DROP": len(places) + 1}
    named: dict[str, dict[str, str]] = {"RETURN": {}, "DROP": {}}
    order: list[int] = []
    strange: list[str] = []
    for rule in rules:
        rank = places.get(rule)
        if rank is None:
            match = _RULE.fullmatch(rule)
            if match is None:
                strange.append(rule)
                continue
            source, target = match.groups("")
            named[target][source.removesuffix(_SINGLE[version])] = rule
            rank = ranks[target]
        order.append(rank)
    (passed, less), (banned, more) = (_networks(each, version) for each in named.values())
    if less or more:
        wrong = frozenset([*strange, *less, *more])
        strange = [rule for rule in rules if rule in wrong]
    present = frozenset(rules)
    said = [f"lacks {rule!r}" for rule in places if rule not in present]
    said += [f"has {rule!r}" for rule in strange]
    if not said and (len(present) != len(rules) or order != sorted(order)):
        said = ["has its rules twice or in another order"]
    return Content(banned, passed, summarise(said))


def network_of(rule: str, version: int) -> tuple[Network, str] | None:
    """Return the network and the verdict of a rule for one network; None of any other rule."""
    match = _RULE.fullmatch(rule)
    if match is None:
        return None
    held = lines.read([match[1]])[0] if match[1] else _EVERYTHING[version]
    return (held[0], match[2]) if held else None


def skips(rule: str, version: int) -> bool:
    """Whether a rule of the chain's head lets through what no ban may keep away."""
    return rule in _HEAD[version]


def is_foreign(rules: Sequence[str], version: int, fixed: Fixed = NO_SETS) -> bool:
    """Whether a chain of our name was never ours: no rule that ours begins with, and strange ones.

    What has a note is ours, whatever became of it.
    """
    ours = {*_HEAD[version], *fixed.passing, *fixed.dropping}
    begun = asks_sets(rules) or any(rule in ours for rule in rules)
    return not begun and not all(map(_RULE.fullmatch, rules))


def asks_sets(rules: Iterable[str]) -> bool:
    """Whether a rule of the chain refers to sets of the backend ipset."""
    return any("--match-set treason" in rule for rule in rules)


def contents(
    listing: Listing, version: int, tables: Iterable[str], fixed: Fixed = NO_SETS
) -> dict[str, Content]:
    """Read the chain in each of the tables that has it."""
    chains = {table: listing.get(table, {}).get(CHAIN) for table in tables}
    return {
        table: read(rules, version, fixed) for table, rules in chains.items() if rules is not None
    }


def summarise(differences: Sequence[str]) -> str:
    """Return the first differences, joined."""
    return ", ".join(lines.shortened(differences, rest="and {} more differences"))


def owners(listings: Iterable[Listing]) -> list[str]:
    """Return the identities of the databases for which the chain is noted to be, sorted."""
    noted = (notes(chains) for listing in listings for chains in listing.values())
    return sorted({name.removeprefix(_OWNER) for names in noted for name in names})


def notes(chains: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the chains of a table that are such notes: named so, empty, and led to by no rule."""
    named = [name for name, rules in chains.items() if not rules and NOTE.fullmatch(name)]
    return [
        name
        for name in named
        if not any(name in rule for rules in chains.values() for rule in rules)
    ]


def noting(listing: Listing, table: str, owner: str) -> dict[str, list[str]]:
    """Return the lines, by table, that note in one table whose the chain is, and nowhere else.

    Of `Plan.owner` the note holds the identity, which comes first. Without an owner none is left.
    """
    name = f"{_OWNER}{owner.partition(' ')[0]}"
    if owner and not NOTE.fullmatch(name):
        return {}
    lines = {}
    for each in {*listing, table}:
        present = notes(listing.get(each, {}))
        wanted = [name] if owner and each == table else []
        made = [f":{new} - [0:0]" for new in wanted if new not in listing.get(each, {})]
        lines[each] = made + [f"-X {old}" for old in present if old not in wanted]
    return lines


def body(wanted: Desired, version: int, fixed: Fixed = NO_SETS) -> Iterator[str]:
    """Yield all rules of the chain, in order; ``wanted`` is of this family."""
    yield from _HEAD[version]
    yield from fixed.passing
    yield from _written(wanted.passed, "RETURN")
    yield from fixed.dropping
    yield from _written(wanted.banned, "DROP")


def count(wanted: Desired, version: int, fixed: Fixed = NO_SETS) -> int:
    """Return the number of those rules."""
    constant = (*_HEAD[version], *fixed.passing, *fixed.dropping)
    return len(constant) + len(wanted.passed) + len(wanted.banned)


def changes(
    rules: Sequence[str] | None, wanted: Desired, version: int, fixed: Fixed = NO_SETS
) -> list[str]:
    """Return the lines for iptables-restore that make the chain hold what is wanted.

    A few bans are added and removed one by one. For everything else, and where the chain is
    missing (None), it is replaced. Either way it is one commit, without a gap.
    """
    if rules is not None:
        held = read(rules, version, fixed)
        added, removed = wanted.banned - held.banned, held.banned - wanted.banned
        if not held.problem and held.passed == wanted.passed and len(removed) <= REMOVALS:
            more = [f"-A {CHAIN} {rule}" for rule in _written(added, "DROP")]
            return more + [f"-D {CHAIN} {rule}" for rule in _written(removed, "DROP")]
    return [
        f":{CHAIN} - [0:0]",
        *(f"-A {CHAIN} {rule}" for rule in body(wanted, version, fixed)),
    ]


def restore(tables: Mapping[str, Sequence[str]]) -> str:
    """Return the text for ``iptables-restore --noflush``; tables without lines are left out."""
    return "".join(
        "\n".join([f"*{table}", *changed, "COMMIT\n"])
        for table, changed in sorted(tables.items())
        if changed
    )


def _networks(named: Mapping[str, str], version: int) -> tuple[Networks, list[str]]:
    """Read the sources of rules; give the rules beside them whose source is no such network.

    A rule for everything names none, and never the network of length 0.
    """
    found, odd = lines.read(source for source in named if source)
    right = found.family(version) - _EVERYTHING[version]
    wrong: list[str] = []
    if odd or len(right) < len(found):
        judged = ((rule, lines.read([source])[0]) for source, rule in named.items() if source)
        wrong = [rule for rule, network in judged if not network or not network <= right]
    return (right | _EVERYTHING[version] if "" in named else right), wrong


def _written(networks: Networks, target: str) -> list[str]:
    """Return the rules for networks of a family, as iptables-save writes them."""
    everything = [f"-j {target}"] if networks and not networks[0].length else []
    named = networks[1:] if everything else networks
    rules = lines.written(named, "-s ", f" -j {target}\n", full=True)
    return everything + "".join(rules).splitlines()
