"""What a feed's file holds after changes, as sets: pure, and in order of the changes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import evolve

from reconciler.feeding import FeedBan, FeedChange, FeedGroup, FeedLift, FeedSnapshot
from reconciler.feeds.format import GROUPS, LATEST, Contents
from reconciler.feeds.owners import Owners
from reconciler.networks import NOTHING, Networks

_KEPT: Final = 30 * 86_400
_HOUR: Final = 3600
"""Seconds for which it is kept that a network was lifted, and to which that is rounded up."""

_Ban = tuple[str, int | None]
_LIFTED: Final = None
_Fate = _Ban | None
"""What becomes of networks in the end: a ban with its reason and its end, or a lift."""

_Settled = dict[str, dict[_Fate, Networks]]
"""What becomes of each member's networks that were said anything of."""


def applied(before: Contents, changes: Sequence[FeedChange], now: int, most: int) -> Contents:
    """Return what is held at ``now`` (epoch seconds) once the changes have been made, in order.

    A snapshot among them is complete. It replaces all bans, and leaves alone what was lifted
    explicitly; of those that were, ``most`` networks are kept in mind.
    """
    start = max((n for n, each in enumerate(changes) if each is FeedSnapshot.BEGIN), default=-1)
    fates: defaultdict[str, Owners[_Fate]] = defaultdict(Owners)
    for number in range(len(changes) - 1, -1, -1):  # the last change of a network counts
        each = changes[number]
        if isinstance(each, FeedLift):
            fates[each.member].add(each.networks, _LIFTED)
        elif isinstance(each, FeedBan) and number > start:
            until = each.seconds and min(now + each.seconds, LATEST)
            fates[each.member].add(each.networks, (each.reason, until))
    earlier = before.groups if start < 0 else ()
    settled = {member: owners.values() for member, owners in fates.items()}
    return evolve(
        before,
        groups=_groups(earlier, settled, now),
        lifted=_lifted(before, settled, now, most),
    )


def _groups(earlier: Sequence[FeedGroup], settled: _Settled, now: int) -> tuple[FeedGroup, ...]:
    touched = {
        member: Networks.union(settled[member].values())
        for member in {group.member for group in earlier} & settled.keys()
    }
    found: defaultdict[tuple[str, str, int | None], list[Networks]] = defaultdict(list)
    for group in earlier:
        left = group.networks - touched.get(group.member, NOTHING)
        found[group.member, group.reason, group.until].append(left)
    for member, fates in settled.items():
        for fate, networks in fates.items():
            if fate is not _LIFTED:
                found[member, *fate].append(networks)
    groups = [FeedGroup(Networks.union(parts), *key) for key, parts in found.items()]
    return _sorted(each for each in groups if each.networks and _lasts(each, now))


def _lifted(before: Contents, settled: _Settled, now: int, most: int) -> tuple[FeedGroup, ...]:
    """Return what was lifted explicitly, of what was banned before, and is not banned again."""
    found: defaultdict[tuple[str, int], list[Networks]] = defaultdict(list)
    held: defaultdict[str, list[Networks]] = defaultdict(list)
    for group in before.groups:
        held[group.member].append(group.networks)
    end = -(-now // _HOUR) * _HOUR + _KEPT
    for member, fates in settled.items():
        if _LIFTED in fates and (lifted := fates[_LIFTED] & Networks.union(held[member])):
            found[member, end].append(lifted)
    banned = {
        member: Networks.union(n for fate, n in settled[member].items() if fate is not _LIFTED)
        for member in {group.member for group in before.lifted} & settled.keys()
    }
    for group in before.lifted:
        if group.until and (left := group.networks - banned.get(group.member, NOTHING)):
            found[group.member, group.until].append(left)
    groups = [FeedGroup(Networks.union(n), m, "", until) for (m, until), n in found.items()]
    kept, number = list[FeedGroup](), 0
    for group in sorted(groups, key=lambda group: -(group.until or 0)):
        number += len(group.networks)
        if _lasts(group, now) and number <= most and len(kept) < GROUPS // 10:
            kept.append(group)
    return _sorted(kept)


def _lasts(group: FeedGroup, now: int) -> bool:
    return group.until is None or group.until > now


def _sorted(groups: Iterable[FeedGroup]) -> tuple[FeedGroup, ...]:
    return (*sorted(groups, key=lambda g: (g.member, g.reason, g.until is None, g.until or 0)),)
