"""The one place that speaks netlink (netlink(7)): to nf_tables, to routing, and about TCP sockets.

`Connection` is a socket, `Message` what goes through it, `NetlinkError` how the kernel refuses.
A `Filter`, as `about_table` makes one, keeps from a socket what is none of its business.
`Sockets` are the TCP sockets of a network namespace, `TcpSocket` is one of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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
from reconciler.netlink.filters import MESSAGES, Filter, about_table
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

if TYPE_CHECKING:
    from reconciler.netlink.sockdiag import (
        HOLDING,
        LISTEN,
        PERSIST,
        RETRANSMIT,
        Sockets,
        TcpSocket,
    )

__all__ = [
    "ACK",
    "APPEND",
    "CREATE",
    "DUMP",
    "HOLDING",
    "LISTEN",
    "LONGEST",
    "MESSAGES",
    "NESTED",
    "NETFILTER",
    "NFTABLES",
    "NFTABLES_EVENTS",
    "PERSIST",
    "REQUEST",
    "RETRANSMIT",
    "ROUTE",
    "AnswerLost",
    "Connection",
    "Filter",
    "Full",
    "Message",
    "Missing",
    "NetlinkError",
    "NotPermitted",
    "Present",
    "Routes",
    "Sockets",
    "Stale",
    "TcpSocket",
    "TooLong",
    "about_table",
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

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load what asks about sockets where somebody does: it takes two milliseconds."""
        if name in __all__:
            return getattr(import_module(f"{__name__}.sockdiag"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
