"""From a plan to the one transaction that carries it out, as statements."""

from collections.abc import Iterator, Mapping

from attrs import frozen

from backends.nftables.layout import Shape, shape_for, spread
from backends.nftables.statements import (
    DeleteChain,
    DeleteNote,
    DeleteTable,
    Hosts,
    Intervals,
    NewChain,
    NewNote,
    NewSet,
    NewTable,
    Set,
    Statement,
)
from reconciler import Change, Networks, Plan


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

    The chains alone are replaced while sets and elements stay. Anything worse, and a hash set
    that would be more than half full, makes the table anew. Either way no packet sees a gap.
    """
    chains = table.shape.chains
    names = {f"chain {chain.name}" for chain in chains}
    if any(repair.subject not in names for repair in plan.repairs):
        return anew(plan)
    changes = [*_changes(plan, table.shape)]
    if _crowded(changes, table):
        return anew(plan)
    return [*(_replaced(chains) if plan.repairs else ()), *changes, *_noted(plan, table)]


def anew(plan: Plan) -> list[Statement]:
    """Return the transaction that makes the table anew, as it is desired."""
    shape = shape_for(plan.desired)
    whole = Plan(Change(plan.desired.banned), Change(plan.desired.passed), (), plan.desired)
    sets = [
        NewSet(each, shape.sizes.get(each.name, 0), at) for at, each in enumerate(shape.sets, 1)
    ]
    return [
        NewTable(),  # so that there is one to delete
        DeleteTable(),
        NewTable(),
        *sets,
        *shape.chains,
        *_changes(whole, shape),
        *([NewNote(plan.owner)] if plan.owner else ()),
    ]


def _replaced(chains: list[NewChain]) -> Iterator[Statement]:
    """Yield what makes the chains anew; the last one jumps to the others."""
    for chain in reversed(chains):
        yield NewChain(chain.name, ())  # so that there is one to delete
    for chain in reversed(chains):
        yield DeleteChain(chain.name)
    yield from chains


def _noted(plan: Plan, table: Table) -> Iterator[Statement]:
    """Yield what notes whose the table is, if it is not noted so."""
    if plan.owner and plan.owner != table.owner:
        if table.owner is not None:
            yield DeleteNote()
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


def _crowded(changes: list[Hosts | Intervals], table: Table) -> bool:
    """Whether a hash would be more than half full."""
    for change in changes:
        each = change.set
        if isinstance(change, Hosts) and not change.delete and each.name in table.counts:
            count = table.counts[each.name] + change.number
            if 2 * count > table.shape.sizes.get(each.name, 0):
                return True
    return False
