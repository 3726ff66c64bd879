"""Every way in which the table, as it was found, is not as it is to be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from backends.nftables import foreign
from backends.nftables.layout import shape_of
from backends.nftables.statements import TABLE, NewChain
from backends.nftables.structure import FoundChain, FoundRule, Structure
from reconciler import Damage, lines

STRANGE: Final = "does not belong here"
"""The problem of a set, a chain or another object that is none of ours."""

Texts = Callable[[str], Mapping[int, str]]
"""How rules of a chain are told by their handles."""


def damage(found: Structure | None, told: Texts = foreign.rules) -> Iterator[Damage]:
    """Yield every difference from the table that is laid out as the one that was found.

    ``told`` tells the rules that are not ours.
    """
    if found is None:
        yield Damage(f"table {TABLE}", "is missing")
        return
    for line in found.lines:
        yield Damage(f"table {TABLE}", f"has {line!r}")
    shape = shape_of(found)
    sets = {each.name: each for each in shape.sets}
    chains = {chain.name: chain for chain in shape.chains}
    strange = [f"set {name}" for name in found.sets.keys() - sets.keys()]
    strange += [f"chain {name}" for name in found.chains.keys() - chains.keys()]
    for subject in (*sorted(strange), *found.others):
        yield Damage(subject, STRANGE)
    for name, each in sets.items():
        held = found.sets.get(name)
        if what := _difference(shape.lines(each), held.lines) if held else "is missing":
            yield Damage(f"set {name}", what)
    for name, chain in chains.items():
        if what := _chain(chain, found.chains.get(name), told):
            yield Damage(f"chain {name}", what)


def _chain(wanted: NewChain, found: FoundChain | None, told: Texts) -> str:
    if found is None:
        return "is missing"
    hook = [wanted.hook] if wanted.hook else []
    texts = [rule.text for rule in wanted.rules]
    known = [rule.decoded() for rule in wanted.rules]
    ours = {
        rule.handle: texts[known.index(rule.expressions)]
        for rule in found.rules
        if not rule.more and rule.expressions in known
    }
    strange = any(rule.handle not in ours for rule in found.rules)
    listed = told(wanted.name) if strange else {}
    said = {handle: text for handle, text in listed.items() if text not in texts} | ours
    held = [said.get(rule.handle) or _made_of(rule) for rule in found.rules]
    return _difference([*hook, *texts], [*found.lines, *held])


def _made_of(rule: FoundRule) -> str:
    """Return what a rule is, where nft cannot tell what it says."""
    names = ", ".join([*(each.name for each in rule.expressions), *rule.more])
    return f"rule {rule.handle} made of {names}" if names else f"rule {rule.handle}, empty"


def _difference(expected: Sequence[str], found: Sequence[str]) -> str:
    said = [f"lacks {line!r}" for line in expected if line not in found]
    said += [f"has {line!r}" for line in found if line not in expected]
    if not said and [*expected] != [*found]:
        said = ["has its lines twice or in another order"]
    return ", ".join(lines.shortened(said, rest="and {} more differences"))
