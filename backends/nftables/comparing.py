"""Whether the sets hold what they are to hold: by their counts, and by their elements in doubt."""

from backends.nftables import reading
from backends.nftables.events import Events
from backends.nftables.generations import FEW, Generations
from backends.nftables.holding import Holding
from backends.nftables.statements import Intervals, Set
from backends.nftables.structure import Structure
from reconciler import Damage, Networks
from reconciler.netlink import Connection

Told = Events | Generations


def compared(
    connection: Connection, held: Holding, found: Structure, told: Told
) -> tuple[list[Damage], list[Damage]]:
    """Return what the sets lack, and what they hold besides. Raise `NetlinkError`.

    Where others have put elements into a set, the count alone tells nothing.
    """
    lost: list[Damage] = []
    surplus: list[Damage] = []
    for each in held.shape.sets:
        count, due = _count(connection, each, found, held, told), held.count(each)
        if count and told.doubts(each.name, max(count, due)):
            missing, strange = _differences(connection, each, held, max(count, due))
            known = count < due or told.filled is not None or max(count, due) <= FEW
            lost += missing if known else []
            surplus += strange
        elif count < due:
            lost.append(_damage(each, f"lacks {due - count:,} of {due:,} elements"))
        elif count > due:
            surplus.append(_damage(each, f"holds {count - due:,} more than {due:,} elements"))
    return lost, surplus


def _count(connection: Connection, each: Set, found: Structure, held: Holding, told: Told) -> int:
    """Return how many elements a set holds.

    Of intervals half the ends are counted, and one that reaches to the last address of all has one
    alone: it is asked for. Where the kernel counts nothing, what others did not touch is right.
    """
    count = found.sets[each.name].count
    if count is None:
        if told.touched is not None and each.name not in told.touched:
            return held.count(each)
        count = reading.number(connection, each)
    last = held.endless(each)
    return count + bool(last and reading.holds(connection, Intervals(each, [last])))


def _differences(
    connection: Connection, each: Set, held: Holding, number: int
) -> tuple[list[Damage], list[Damage]]:
    """Return what a set lacks, and what it holds besides; all of many is put back."""
    if number > FEW:
        told = "holds elements of others, perhaps in place of ours"
        return [_damage(each, "may lack elements")], [_damage(each, told)]
    if each.interval:
        networks, strange = reading.intervals(connection, each)
        listed = Networks.of(networks)
    else:
        addresses, strange = reading.hosts(connection, each)
        listed = Networks.of_hosts(each.version, addresses)
    due = held.members(each)
    missing, more = len(due - listed), len(listed - due)
    lost = [_damage(each, f"lacks {missing:,} of {len(due):,} elements")] if missing else []
    if more:
        strange.append(_damage(each, f"holds {more:,} elements of others"))
    return lost, strange


def _damage(each: Set, problem: str) -> Damage:
    return Damage(f"set {each.name}", problem)
