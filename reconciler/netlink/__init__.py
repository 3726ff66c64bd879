"""The one place that speaks netlink (netlink(7)): to netfilter with its nf_tables, and to routing.

`Connection` is a socket, `Message` what goes through it, `NetlinkError` how the kernel refuses.
"""

from reconciler.netlink.connection import (
    NETFILTER,
    NFTABLES,
    NFTABLES_EVENTS,
    ROUTE,
    Connection,
    generation,
)
from reconciler.netlink.errors import (
    AnswerLost,
    Full,
    Missing,
    NetlinkError,
    NotPermitted,
    Present,
    Stale,
    TooLong,
    refusal,
)
from reconciler.netlink.message import (
    ACK,
    APPEND,
    CREATE,
    DUMP,
    LONGEST,
    NESTED,
    REQUEST,
    Message,
    attribute,
    attributes,
    nested,
    number,
    text,
)
from reconciler.netlink.route import Routes, addresses, broadcasts, peers, routes

__all__ = [
    "ACK",
    "APPEND",
    "CREATE",
    "DUMP",
    "LONGEST",
    "NESTED",
    "NETFILTER",
    "NFTABLES",
    "NFTABLES_EVENTS",
    "REQUEST",
    "ROUTE",
    "AnswerLost",
    "Connection",
    "Full",
    "Message",
    "Missing",
    "NetlinkError",
    "NotPermitted",
    "Present",
    "Routes",
    "Stale",
    "TooLong",
    "addresses",
    "attribute",
    "attributes",
    "broadcasts",
    "generation",
    "nested",
    "number",
    "peers",
    "refusal",
    "routes",
    "text",
]
