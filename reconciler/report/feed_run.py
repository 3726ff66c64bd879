"""What `feed run` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reconciler.lines import counted, shortened
from reconciler.report.plain import plain

if TYPE_CHECKING:
    from reconciler.feeds.engine import Refreshed


def lines(name: str, result: Refreshed, *, verbose: bool) -> Iterator[str]:
    """Yield what a refresh has brought, with ``verbose`` line by line."""
    judged = result.judged
    published = f"published: {counted(result.published, 'network')}"
    if judged is None:
        if result.published:
            yield f"{name}: {published}"
        return
    moved = [(judged.added, "added"), (judged.lifted, "removed")]
    said = ", ".join(f"{len(networks):,} {what}" for networks, what in moved if networks)
    yield f"{name}: {counted(result.held, 'network')}, {said or 'unchanged'}"
    if verbose:
        for networks, what in moved:
            yield from (f"  {what} {network}" for network in networks)
    for why, networks in (("private or reserved", judged.cut), *judged.refused):
        what = "refused" if networks is not judged.cut else "cut"
        if networks:
            yield f"  {what}: {counted(len(networks), 'network')}, {why}"
        if verbose:
            yield from (f"  {what} {network}: {why}" for network in networks)
    notes = result.notes if verbose else shortened(result.notes, rest="and {} more; -v shows all")
    yield from (f"  note: {plain(note)}" for note in notes)
    if result.published:
        yield f"  {published}"


def value(name: str, result: Refreshed) -> dict[str, Any]:
    """Return the same for programs."""
    judged = result.judged
    none: tuple[()] = ()
    return {
        "feed": name,
        "networks": result.held,
        "added": [*map(str, judged.added if judged else none)],
        "removed": [*map(str, judged.lifted if judged else none)],
        "cut": [*map(str, judged.cut if judged else none)],
        "refused": [
            {"network": str(network), "reason": why}
            for why, networks in (judged.refused if judged else none)
            for network in networks
        ],
        "notes": [*result.notes],
        "published": result.published,
        "doubt": result.doubt or None,
        "damage": result.damage or None,
        "error": str(result.failure) if result.failure else None,
    }
