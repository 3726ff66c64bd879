"""What is taken of a feed: all that it says, within the limits that its configuration sets.

A ban ends at its time, or because it was ended explicitly. Whatever else would ban or end more than
the limits allow is not believed: then all stays as it is, until a person accepts it.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from attrs import frozen

from reconciler.errors import FeedUnreadable
from reconciler.feeding import HELD, OBSERVED, QUARANTINED, FeedGroup
from reconciler.feeds.format import Contents
from reconciler.feeds.owners import Owners
from reconciler.feeds.sieve import Sieve, changed, public
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks

_PUBLIC: Final = {
    "public IPv4": Network.parse("0.0.0.0/0"),
    "2000::/3": Network.parse("2000::/3"),
}
"""What `Limits.max_share` is a share of, without private space: all that is assigned (RFC 4291)."""

_PART: Final = 0.1
"""Of `Limits.max_share`, one of several members may name this part."""

_FEW: Final = 10
"""Of fewer networks than these all may be gone at once."""

_SOME: Final = 1 << 12
"""Networks from which on it takes longer to find which prefix lengths there are than to count."""

_HOUR: Final = 3600


@frozen
class Limits:
    """What may be taken of a feed: the keys of ``[feed.NAME]`` with the same names.

    ``min_prefix`` is that of IPv4 and that of IPv6. A ``max_new`` of 0 is no limit.
    """

    max_entries: int = 1_000_000
    max_removals: float = 0.5
    min_prefix: tuple[int, int] = (8, 19)
    max_share: float = 0.05
    max_new: int = 0
    private: bool = False


@frozen
class Standing:
    """What is known of a feed, besides the groups that were taken of it.

    ``epoch`` is None as long as nothing was taken, ``taken`` is when something was taken last
    (epoch seconds). ``quarantined`` are the members of whom nothing new is enforced, ``accepted``
    is when a person accepted the feed last. With ``observe``, its mode, nothing is. While the clock
    is ``doubted``, nothing ends by its time.
    """

    name: str
    epoch: str | None = None
    quarantined: frozenset[str] = frozenset()
    accepted: int = 0
    observe: bool = False
    doubted: bool = False
    taken: int | None = None


@frozen
class Judged:
    """What is taken: ``groups`` are all, in place of those that were taken before.

    ``added`` and ``lifted`` are what that changes in what is enforced, or observed. ``cut`` is the
    private space that was cut out; ``refused`` are the entries that were not taken, by the reason.
    ``quarantined`` is for the next `Standing`.
    """

    groups: tuple[FeedGroup, ...]
    added: Networks
    lifted: Networks
    cut: Networks
    refused: tuple[tuple[str, Networks], ...]
    quarantined: frozenset[str]


def judge(  # noqa: PLR0913 - what was read, what is known, and the limits between them
    contents: Contents,
    known: Sequence[FeedGroup],
    limits: Limits,
    now: int,
    standing: Standing,
    *,
    accepted: bool = False,
) -> Judged:
    """Return what is taken at ``now`` (epoch seconds) of a feed; ``known`` was taken before.

    Where a person has ``accepted`` what it says, it may be of another epoch, leave out and name as
    much as it likes, and nobody is quarantined. Raise `FeedUnreadable` where it is not believed.
    """
    _check_epoch(contents, standing, accepted)
    ended = 0 if standing.doubted else now
    said = [group for group in contents.groups if _lasts(group, ended)]
    known = [group for group in known if _lasts(group, ended)]
    _check_entries(said, limits, standing)
    sieve = Sieve.of(said, limits.min_prefix, private=limits.private)
    said = [*sieve.sift(said)]
    if not accepted:
        _check_removals(said, known, contents.lifted, limits, standing)
    found = [*_found(said, known)]
    quarantined = frozenset[str]()
    if not accepted:
        quarantined = _quarantined(found, known, limits, now, standing) | _too_wide(said, limits)
    groups = _groups(found, quarantined, now, standing)
    before, after = _enforced(known), _enforced(groups)
    if not accepted:
        _check_share(after, limits, standing)
    return Judged(
        groups,
        added=after - before,
        lifted=before - after,
        cut=sieve.cut,
        refused=sieve.refused,
        quarantined=quarantined,
    )


def _lasts(group: FeedGroup, now: int) -> bool:
    return group.until is None or group.until > now


def _enforced(groups: Iterable[FeedGroup]) -> Networks:
    return Networks.union(group.networks for group in groups if group.state != QUARANTINED)


def _by_member(groups: Iterable[FeedGroup]) -> dict[str, Networks]:
    found: defaultdict[str, list[Networks]] = defaultdict(list)
    for group in groups:
        found[group.member].append(group.networks)
    return {member: Networks.union(parts) for member, parts in found.items()}


def _check_epoch(contents: Contents, standing: Standing, accepted: bool) -> None:
    if standing.epoch not in {None, contents.epoch} and not accepted:
        raise _doubted(
            standing, "its epoch has changed: it comes from elsewhere, or from an older copy"
        )


def _check_entries(said: Iterable[FeedGroup], limits: Limits, standing: Standing) -> None:
    number = sum(len(group.networks) for group in said)
    if number > limits.max_entries:
        raise FeedUnreadable(
            f"feed {standing.name}: it names {number:,} networks, more than {limits.max_entries:,},"
            " the limit set by max_entries"
        )


def _check_removals(
    said: Iterable[FeedGroup],
    known: Sequence[FeedGroup],
    ended: Iterable[FeedGroup],
    limits: Limits,
    standing: Standing,
) -> None:
    """Refuse that too many networks are missing which nobody has ended explicitly.

    What the limits would not let in by now is not missing, whoever changed them.
    """
    enforced = _by_member(group for group in known if group.state != QUARANTINED)
    total = sum(map(len, enforced.values()))
    if total < _FEW:
        return
    there, explicit = _by_member(said), _by_member(ended)
    members = [FeedGroup(networks, member) for member, networks in enforced.items()]
    sieve = Sieve.of(members, limits.min_prefix, private=limits.private)
    number = sum(
        len(each.networks - there.get(each.member, NOTHING) - explicit.get(each.member, NOTHING))
        for each in sieve.sift(members)
    )
    if number > limits.max_removals * total:
        what = f"{number:,} of {total:,} networks are missing at once"
        raise _doubted(
            standing, f"{what}, more than a share of {limits.max_removals:g}, set by max_removals"
        )


def _check_share(enforced: Networks, limits: Limits, standing: Standing) -> None:
    for name, share in _shares(enforced, limits.max_share):
        raise _doubted(
            standing,
            f"it names {share:.2g} of {name}, more than a share of {limits.max_share:g}, set by"
            " max_share",
        )


def _too_wide(said: Iterable[FeedGroup], limits: Limits) -> frozenset[str]:
    """Return who of several members names so much that few of his kind would exceed the share."""
    members = _by_member(group for group in said if group.member)
    most = limits.max_share * _PART
    return frozenset(who for who, networks in members.items() if any(_shares(networks, most)))


def _shares(networks: Networks, most: float) -> Iterator[tuple[str, float]]:
    """Yield of what the networks, without private space, are more than this share."""
    for name, network in _PUBLIC.items():
        every = _every(network)
        first, behind = bisect_left(networks, network), bisect_right(networks, Network(network.end))
        inside = [FeedGroup(networks[first:behind])]
        if _addresses(inside[0].networks) <= most * every:
            continue
        for group in Sieve.of(inside, (0, 0), private=False).sift(inside):
            some = group.networks
            if (
                _addresses(some) > most * every
                and (number := _addresses(some.outermost())) > most * every
            ):
                yield name, number / every


@cache
def _every(network: Network) -> int:
    """Return how many addresses of a network are public."""
    return _addresses(Networks.of(public(network)))


def _addresses(networks: Networks) -> int:
    """Return how many addresses they have; those in several networks count each time."""
    four, six = networks.packed(4)[4::5], networks.packed(6)[16::17]
    number = sum(four.count(length) << 32 - length for length in _lengths(four, 32))
    return number + sum(six.count(length) << 128 - length for length in _lengths(six, 128))


def _lengths(found: bytes, longest: int) -> Iterable[int]:
    """Return the prefix lengths to count: of few networks those that there are."""
    return {*found} if len(found) < _SOME else range(longest + 1)


def _doubted(standing: Standing, why: str) -> FeedUnreadable:
    return FeedUnreadable(
        f"feed {standing.name} is not believed: {why}",
        f"if that is right: treason feed accept {standing.name}",
    )


_Earlier = tuple[int, str]
"""When networks were taken, and the state that they have."""


def _found(
    said: Iterable[FeedGroup], known: Iterable[FeedGroup]
) -> Iterator[tuple[FeedGroup, _Earlier | None]]:
    """Yield what is said with what is known of it; None for what is new."""
    alike: defaultdict[object, list[FeedGroup]] = defaultdict(list)
    of_member: defaultdict[str, list[FeedGroup]] = defaultdict(list)
    owners: dict[str, Owners[_Earlier]] = {}
    for group in known:
        alike[group.member, group.reason, group.until].append(group)
        of_member[group.member].append(group)
    for group in said:
        common: list[Networks] = []
        for other in alike.get((group.member, group.reason, group.until), ()):
            common.append(group.networks & other.networks)
            yield changed(group, common[-1]), (other.since, other.state)
        if left := group.networks - Networks.union(common):
            if group.member not in owners:
                owners[group.member] = Owners.of(
                    (each.networks, (each.since, each.state)) for each in of_member[group.member]
                )
            for networks, earlier in owners[group.member].split(left):
                yield changed(group, networks), earlier


def _quarantined(
    found: Iterable[tuple[FeedGroup, _Earlier | None]],
    known: Iterable[FeedGroup],
    limits: Limits,
    now: int,
    standing: Standing,
) -> frozenset[str]:
    """Return who has brought too much within an hour, now or before.

    At the first time all is new, and says nothing of how fast it came; what came in the hours since
    the last time may be as much for each. So what was more at once is no matter any more.
    """
    before = standing.quarantined | {g.member for g in known if g.state == QUARANTINED}
    if not limits.max_new or standing.epoch is None:
        return before
    most, begin = limits.max_new, max(now - _HOUR, standing.accepted)
    fresh, at_once, recent = Counter[str](), Counter[tuple[str, int]](), Counter[str]()
    for group, earlier in found:
        fresh[group.member] += len(group.networks) if earlier is None else 0
    for group in known:
        if group.since > begin and group.state != QUARANTINED:
            at_once[group.member, group.since] += len(group.networks)
    for (member, _), number in at_once.items():
        recent[member] += number if number <= most else 0
    hours = max(1, -(-(now - (standing.taken or now)) // _HOUR))
    return before | {m for m, n in fresh.items() if n and n + recent[m] > hours * most}


def _groups(
    found: Iterable[tuple[FeedGroup, _Earlier | None]],
    quarantined: frozenset[str],
    now: int,
    standing: Standing,
) -> tuple[FeedGroup, ...]:
    """Return the groups with their states, in order, those that are alike as one."""
    alike: defaultdict[tuple[str, str, int | None, int, str], list[Networks]] = defaultdict(list)
    usual = OBSERVED if standing.observe else HELD
    for group, earlier in found:
        since, state = earlier or (now, QUARANTINED)
        if group.member not in quarantined or state != QUARANTINED:
            state = usual
        alike[group.member, group.reason, group.until, since, state].append(group.networks)
    groups = [FeedGroup(Networks.union(parts), *key) for key, parts in alike.items()]
    return (*sorted(groups, key=_order),)


def _order(group: FeedGroup) -> tuple[object, ...]:
    ends = (group.until is None, group.until or 0)
    return group.member, group.reason, ends, group.since, group.state
