"""From a plan to the one transaction that carries it out, as statements."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from backends.nftables.damage import STRANGE
from backends.nftables.layout import Shape, grown, shape_for, spread
from backends.nftables.statements import (
    NOTE,
    Delete,
    DeleteTable,
    FlushChain,
    Hosts,
    Intervals,
    NewChain,
    NewNote,
    NewSet,
    NewTable,
    Set,
    Statement,
)
from reconciler import Change, Damage, Networks, Plan


@frozen
class Table:
    """What is known of the table before a change: its shape, and how much each set holds.

    ``counts`` lacks what the kernel does not count. ``owner`` is what is noted of whose it is; None
    where there is no such note.
    """

    shape: Shape
    counts: Mapping[str, int]
    owner: str | None = None


def statements(plan: Plan, table: Table) -> list[Statement]:
    """Return the transaction that carries out the plan.

    Chains are replaced, and what does not belong there is taken away, while sets and elements stay;
    hashes that would be more than half full are made anew. Anything worse makes the table anew. No
    packet sees a gap, except where a set of networks is made anew: packets see it a moment after
    all else (Linux 6.18: nft_set_commit_update comes after the new generation).
    """
    repairs = mended(plan.repairs, table.shape)
    if repairs is None:
        return anew(plan)
    changes = [*_changes(plan, table.shape)]
    crowded = {each.set.version for each in _crowded(changes, table)}
    if not crowded:
        return [*repairs, *changes, *_noted(plan, table)]
    if plan.repairs:
        return anew(plan)
    shape = grown(table.shape, plan.desired, crowded)
    whole = Plan(Change(plan.desired.banned), Change(), (), plan.desired)
    sets = {each.name for version in crowded for each in shape.hosts(version)}
    hosts = [each for each in _changes(whole, shape) if each.set.name in sets]
    others = [each for each in changes if each.set.interval or each.set.version not in crowded]
    return [
        *rehashed(table.shape, shape, crowded),
        *hosts,
        *others,
        *_noted(plan, table),
    ]


def mended(repairs: Iterable[Damage], shape: Shape) -> list[Statement] | None:
    """Return what replaces the chains and takes strange sets and chains away.

    None where anything else is wrong.
    """
    subjects = {each.subject for each in repairs if each.problem != STRANGE}
    strange = [each.subject.split(" ", 1) for each in repairs if each.problem == STRANGE]
    if subjects - {f"chain {chain.name}" for chain in shape.chains}:
        return None
    if any(kind not in {"set", "chain"} or "\ufffd" in name for kind, name in strange):
        return None  # what is no text cannot be named, and goes with the table
    if not subjects and not strange:
        return []
    chains = [name for kind, name in strange if kind == "chain"]
    sets = [name for kind, name in strange if kind == "set"]
    return [*_cleared(shape.chains, chains, sets), *shape.chains]


def rehashed(old: Shape, new: Shape, versions: Collection[int]) -> list[Statement]:
    """Return what makes the hashes of these families anew, empty, and all chains."""
    gone = [each.name for version in versions for each in old.hosts(version)]
    made = [each for version in versions for each in new.hosts(version)]
    return [
        *_cleared(old.chains),
        *(Delete("set", name) for name in gone),
        *(NewSet(each, new.sizes.get(each.name, 0), at) for at, each in enumerate(made, 1)),
        *new.chains,
    ]


def anew(plan: Plan) -> list[Statement]:
    """Return the transaction that makes the table anew, as it is desired."""
    shape = shape_for(plan.desired)
    whole = Plan(Change(plan.desired.banned), Change(plan.desired.passed), (), plan.desired)
    return made(shape, _changes(whole, shape), plan.owner)


def made(shape: Shape, contents: Iterable[Hosts | Intervals], owner: str) -> list[Statement]:
    """Return the transaction that makes the table anew, in a shape and with these contents."""
    sets = [
        NewSet(each, shape.sizes.get(each.name, 0), at) for at, each in enumerate(shape.sets, 1)
    ]
    return [
        NewTable(),  # so that there is one to delete
        DeleteTable(),
        NewTable(),
        *sets,
        *shape.chains,
        *contents,
        *([NewNote(owner)] if owner else ()),
    ]


def _cleared(
    chains: list[NewChain], strange: Sequence[str] = (), sets: Sequence[str] = ()
) -> Iterator[Statement]:
    """Yield what deletes the chains, and strange chains and sets, which may use each other."""
    for chain in reversed(chains):
        yield NewChain(chain.name, ())  # so that there is one to delete
    if strange or sets:
        yield from (FlushChain(chain.name) for chain in chains)
        yield from map(FlushChain, strange)
        yield from (Delete("set", name) for name in sets)
    for chain in reversed(chains):  # the last one jumps to the others
        yield Delete("chain", chain.name)
    yield from (Delete("chain", name) for name in strange)


def _noted(plan: Plan, table: Table) -> Iterator[Statement]:
    """Yield what notes whose the table is, if it is not noted so."""
    if plan.owner and plan.owner != table.owner:
        if table.owner is not None:
            yield Delete("set", NOTE)
        yield NewNote(plan.owner)


def _changes(plan: Plan, shape: Shape) -> Iterator[Hosts | Intervals]:
    """Yield what the elements need: in each set removals first."""
    for version in (4, 6):
        hosts = shape.hosts(version)
        yield from _hosts(hosts, plan.banned.remove, delete=True)
        yield from _hosts(hosts, plan.banned.add, delete=False)
    for each in shape.sets:
        if each.interval:
            change = plan.banned if each.banned else plan.passed
            for networks, delete in ((change.remove, True), (change.add, False)):
                wider = networks.wider(each.version)
                held = wider if each.banned else [*networks.family(each.version)]
                if held:
                    yield Intervals(each, held, delete=delete)


def _hosts(sets: list[Set], networks: Networks, *, delete: bool) -> Iterator[Hosts]:
    parts = spread(networks.hosts(sets[0].version), sets)
    return (
        Hosts(each, part, delete=delete) for each, part in zip(sets, parts, strict=True) if part
    )


def _crowded(changes: list[Hosts | Intervals], table: Table) -> Iterator[Hosts]:
    """Yield what would make a hash more than half full."""
    for change in changes:
        each = change.set
        if isinstance(change, Hosts) and not change.delete and each.name in table.counts:
            count = table.counts[each.name] + change.number
            if 2 * count > table.shape.sizes.get(each.name, 0):
                yield change
