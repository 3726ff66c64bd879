"""Feeds, and what passes take of them, for programs (docs/reference/json.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from reconciler.feeding import HELD, OBSERVED, QUARANTINED
from reconciler.report.feed_standing import by_member
from reconciler.report.feeds import named
from reconciler.report.times import iso

if TYPE_CHECKING:
    from reconciler.feeding import FeedGroup
    from reconciler.passes.feeds import FeedStanding
    from reconciler.passes.taking import FeedReading


_SHOWN: Final = 10
"""Networks of a group."""


def readings(readings: Iterable[FeedReading]) -> list[dict[str, Any]]:
    """Return what was taken of each feed, in numbers."""
    return [_reading(each) for each in readings]


def _reading(each: FeedReading) -> dict[str, Any]:
    judged = each.judged
    return {
        "feed": each.feed,
        "changed": judged is not None or bool(each.gone),
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


def value(each: FeedStanding) -> dict[str, Any]:
    """Return how a feed stands."""
    configured = each.feed.settings if each.feed else None
    return {
        "feed": each.name,
        "type": configured.type if configured else None,
        "mode": configured.mode if configured else None,
        "held": each.held,
        "observed": each.observed,
        "quarantined": each.quarantined,
        "members": sorted(each.state.quarantined),
        "member_count": each.members,
        "cut": each.state.cut,
        "refused": each.state.refused,
        "taken": iso(each.state.taken),
        "refreshed": iso(each.refreshed),
        "next": iso(each.due),
        "notes": [*each.remarks.notes],
        "note_count": each.remarks.number,
        "failure": each.failure or None,
        "failing_since": iso(each.remarks.unread.since) if each.remarks.unread else None,
        "unpublished": _unpublished(each),
        "trouble": each.trouble or None,
    }


def _unpublished(each: FeedStanding) -> dict[str, Any] | None:
    """Return what a feed that publishes has not published yet, and why."""
    untold, failure = each.untold, each.remarks.untold
    if untold is None:
        return None
    return {
        "number": None if untold.error else untold.number,
        "since": iso(untold.since),
        "error": untold.error or None,
        "failure": failure.told_of(each.name) if failure else None,
        "failing_since": iso(failure.since) if failure else None,
    }


def whole(each: FeedStanding, groups: Sequence[FeedGroup]) -> dict[str, Any]:
    """Return all that is known of a feed, of its networks the first ones."""
    return {
        **value(each),
        "epoch": each.state.epoch or None,
        "accepted": iso(each.state.accepted or None),
        "store": str(each.feed.store) if each.feed else None,
        "settings": each.settings,
        "by_member": [
            {
                "member": each.name or None,
                **{state: each.numbers.get(state, 0) for state in (HELD, OBSERVED, QUARANTINED)},
                "newest": iso(each.newest),
            }
            for each in by_member(groups)
        ],
        "groups": [group_of(group) for group in groups],
    }


def group_of(group: FeedGroup) -> dict[str, Any]:
    """Return a group, of its networks the first ones."""
    return {
        "member": group.member or None,
        "state": group.state,
        "since": iso(group.since),
        "until": iso(group.until),
        "reason": group.reason,
        "number": len(group.networks),
        "networks": [str(network) for network in group.networks[:_SHOWN]],
    }
