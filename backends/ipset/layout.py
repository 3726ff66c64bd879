"""What the sets look like, as ipset(8) lists them, and how they are compared, made and changed."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from attrs import frozen

from reconciler import Damage, Desired, Network, Networks, Plan, lines

_SMALLEST: Final = 1 << 16
"""The least `maxelem`, which is also what ipset takes when none is told."""

_SPARSE: Final = 8
"""Elements, at most, for each bucket. Sets that people make by hand have 1,024 buckets at first."""

_OWN_CHOICE: Final = re.compile(r"\b(hashsize|maxelem|bucketsize|initval) \S+ ?")
"""What a header may say in any way: sizes are judged apart, the others change no match."""

_ASIDE: Final = ("_new", "_new2", "_new3")
_NONE: Final = Networks()
_TELLING: Final = 3
"""Strange elements told of one set; the repair is the same for more."""


@frozen
class Set:
    """A set of one family, and what becomes of packets whose source it holds."""

    name: str
    kind: str
    version: int
    verdict: str

    @property
    def family(self) -> str:
        """The family as ipset calls it."""
        return "inet6" if self.version == 6 else "inet"

    @property
    def banned(self) -> bool:
        """Whether its members are dropped; else they are passed."""
        return self.verdict == "DROP"

    def rule(self, name: str) -> str:
        """Return the rule of the chain, as iptables-save prints it; ``name`` may be a stand-in."""
        return f"-m set --match-set {name} src -j {self.verdict}"

    def members(self, networks: Networks) -> Networks:
        """Return those of the networks that belong into this set.

        No set takes a network of length 0, which is a rule of the chain; hash:ip does not take
        the address 0 either.
        """
        family = networks.family(self.version)
        everything = Networks.of([Network.of(self.version, 0, 0)])
        if not self.banned:
            return family - everything
        zero = Networks.of([Network.of(self.version, 0, 128 if self.version == 6 else 32)])
        singles = family.singles(self.version) - zero
        return singles if self.kind == "hash:ip" else family - singles - everything

    def desired(self, state: Desired) -> Networks:
        """Return what the set is to hold."""
        return self.members(state.banned if self.banned else state.passed)


SETS: Final = tuple(
    Set(f"treason{version}{suffix}", kind, version, verdict)
    for version in (4, 6)
    for suffix, kind, verdict in (
        ("p", "hash:net", "RETURN"),
        ("", "hash:ip", "DROP"),
        ("n", "hash:net", "DROP"),
    )
)


def sets(versions: Iterable[int] = (4, 6)) -> list[Set]:
    """Return the sets of these families."""
    return [each for each in SETS if each.version in versions]


_NAMES: Final = {each.name for each in SETS}
_STAND_INS: Final = {name + suffix for name in _NAMES for suffix in _ASIDE}


@frozen
class Header:
    """What ``ipset list -terse`` tells of a set."""

    kind: str
    options: str
    references: int
    entries: int | None
    """How many elements it holds; an old kernel or ipset does not tell."""

    @property
    def maxelem(self) -> int:
        """How many elements it may hold."""
        return self._number("maxelem")

    @property
    def hashsize(self) -> int:
        """How many buckets it has; it never shrinks."""
        return self._number("hashsize")

    def _number(self, option: str) -> int:
        match = re.search(rf"\b{option} ([0-9]+)", self.options)
        return int(match[1]) if match else 0

    def is_like(self, each: Set) -> bool:
        """Whether ipset swaps it with that set: type and family are the same."""
        return self.kind == each.kind and f"family {each.family} " in self.options


def headers(listing: str) -> dict[str, Header]:
    """Read the sets that are ours, and stand-ins that were left, from ``ipset list -terse``."""
    found = {}
    for block in listing.split("\n\n"):
        told = dict(line.partition(": ")[::2] for line in block.splitlines())
        name = told.get("Name", "")
        if name in _NAMES or name in _STAND_INS:
            entries = told.get("Number of entries")
            found[name] = Header(
                told["Type"],
                f"{told['Header']} ",
                int(told["References"]),
                None if entries is None else int(entries),
            )
    return found


def damage(found: Mapping[str, Header], versions: Collection[int]) -> Iterator[Damage]:
    """Yield every way in which the sets of the families are not as they are to be."""
    for each in sets(versions):
        if each.name not in found:
            yield Damage(f"set {each.name}", "is missing")
        elif what := _flaw(each, found[each.name]):
            yield Damage(f"set {each.name}", what)
    for name in _left(found, versions):
        yield Damage(f"set {name}", "is left over from an interrupted change")


def counted(state: Desired, found: Mapping[str, Header], versions: Collection[int]) -> bool:
    """Whether every set of the families holds as many elements as it is to hold."""
    return all(
        each.name in found and found[each.name].entries == len(each.desired(state))
        for each in sets(versions)
    )


def _left(found: Mapping[str, Header], versions: Collection[int]) -> list[str]:
    """Return the stand-ins of these families that an interrupted change has left."""
    ours = tuple(f"treason{version}" for version in versions)
    return sorted(name for name in found.keys() - _NAMES if name.startswith(ours))


def members(each: Set, saved: Iterable[str], name: str = "") -> tuple[Networks, list[Damage]]:
    """Read the elements from ``ipset save``: the right ones, and what is wrong with the others.

    ``name`` is that of a set that stands in for it.
    """
    networks, strange = lines.read(_elements(name or each.name, saved))
    held = each.members(networks)
    elsewhere = networks - held
    count = len(strange) + len(elsewhere)
    strange += [f"{network}, which belongs elsewhere" for network in elsewhere[:_TELLING]]
    told = lines.shortened(strange, _TELLING, "{} more strange elements", count=count)
    return held, [Damage(f"set {each.name}", f"holds {what}") for what in told]


def _elements(name: str, saved: Iterable[str]) -> Iterator[str]:
    """Yield the elements as they are written, from pieces of whole lines."""
    for piece in saved:
        _, *elements = ("\n" + piece.removesuffix("\n")).split(f"\nadd {name} ")
        yield from elements


def strangers(found: Mapping[str, Header]) -> Iterator[str]:
    """Yield the sets of our names that are none as we make them, in words."""
    for name, header in sorted(found.items()):
        [each] = (each for each in SETS if each.name == name.partition("_")[0])
        if _flaw(each, header) or header.hashsize < _SMALLEST // _SPARSE:
            yield f"{name} ({header.kind} {header.options.strip()})"


@frozen
class Steps:
    """The change of the sets, as ``ipset restore`` reads it, around that of the chain.

    ``before`` is done first. A set whose type is wrong cannot be swapped while a rule uses it:
    then ``stand_ins`` names what the chain is to use in its place, and ``between`` is done before
    the chain gets its own rules. ``after`` clears away. The first two come in pieces, once.
    """

    before: Iterable[str]
    stand_ins: Mapping[str, str]
    between: Iterable[str]
    after: str


def steps(plan: Plan, found: Mapping[str, Header], version: int, ruled: Networks = _NONE) -> Steps:
    """Return the change that carries out the plan in a family.

    ``ruled`` are networks that the chain has rules for: whether a set holds them too is not known.

    A set is changed in place where it is right and has room, else made anew beside the old one
    and swapped. All additions come before all swaps and removals: no address is open in between.
    """
    left = _left(found, [version])
    used = {name for name, header in found.items() if header.references}
    known = " -exist\n" if ruled else "\n"
    before: list[Iterable[str]] = [[f"destroy {name}\n" for name in left if name not in used]]
    after = [f"destroy {name}\n" for name in left if name in used]
    between: list[Iterable[str]] = []
    stand_ins: dict[str, str] = {}
    removals: list[Iterable[str]] = []
    swaps: list[str] = []
    for each in sets([version]):
        change = plan.banned if each.banned else plan.passed
        wanted = each.desired(plan.desired)
        removed = each.members(change.remove)
        header = found.get(each.name)
        if _stays(each, header, len(wanted) + len(removed), plan):
            added = each.members(change.add) | (each.members(ruled) & wanted)
            before.append(lines.written(added, f"add {each.name} ", known))
            removals.append(lines.written(removed, f"del {each.name} ", known))
            continue
        names = (each.name + suffix for suffix in _ASIDE)
        aside = next((name for name in names if name not in used), each.name + _ASIDE[-1])
        before += _made(each, aside, wanted)
        if header is None:
            swaps.append(f"rename {aside} {each.name}\n")
        elif header.is_like(each):
            swaps += [f"swap {aside} {each.name}\n", f"destroy {aside}\n"]
        elif header.references == 0:
            swaps += [f"destroy {each.name}\n", f"rename {aside} {each.name}\n"]
        else:
            stand_ins[each.name] = aside
            between += [[f"destroy {each.name}\n"], *_made(each, each.name, wanted)]
            after.append(f"destroy {aside}\n")
    whole = chain.from_iterable([*before, swaps, *removals])
    return Steps(whole, stand_ins, chain.from_iterable(between), "".join(after))


def clearance(found: Iterable[str], versions: Iterable[int]) -> str:
    """Return what removes all sets of the families, once no rule uses them."""
    ours = tuple(f"treason{version}" for version in versions)
    return "".join(f"destroy {name}\n" for name in sorted(found) if name.startswith(ours))


def chain_rules(version: int, stand_ins: Mapping[str, str], verdict: str) -> list[str]:
    """Return the chain's rules for the sets of a family that have this verdict."""
    return [
        each.rule(stand_ins.get(each.name, each.name))
        for each in SETS
        if each.version == version and each.verdict == verdict
    ]


def _flaw(each: Set, header: Header) -> str:
    if not header.is_like(each):
        return f"is {header.kind} {header.options.strip()}"
    if header.maxelem < _SMALLEST or header.maxelem.bit_count() != 1:
        return f"has maxelem {header.maxelem}"
    rest = _OWN_CHOICE.sub("", header.options).replace(f"family {each.family} ", "").strip()
    return f"has {rest!r}" if rest else ""


def _stays(each: Set, header: Header | None, most: int, plan: Plan) -> bool:
    """Whether a set can be changed in place; ``most`` is what it holds at the fullest moment."""
    subject = f"set {each.name}"
    damaged = any(repair.subject == subject for repair in plan.repairs)
    return header is not None and not damaged and not _flaw(each, header) and most <= header.maxelem


def _made(each: Set, name: str, held: Networks) -> tuple[Iterable[str], Iterable[str]]:
    maxelem = max(_SMALLEST, 1 << (2 * len(held) - 1).bit_length())
    sizes = f"hashsize {maxelem // _SPARSE} maxelem {maxelem}"
    made = f"create {name} {each.kind} family {each.family} {sizes}\n"
    return [made], lines.written(held, f"add {name} ")
