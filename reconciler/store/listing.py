"""The active bans as somebody asks for them: of one rule, from a time on, in an order, so many.

What feeds say is listed like bans, network by network; all of it is never in memory as that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice
from typing import Any, Final

from attrs import frozen

from reconciler.feeding import FeedGroup
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.store.database import Database, network_of

NETWORK: Final = "network"
OFFENCES: Final = "offences"
ORDERS: Final = {
    NETWORK: "key, network",
    "since": "since DESC, key, network",
    "until": "until IS NULL, until, key, network",
    OFFENCES: "offences DESC, key, network",
}
"""By what they can be sorted: the newest first, the next to end first, who offended most first."""

FEED: Final = "feed:"
"""How the origin of what a feed names begins."""

_KEYS: Final[Mapping[str, Callable[["ListedBan"], Any]]] = {
    NETWORK: lambda each: each.ban.network,
    "since": lambda each: (-each.ban.since, each.ban.network),
    "until": lambda each: (each.ban.until is None, each.ban.until or 0, each.ban.network),
}
"""The same orders, except that by offences: those are not counted of what feeds name."""

_COUNTED: Final = (
    "(SELECT coalesce(sum(count), 0) FROM offences"
    " WHERE offences.key BETWEEN bans.key AND last_key(bans.key))"
)


@frozen
class Choice:
    """Which bans: of a rule (or another origin), begun at ``since`` or later (epoch seconds).

    ``sort`` is one of `ORDERS`; None leaves nothing out. With ``feeds`` also what feeds name, which
    is otherwise listed only where its origin is asked for.
    """

    rule: str | None = None
    since: int | None = None
    sort: str = NETWORK
    limit: int | None = None
    feeds: bool = False

    @property
    def feed(self) -> str | None:
        """The feed whose networks alone are asked for."""
        rule = self.rule or ""
        return rule.removeprefix(FEED) if rule.startswith(FEED) else None

    @property
    def has_feeds(self) -> bool:
        """Whether anything of feeds is asked for."""
        return self.feed is not None or (self.feeds and self.rule is None)


@frozen
class ListedBan:
    """A ban, and how many of its offences are stored, where that was asked for.

    What a feed names has a ``state`` (`reconciler.feeding`), and a ``member`` where one of several
    says so. An own ban has neither.
    """

    ban: Ban
    offences: int | None = None
    member: str = ""
    state: str = ""


def with_feeds(
    own: Iterator[ListedBan], feeds: Mapping[str, Sequence[FeedGroup]], choice: Choice
) -> Iterator[ListedBan]:
    """Yield the own bans together with what feeds name, in the order that is chosen."""
    named = [
        _named(feed, group)
        for feed, groups in feeds.items()
        for group in groups
        if choice.since is None or group.since >= choice.since
    ]
    if choice.sort == OFFENCES:
        return islice(chain(own, merge(*named, key=_KEYS[NETWORK])), choice.limit)
    return islice(merge(own, *named, key=_KEYS[choice.sort]), choice.limit)


def _named(feed: str, group: FeedGroup) -> Iterator[ListedBan]:
    for network in group.networks:
        ban = Ban(network, group.since, group.until, f"{FEED}{feed}", group.reason)
        yield ListedBan(ban, member=group.member, state=group.state)


def listed(
    database: Database, now: int, choice: Choice, *, indexed: bool = True
) -> Iterator[ListedBan]:
    """Yield the bans that are active ``now``, while they are read.

    Without ``indexed`` no index of the bans is believed; then networks are in the order of their
    texts.
    """
    order = ORDERS[choice.sort]
    if not indexed:
        order = order.replace("key, network", "network")
    database.connection.create_function("last_key", 1, _last_key, deterministic=True)
    rows = database.stream(
        "SELECT network, since, until, origin, reason,"  # noqa: S608 - constants
        f" {_COUNTED if choice.sort == OFFENCES else 'NULL'} AS offences"
        f" FROM bans {'' if indexed else 'NOT INDEXED'}"
        " WHERE (until IS NULL OR until > ?1) AND (?2 IS NULL OR origin = ?2)"
        f" AND (?3 IS NULL OR since >= ?3) ORDER BY {order} LIMIT ?4",
        (now, choice.rule, choice.since, -1 if choice.limit is None else choice.limit),
    )
    for text, since, until, origin, reason, offences in rows:
        if (network := network_of(text)) is not None:
            yield ListedBan(Ban(network, since, until, origin, reason), offences)


def _last_key(key: bytes | None) -> bytes | None:
    """Return the key of the last address of a network."""
    if key is None or not Network.is_key(key):
        return key
    network = Network.of_key(key)
    return Network(network.end).key
