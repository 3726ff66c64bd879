"""Recognise the kernel's messages about peers that shrink their window with data in flight.

`net/ipv4/tcp_timer.c` prints them, in these forms:

- ``TCP: Treason uncloaked! Peer A:P/L shrinks window U:N. Repaired.`` (2.4 to 2.6.28)
- ``TCP: Peer A:P/L unexpectedly shrunk window U:N (repaired)`` (2.6.29 to 3.3), without
  ``TCP: `` from 3.4 to 6.5, and with ``MPTCP: `` from the out-of-tree MPTCP
- ``Probing zero-window on A:P/L, seq=U:N, recv Rms ago, lasting Dms`` (from 6.6)

A is the peer as ``%pI4`` or ``%pI6`` print it, P its port, L the local port.
"""

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from reconciler.errors import InvalidNetwork
from reconciler.model import Offence, Record
from reconciler.network import Network

_V4: Final = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_V6: Final = r"[0-9a-f]{4}(?::[0-9a-f]{4}){7}"
_PORT: Final = r"(?:0|[1-9][0-9]{0,4})"
_PEER: Final = rf"(?P<address>{_V4}|{_V6}):(?P<peer_port>{_PORT})/(?P<local_port>{_PORT})"
_WINDOW: Final = r"[0-9]{1,10}:[0-9]{1,10}"
_HIGHEST_PORT: Final = 0xFFFF
_NATIVE_IPV6: Final = Network.parse("127.0.0.6")


@frozen
class Rule:
    """A pattern that must match the whole text of a record.

    The pattern has the named group ``address``, and may have ``peer_port`` and ``local_port``.
    ``needle`` is a text that stands in every match: sources skip records without it.
    """

    name: str
    pattern: re.Pattern[str]
    needle: str


RULES: Final = (
    Rule(
        "treason-uncloaked",
        re.compile(rf"TCP: Treason uncloaked! Peer {_PEER} shrinks window {_WINDOW}\. Repaired\."),
        "Treason uncloaked! Peer ",
    ),
    Rule(
        "unexpectedly-shrunk",
        re.compile(
            rf"(?:(?:MP)?TCP: )?Peer {_PEER} unexpectedly shrunk window {_WINDOW} \(repaired\)"
        ),
        "unexpectedly shrunk window",
    ),
    Rule(
        "probing-zero-window",
        re.compile(
            rf"Probing zero-window on {_PEER}, seq={_WINDOW}, "
            r"recv [0-9]{1,10}ms ago, lasting [0-9]{1,10}ms"
        ),
        "Probing zero-window",
    ),
)


def detect(record: Record, rules: Sequence[Rule] = RULES) -> Offence | None:
    """Give the offence that the record names, or None."""
    for rule in rules:
        if rule.needle in record.text and (match := rule.pattern.fullmatch(record.text)):
            return _offence(record, rule, match)
    return None


def _offence(record: Record, rule: Rule, match: re.Match[str]) -> Offence | None:
    groups = match.groupdict()
    try:
        address = Network.parse(groups["address"])
        peer_port, local_port = _port(groups.get("peer_port")), _port(groups.get("local_port"))
    except InvalidNetwork:
        return None
    except ValueError:
        return None
    if not address.is_host or address == _NATIVE_IPV6:
        return None  # before 2.6.26 the kernel printed 127.0.0.6 for every native IPv6 peer
    return Offence(
        address=address,
        rule=rule.name,
        evidence=record.text,
        trusted=record.trusted,
        peer_port=peer_port,
        local_port=local_port,
        time=record.time,
        count=record.repeated,
    )


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if (port := int(text)) > _HIGHEST_PORT:
        raise ValueError(text)
    return port
