"""The active bans as somebody asks for them: of one rule, from a time on, in an order, so many."""

from collections.abc import Iterator
from typing import Final

from attrs import frozen

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

_COUNTED: Final = (
    "(SELECT coalesce(sum(count), 0) FROM offences"
    " WHERE offences.key BETWEEN bans.key AND last_key(bans.key))"
)


@frozen
class Choice:
    """Which bans: of a rule (or another origin), begun at ``since`` or later (epoch seconds).

    ``sort`` is one of `ORDERS`; None leaves nothing out.
    """

    rule: str | None = None
    since: int | None = None
    sort: str = NETWORK
    limit: int | None = None


@frozen
class ListedBan:
    """A ban, and how many of its offences are stored, where that was asked for."""

    ban: Ban
    offences: int | None = None


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
