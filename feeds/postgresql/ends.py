"""When bans end, rounded up, so that many of them end together.

A feed's file holds bans by member, reason and end, and not too many of those. An end is rounded up
to a multiple of a power of two seconds of this machine's clock: the largest that is at most a
``2**-fine`` of the time left, or a second. So a ban never ends early, and late by less than that
part of the time that it had left; and it has the same end whenever it is read, until much less is
left.
"""

from collections.abc import Iterable, Mapping

from attrs import define, field

_FINEST, _COARSEST = 6, 2
"""At most a 64th longer (15 minutes in 16 hours) in a fleet of 63 members or less, and at most a
quarter in one of 512 or more."""

Key = tuple[str, int | None]
"""Why and until when (seconds since the epoch; None: no end) a member bans."""

Packed = tuple[bytes, bytes]
"""Networks of IPv4 and of IPv6, as they were read."""

Says = dict[Key, list[Packed]]
"""What a member bans, in parts."""


def fine(members: int) -> int:
    """Return how fine ends are in a fleet of so many members."""
    return max(min(_FINEST, 12 - members.bit_length()), _COARSEST)


def rounded(until: int | None, now: int, fine: int) -> int | None:
    """Return the end that stands for it (both in seconds since the epoch)."""
    if until is None:
        return None
    bits = max((until - now).bit_length() - 1 - fine, 0)
    return -(-until >> bits) << bits


@define
class Groups:
    """The different members, reasons and ends of a feed's file, as far as this process knows.

    ``are_all`` is whether they are all there are: it has read everything itself.
    """

    are_all: bool = False
    _ends: dict[int, int | None] = field(factory=dict)

    def add(self, found: Mapping[str, Iterable[Key]]) -> int:
        """Return how many of those were not known."""
        before = len(self._ends)
        for member, says in found.items():
            for key in says:
                self._ends[hash((member, key))] = key[1]
        return len(self._ends) - before

    def left(self, now: int) -> int:
        """Return how many there are, without those that have ended."""
        self._ends = {h: end for h, end in self._ends.items() if end is None or end > now}
        return len(self._ends)

    def begin(self, found: Mapping[str, Iterable[Key]]) -> int:
        """Return how many these are, which are all."""
        self._ends.clear()
        self.are_all = True
        return self.add(found)


def fitted(found: Mapping[str, Says], now: int, most: int) -> dict[str, Says]:
    """Return what each member says by ``most`` reasons and ends in all, as far as that can be.

    Whoever has more than an equal share gets ever coarser ends, up to twice as far away, and then
    no reasons: some thirty ends for each member are left in any case.
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
    for each in range(_FINEST - 1, -1, -1):
        if len(says) <= most:
            return says
        says = _joined(
            ((reason, rounded(until, now, each)), parts) for (reason, until), parts in says.items()
        )
    if len(says) > most:
        says = _joined((("", until), parts) for (_, until), parts in says.items())
    return says


def _joined(all_parts: Iterable[tuple[Key, list[Packed]]]) -> Says:
    found: Says = {}
    for key, parts in all_parts:
        found.setdefault(key, []).extend(parts)
    return found
