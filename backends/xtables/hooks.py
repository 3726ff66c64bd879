"""Where packets enter the chain: one jump, ahead of all other rules, in each hooked chain."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from backends.xtables.chain import CHAIN, NOTE, Content, Listing, bare, summarise
from reconciler import Damage

JUMP: Final = f"-j {CHAIN}"
BUILT_IN: Final[Mapping[str, set[str]]] = {  # iptables(8)
    "filter": {"INPUT", "FORWARD", "OUTPUT"},
    "mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
    "raw": {"PREROUTING", "OUTPUT"},
    "security": {"INPUT", "FORWARD", "OUTPUT"},
}
TABLES: Final = tuple(BUILT_IN)
"""The tables that may be hooked."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,27}")  # XT_EXTENSION_MAXNAMELEN is 29
_JUMPS: Final = re.compile(rf"(?:^|.* )-[jg] {CHAIN}(?: .*)?")


@frozen(order=True)
class Hook:
    """A chain that is to begin with the jump."""

    table: str
    chain: str

    @classmethod
    def parse(cls, text: str) -> "Hook":
        """Read ``INPUT`` or ``raw/PREROUTING``; raise ValueError."""
        first, slash, last = text.partition("/")
        table, chain = (first, last) if slash else ("filter", first)
        if table not in BUILT_IN:
            raise ValueError(f"{text!r}: the table is none of {', '.join(sorted(BUILT_IN))}")
        if _NAME.fullmatch(chain) is None:
            raise ValueError(f"{text!r} names no chain: 1 to 28 letters, digits, '_', '.' and '-'")
        if chain == CHAIN:
            raise ValueError(f"{text!r} cannot be hooked into itself")
        if chain not in BUILT_IN[table] and chain.upper() in BUILT_IN[table]:
            raise ValueError(f"{text!r}: the chain is {chain.upper()}")
        if chain in set().union(*BUILT_IN.values()) - BUILT_IN[table]:
            raise ValueError(f"{text!r}: the table {table} has no chain {chain}")
        return cls(table, chain)

    def __str__(self) -> str:
        return self.chain if self.table == "filter" else f"{self.table}/{self.chain}"

    def exists(self, listing: Listing) -> bool:
        """Whether there is such a chain; one that is built in comes with the first rule."""
        return self.chain in BUILT_IN[self.table] or self.chain in listing.get(self.table, {})


@frozen
class Repair:
    """What is to be done about one table's structure.

    ``deletes`` are chains and their jumps as they are written, ``inserts`` the chains that get
    the right one. A chain named in both loses all its jumps first.
    """

    table: str
    creates: bool = False
    deletes: tuple[tuple[str, str], ...] = ()
    inserts: tuple[str, ...] = ()
    removes: bool = False

    def __bool__(self) -> bool:
        return bool(self.creates or self.deletes or self.inserts or self.removes)

    def lines(self) -> list[str]:
        """Return it as iptables-restore reads it, the new chain apart.

        Jumps are named by what they say: a number could hit somebody else's rule by now.
        """
        lines = [f"-D {chain} {rule}" for chain, rule in self.deletes]
        lines += [f"-I {chain} 1 {JUMP}" for chain in self.inserts]
        return lines + ([f"-F {CHAIN}", f"-X {CHAIN}"] if self.removes else [])


def chain_hooks(texts: Iterable[str]) -> tuple[Hook, ...]:
    """Read the setting ``hooks``; raise ValueError."""
    hooks = tuple(map(Hook.parse, texts))
    if not hooks:
        raise ValueError("names no chain, so nothing would be dropped")
    for hook in hooks:
        if hooks.count(hook) > 1:
            raise ValueError(f"names {str(hook)!r} twice")
    return hooks


def absent(listings: Iterable[Listing], hooks: Iterable[Hook]) -> list[Hook]:
    """Return the hooks that exist in no family; one that exists in one is for that one alone."""
    known = list(listings)
    return [hook for hook in hooks if not any(map(hook.exists, known))]


def damage(
    listing: Listing, version: int, hooks: Sequence[Hook], contents: Mapping[str, Content]
) -> Iterator[Damage]:
    """Yield every way in which a family's chains and jumps are not as they are to be.

    ``contents`` is what the chain holds in each table that has a hook and the chain.
    """
    tables = {hook.table for hook in hooks}
    yield from _contents(listing, version, sorted(tables), contents)
    for table in sorted(listing.keys() | tables):
        place = f"(IPv{version} {table})"
        if table not in tables and CHAIN in listing[table]:
            yield Damage(f"chain {CHAIN} {place}", "does not belong here")
        right = {hook.chain for hook in hooks if hook.table == table and hook.exists(listing)}
        found = jumps(listing, table)
        for chain in sorted(right | found.keys()):
            rules = found.get(chain, [])
            if said := _flaws(listing.get(table, {}).get(chain, ()), rules, chain in right):
                yield Damage(f"chain {chain} {place}", summarise(said))


