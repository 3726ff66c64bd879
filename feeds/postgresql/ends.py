"""When bans end, rounded up, so that many of them end together.

A feed's file holds bans by member, reason and end, and not too many of those. An end is rounded up
to a multiple of a power of two seconds of this machine's clock: the largest that is at most a
``2**-fine`` of the time left, or a second. So a ban never ends early, and late by less than that
part of the time that it had left; and it has the same end whenever it is read, until much less is
left.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from reconciler import Networks

FINE: Final = 6
"""At most a 64th longer, which is 15 minutes in 16 hours."""

COARSE: Final = 3
"""Where there are very many bans: at most an 8th longer."""

Key = tuple[str, int | None]
"""Why and until when (seconds since the epoch; None: no end) a member bans."""

Says = dict[Key, list[Networks]]
"""What a member bans, in parts."""


def rounded(until: int | None, now: int, fine: int) -> int | None:
    """Return the end that stands for it (both in seconds since the epoch)."""
    if until is None:
        return None
    bits = max((until - now).bit_length() - 1 - fine, 0)
    return -(-until >> bits) << bits


def fitted(found: Mapping[str, Says], now: int, most: int) -> dict[str, Says]:
    """Return what each member says by ``most`` reasons and ends in all, as far as that can be.

    Whoever has more than an equal share gets coarser ends, a half longer in the end, and then no
    reasons. Less than about forty a member cannot be reached.
    """
    share = _share((len(says) for says in found.values()), most)
    return {member: _coarser(says, now, share) for member, says in found.items()}


def _share(counts: Iterable[int], most: int) -> int:
    """Return how many each may have: those with few leave what they do not need to the others."""
    ascending = sorted(counts)
    for number, count in enumerate(ascending):
        equal = most // (len(ascending) - number)
        if count > equal:
            return equal
        most -= count
    return most


def _coarser(says: Says, now: int, most: int) -> Says:
    for fine in range(FINE - 1, 0, -1):
        if len(says) <= most:
            return says
        says = _joined(
            ((reason, rounded(until, now, fine)), parts) for (reason, until), parts in says.items()
        )
    if len(says) > most:
        says = _joined((("", until), parts) for (_, until), parts in says.items())
    return says


def _joined(all_parts: Iterable[tuple[Key, list[Networks]]]) -> Says:
    found: Says = {}
    for key, parts in all_parts:
        found.setdefault(key, []).extend(parts)
    return found
