"""What passes take of feeds, for programs (docs/reference/json.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from reconciler.feeding import OBSERVED, QUARANTINED
from reconciler.report.feeds import named

if TYPE_CHECKING:
    from reconciler.passes.taking import FeedReading


def readings(readings: Iterable[FeedReading]) -> list[dict[str, Any]]:
    """Return what was taken of each feed, in numbers."""
    return [_reading(each) for each in readings]


def _reading(each: FeedReading) -> dict[str, Any]:
    judged = each.judged
    return {
        "feed": each.feed,
        "changed": judged is not None,
        "added": len(each.begun),
        "removed": len(each.gone),
        "observed": len(named(judged, OBSERVED)) if judged else 0,
        "quarantined": len(named(judged, QUARANTINED)) if judged else 0,
        "members": sorted(judged.quarantined) if judged else [],
        "cut": len(judged.cut) if judged else 0,
        "refused": [{"why": why, "number": len(networks)} for why, networks in judged.refused]
        if judged
        else [],
        "error": each.error or None,
    }