def repairs(listing: Listing, hooks: Iterable[Hook]) -> list[Repair]:
    """Return what makes the structure right; without hooks, what removes all of it."""
    wanted: dict[str, list[str]] = {}
    for hook in hooks:
        chains = wanted.setdefault(hook.table, [])
        if hook.exists(listing):
            chains.append(hook.chain)
    found = {table for table, held in listing.items() if CHAIN in held}
    made = (_repair(listing, table, wanted.get(table)) for table in sorted(found | wanted.keys()))
    return [repair for repair in made if repair]


def jumps(listing: Listing, table: str) -> dict[str, list[str]]:
    """Return the rules of other chains that lead into ours."""
    found = {}
    for chain, rules in listing.get(table, {}).items():
        if chain == CHAIN:
            continue
        leading = [rule for rule in rules if CHAIN in rule and _JUMPS.fullmatch(bare(rule))]
        if leading:
            found[chain] = leading
    return found


def without(saved: str) -> str:
    """Return what iptables-save printed without our chain, its notes, and the jumps into it."""

    def ours(line: str) -> bool:
        rule = line.startswith(("-A ", "["))
        return line.startswith((f":{CHAIN} ", f"-A {CHAIN} ")) or bool(
            rule and CHAIN in line and _JUMPS.fullmatch(bare(line))
        )

    return "\n".join(line for line in unnoted(saved).split("\n") if not ours(line))


def unnoted(saved: str) -> str:
    """Return what iptables-save printed without the notes of whose our chain is.

    They are of the running kernel: a saved one would outlive the database that it names.
    """

    def note(line: str) -> bool:
        return line.startswith(":") and NOTE.fullmatch(line[1:].partition(" ")[0]) is not None

    return "\n".join(line for line in saved.split("\n") if not note(line))


def enforced(listing: Listing) -> Mapping[str, object]:
    """Return all that belongs to the chain in every table, to be compared."""
    parts = {}
    for table, chains in listing.items():
        found = {
            chain: [(rule, rule == chains[chain][0]) for rule in rules]
            for chain, rules in jumps(listing, table).items()
        }
        if found or CHAIN in chains:
            parts[table] = (chains.get(CHAIN), found)
    return parts


def _contents(
    listing: Listing, version: int, tables: Sequence[str], contents: Mapping[str, Content]
) -> Iterator[Damage]:
    """Look at the chain in each hooked table; all are to hold the same."""
    chains = [listing[table][CHAIN] for table in contents]
    everywhere = frozenset[str]().union(*chains if len(chains) > 1 else ())
    for table in tables:
        subject = f"chain {CHAIN} (IPv{version} {table})"
        if table not in contents:
            yield Damage(subject, "is missing")
        elif problem := contents[table].problem:
            yield Damage(subject, problem)
        elif missing := everywhere.difference(listing[table][CHAIN]):
            yield Damage(subject, summarise([f"lacks {rule!r}" for rule in sorted(missing)]))


def _flaws(rules: Sequence[str], found: Sequence[str], hooked: bool) -> list[str]:
    """Return what is wrong with the jumps of a chain."""
    if not hooked:
        return [f"has {rule!r}, which does not belong here" for rule in found]
    said = [f"has {rule!r}" for rule in found if rule != JUMP]
    count = found.count(JUMP)
    if count == 0:
        said.append(f"lacks {JUMP!r}")
    elif rules[0] != JUMP:
        said.append(f"does not begin with {JUMP!r}")
    if count > 1:
        said.append(f"has {JUMP!r} {count:,} times")
    return said


def _repair(listing: Listing, table: str, hooked: Sequence[str] | None) -> Repair:
    """Compare the jumps of a table; None: it is to have neither jumps nor the chain."""
    chains = listing.get(table, {})
    found = jumps(listing, table)
    wrong = {
        chain: rules
        for chain, rules in found.items()
        if _flaws(chains[chain], rules, chain in (hooked or ()))
    }
    return Repair(
        table,
        creates=hooked is not None and CHAIN not in chains,
        deletes=tuple((chain, rule) for chain, rules in wrong.items() for rule in rules),
        inserts=tuple(chain for chain in hooked or () if chain in wrong or chain not in found),
        removes=hooked is None and CHAIN in chains,
    )
