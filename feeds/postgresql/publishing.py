"""How the fleet is told what this machine bans, by few statements for many networks."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from attrs import frozen

from feeds.postgresql.failures import BUSY, QUOTA, Refused
from feeds.postgresql.reading import SHORT
from feeds.postgresql.session import Session, Statement
from reconciler import FeedBan, FeedLift, Network

T = TypeVar("T")

_MOST: Final = 10_000
"""Networks of one call."""

_WIDEST: Final = {4: 8, 6: 19}
"""The prefix lengths from which on the fleet takes networks."""

_PUBLISH: Final = b"SELECT fleet.publish($1::cidr[], $2::int8[], $3::text[])::int8"
_REMOVE: Final = b"SELECT fleet.remove($1::cidr[])::int8"
_REAP: Final = Statement(b"SELECT fleet.reap()")


@frozen
class Told:
    """What became of it.

    So many networks are ``waiting`` as the quota is full, ``since`` when (seconds since the epoch);
    those that are too ``wide`` for any fleet are banned by this member alone.
    """

    waiting: int = 0
    wide: frozenset[Network] = frozenset()
    since: float = 0.0


def publish(
    session: Session, changes: Sequence[FeedBan | FeedLift], wide: frozenset[Network] = frozenset()
) -> Told:
    """Publish the last word on each network: removals first, for which nobody waits, then bans.

    Bans are told in order, up to the first for which the quota is full. ``wide`` are the networks
    that were too wide before. Raise `Refused` and `Lost`.
    """
    last: dict[Network, FeedBan | FeedLift] = {}
    for change in changes:
        last |= dict.fromkeys(change.networks, change)
    wide -= last.keys()
    for each in [each for each in last if each.length < _WIDEST[each.version]]:
        if isinstance(last.pop(each), FeedBan):
            wide |= {each}
    removed = [network for network, change in last.items() if isinstance(change, FeedLift)]
    for some in _parts(removed):
        _called(session, Statement(_REMOVE, (_array(map(str, some)),), b"remove"))
    bans = [(each, change) for each, change in last.items() if isinstance(change, FeedBan)]
    for number, part in enumerate(_parts(bans)):
        accepted = _published(session, part)
        if accepted < len(part):
            return Told(len(bans) - number * _MOST - accepted, wide)
    return Told(0, wide)


def _published(session: Session, bans: Sequence[tuple[Network, FeedBan]]) -> int:
    """Return how many of the first the fleet has taken."""
    parameters = (
        _array(str(network) for network, _ in bans),
        _array("NULL" if ban.seconds is None else str(ban.seconds) for _, ban in bans),
        _array(_quoted(ban.reason) for _, ban in bans),
    )
    try:
        return _called(session, Statement(_PUBLISH, parameters, b"publish"))
    except Refused as error:
        if error.state == QUOTA:
            return 0
        raise


def _called(session: Session, statement: Statement) -> int:
    """Return what a function gives; asked once more where somebody held the clock too long."""
    try:
        [[row]] = session.run([statement], SHORT)
    except Refused as error:
        if error.state != BUSY:
            raise
        session.run([_REAP], SHORT)
        [[row]] = session.run([statement], SHORT)
    return int.from_bytes(row[0] or b"", signed=True)


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _MOST] for start in range(0, len(items), _MOST))


def _array(values: Iterable[str]) -> bytes:
    """Return an array of PostgreSQL (its documentation, §8.15.2)."""
    return ("{" + ",".join(values) + "}").encode(errors="replace")


def _quoted(text: str) -> str:
    escaped = text.replace("\0", "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
