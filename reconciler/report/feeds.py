"""What passes take of feeds, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from reconciler.feeding import OBSERVED, QUARANTINED
from reconciler.lines import shortened
from reconciler.networks import Networks
from reconciler.report.plain import plain

if TYPE_CHECKING:
    from reconciler.feeds.limits import Judged
    from reconciler.passes.taking import FeedReading

_SHOWN: Final = 20


def readings(
    readings: Iterable[FeedReading], *, check: bool = False, verbose: bool = False
) -> Iterator[str]:
    """Yield what was taken of each feed that has changed; in a ``check`` nothing is."""
    for each in readings:
        kinds = [*_kinds(each, check=check)]
        if kinds:
            told = ", ".join(f"{len(some):,} {plain(what)}" for what, some in kinds)
            yield f"feed {each.feed}: {told}"
        for what, some in kinds if verbose else ():
            for text in shortened([*map(str, some[:_SHOWN])], _SHOWN, count=len(some)):
                yield f"  {plain(what)}: {text}"


def complaints(readings: Iterable[FeedReading]) -> Iterator[str]:
    """Yield why nothing could be taken of a feed."""
    for each in readings:
        if each.error:
            named = each.error.startswith(f"feed {each.feed} ")
            yield each.error if named else f"feed {each.feed}: {each.error}"


def named(judged: Judged, state: str) -> Networks:
    """Return what it names that has a state."""
    return Networks.union(group.networks for group in judged.groups if group.state == state)


def _kinds(each: FeedReading, *, check: bool) -> Iterator[tuple[str, Networks]]:
    """Yield what became of the networks that it names, each with those, if there are any."""
    kinds = [
        ("to add" if check else "added", each.begun),
        ("to remove" if check else "removed", each.gone),
    ]
    if judged := each.judged:
        kinds += [
            ("only observed", named(judged, OBSERVED)),
            (f"quarantined{_members(judged.quarantined)}", named(judged, QUARANTINED)),
            ("cut (private space)", judged.cut),
            *((f"refused ({why})", networks) for why, networks in judged.refused),
        ]
    yield from ((what, networks) for what, networks in kinds if networks)


def _members(quarantined: Iterable[str]) -> str:
    """Return who is quarantined, where several speak."""
    names = sorted(filter(None, quarantined))
    return f" ({', '.join(shortened(names))})" if names else ""
