"""How a fleet is, for people and for programs."""

from collections.abc import Iterator
from typing import Any

from reconciler.feeding import FleetMember, FleetStatus
from reconciler.report import columns
from reconciler.report.times import iso, past


def lines(status: FleetStatus) -> Iterator[str]:
    """Yield the clock, the members in a table, and the notes."""
    now = int(status.now)
    updated = "" if status.updated is None else past(status.updated, now)
    rows = [
        ("fleet", status.place),
        ("version", str(status.version)),
        ("epoch", status.epoch),
        ("changes", f"{status.seq:,}"),
        *([("last change", updated)] if updated else []),
    ]
    yield from columns.aligned(rows)
    yield ""
    titles = ("MEMBER", "BANS", "NEW THIS HOUR", "BEHIND", "LAST SEEN")
    yield from columns.table(titles, (_cells(each, now) for each in status.members))
    if status.notes:
        yield ""
    for note in status.notes:
        yield from columns.paragraph(note)


def value(status: FleetStatus) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "fleet": status.place,
        "version": status.version,
        "epoch": status.epoch,
        "changes": status.seq,
        "updated": iso(status.updated),
        "now": iso(status.now),
        "members": [
            {
                "member": each.name,
                "bans": each.bans,
                "new": each.fresh,
                "max_new": each.max_new,
                "behind": each.behind,
                "seen": iso(each.seen),
            }
            for each in status.members
        ],
        "notes": list(status.notes),
    }


def _cells(member: FleetMember, now: int) -> tuple[str, ...]:
    behind = "-" if member.behind is None else f"{member.behind:,}"
    seen = "never" if member.seen is None else past(member.seen, now)
    return (
        member.name,
        f"{member.bans:,}",
        f"{member.fresh:,} of {member.max_new:,}",
        behind,
        seen,
    )
