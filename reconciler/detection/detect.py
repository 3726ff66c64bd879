"""Recognise the kernel's messages about peers that shrink their window with data in flight.

`net/ipv4/tcp_timer.c` prints them, and `net/ipv4/tcp_input.c` did the first, in these forms:

- ``TCP: peer A:P/L shrinks window U:W:N. Bad, what else can I say?`` (2.4.0 to 2.4.2)
- ``TCP: Treason uncloaked! Peer A:P/L shrinks window U:N. Repaired.`` (2.4 to 2.6.28)
- ``TCP: Peer A:P/L unexpectedly shrunk window U:N (repaired)`` (2.6.29 to 3.3), without
  ``TCP: `` from 3.4 to 6.5, and with ``MPTCP: `` from the out-of-tree MPTCP
- ``Probing zero-window on A:P/L, seq=U:N, recv Rms ago, lasting Dms`` (from 6.6)

A is the peer as ``%pI4`` or ``%pI6`` print it, P its port, L the local port.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Protocol

from attrs import evolve, frozen

from reconciler.detection.policy import Policy
from reconciler.model import Judgement, Offence, Record
from reconciler.network import Network

_V4: Final = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_V6: Final = r"[0-9a-f]{4}(?::[0-9a-f]{4}){7}"
_PORT: Final = r"(?:0|[1-9][0-9]{0,4})"
_PEER: Final = rf"(?P<address>{_V4}|{_V6}):(?P<peer_port>{_PORT})/(?P<local_port>{_PORT})"
_WINDOW: Final = r"[0-9]{1,10}:[0-9]{1,10}"
_HIGHEST_PORT: Final = 0xFFFF
_EXACT: Final = 2**32
"""Seconds below which a float tells each microsecond: 136 years."""

_MOST: Final = 1_000_000_000
"""Times that a record may say it stands for."""
_NATIVE_IPV6: Final = Network.parse("127.0.0.6")
_NAT64: Final = Network.parse("64:ff9b::/96")
_NAT64_END: Final = _NAT64.end
_NOBODY: Final = tuple(
    (Network.parse(network), Network.parse(network).end, kind)
    for network, kind in (
        ("0.0.0.0/8", "this host or none (RFC 1122 §3.2.1.3)"),
        ("127.0.0.0/8", "loopback"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("::/96", "none, loopback, or of IPv4 (RFC 4291 §2.5)"),
        ("ff00::/8", "multicast"),
    )
)
"""What no peer can have for an address: the first, the end of the network, and what it is."""


class Match(Protocol):
    """What a pattern found, as `re.Match` gives it."""

    def groupdict(self) -> dict[str, str | None]:
        """Return the named groups; None for one that took no part."""

    def span(self) -> tuple[int, int]:
        """Return where it begins and ends."""


class Pattern(Protocol):
    """What a rule matches with: a pattern of Python's own engine, or of another one."""

    @property
    def pattern(self) -> str:
        """Its text."""

    def fullmatch(self, text: str, /) -> Match | None:
        """Match the whole text."""

    def search(self, text: str, /) -> Match | None:
        """Match any part of the text, the first that does."""


class LazyPattern:
    """A pattern of Python's own engine, compiled when a record first has its rule's needle."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    @cached_property
    def _compiled(self) -> "re.Pattern[str]":
        return re.compile(self.pattern)

    def fullmatch(self, text: str, /) -> Match | None:
        """Match the whole text."""
        return self._compiled.fullmatch(text)

    def search(self, text: str, /) -> Match | None:
        """Match any part of the text, the first that does."""
        return self._compiled.search(text)


class NoPattern:
    """Stands in a rule whose offences a source judges by itself: it matches no text."""

    pattern: Final = ""

    def fullmatch(self, _text: str, /) -> Match | None:
        """Match nothing."""
        return None

    search = fullmatch


SOCKET, FIREWALL, NONE, NEVER = "socket", "firewall", "none", "never"
"""How the messages of a rule are confirmed; see `Rule`."""

CONFIRMATIONS: Final = (SOCKET, FIREWALL, NONE, NEVER)
ZERO_WINDOW: Final = "zero-window"
"""The rule of what the sockets show by themselves."""
IN_COMPANY: Final = "zero-window-in-company"
"""The rule for a peer most of whose connections are healthy."""


@frozen
class Rule:
    """A pattern that must match the whole text of a record.

    The pattern has the named group ``address``, and may have ``peer_port``, ``local_port`` and
    ``count``. ``needle`` is a text that stands in every match: sources skip records without it.
    ``sources`` names those whose records it is for (none: all). With a ``policy`` of its own its
    offences are counted by themselves. ``report_only`` offences are stored and cause no ban.
    A rule that is ``judged`` has no pattern: sources judge by themselves what offends against it.
    ``confirm`` says what confirms a message of a live source: an own ``socket`` that shows what it
    tells, that the kernel logs for the ``firewall`` of the first network namespace alone, or
    ``none``: then the rule bans nobody. Those of ``never`` are believed as they are.
    """

    name: str
    pattern: Pattern
    needle: str
    sources: tuple[str, ...] = ()
    policy: Policy | None = None
    report_only: bool = False
    confirm: str = NONE

    @property
    def judged(self) -> bool:
        """Whether sources judge by themselves."""
        return isinstance(self.pattern, NoPattern)


def judged(name: str, policy: Policy | None, sources: tuple[str, ...] = ("sockets",)) -> Rule:
    """Return a rule whose offences the sources judge by themselves."""
    return Rule(name, NoPattern(), f"judged as {name}", sources, policy)


_HOUR: Final = 3600
_AN_HOUR_AND_MORE: Final = Policy(ban_for=_HOUR, escalate=4, max_ban=30 * 24 * _HOUR)
"""Of what an honest peer may look like for a while: not for good."""

RULES: Final = (
    Rule(
        "treason-uncloaked",
        LazyPattern(rf"TCP: Treason uncloaked! Peer {_PEER} shrinks window {_WINDOW}\. Repaired\."),
        "Treason uncloaked! Peer ",
        confirm=SOCKET,
    ),
    Rule(
        "unexpectedly-shrunk",
        LazyPattern(
            rf"(?:(?:MP)?TCP: )?Peer {_PEER} unexpectedly shrunk window {_WINDOW} \(repaired\)"
        ),
        "unexpectedly shrunk window",
        confirm=SOCKET,
    ),
    Rule(
        "probing-zero-window",
        LazyPattern(
            rf"Probing zero-window on {_PEER}, seq={_WINDOW}, "
            r"recv [0-9]{1,10}ms ago, lasting [0-9]{1,10}ms"
        ),
        "Probing zero-window",
        confirm=SOCKET,
    ),
    Rule(
        "shrinks-window",
        LazyPattern(
            rf"TCP: peer {_PEER} shrinks window {_WINDOW}:[0-9]{{1,10}}\. "
            r"Bad, what else can I say\?"
        ),
        " Bad, what else can I say?",
        confirm=SOCKET,
    ),
    judged(ZERO_WINDOW, _AN_HOUR_AND_MORE),
    # Each offence is an occasion; the third one in a day makes a ban.
    judged(IN_COMPANY, evolve(_AN_HOUR_AND_MORE, threshold=3, window=24 * _HOUR)),
    judged("sockstress", evolve(_AN_HOUR_AND_MORE, threshold=20, window=_HOUR)),
)


def detect(record: Record, rules: Sequence[Rule] = RULES) -> Offence | None:
    """Return the offence that the record names, or None. The first rule that matches decides.

    What a source has judged by itself is one if its rule is among the rules.
    """
    if record.judgement is not None:
        return _of_judgement(record, record.judgement, rules)
    for rule in rules:
        if rule.needle in record.text and (match := rule.pattern.fullmatch(record.text)):
            try:
                return offence(record, rule, match)
            except ValueError:
                return None
    return None


def offence(record: Record, rule: Rule, match: Match) -> Offence:
    """Read what the rule matched; raise ValueError, with the reason, if it names no peer."""
    groups = match.groupdict()
    address = Network.parse(groups["address"] or "")  # raises InvalidNetwork, which is one, too
    _check(address)
    return Offence(
        address=address,
        rule=rule.name,
        evidence=record.text,
        trusted=record.trusted,
        peer_port=_number(groups.get("peer_port"), "port", _HIGHEST_PORT),
        local_port=_number(groups.get("local_port"), "port", _HIGHEST_PORT),
        time=record.time,
        count=record.repeated * (_number(groups.get("count"), "count", _MOST) or 1),
        micros=_micros(record.monotonic),
        boot=record.boot_id and record.boot_id.replace("-", ""),
        guess=record.latest,
    )


def _of_judgement(record: Record, found: Judgement, rules: Sequence[Rule]) -> Offence | None:
    if not any(rule.judged and rule.name == found.rule for rule in rules):
        return None
    try:
        _check(found.address)
    except ValueError:
        return None
    return Offence(
        address=found.address,
        rule=found.rule,
        evidence=record.text,
        trusted=record.trusted,
        peer_port=found.peer_port,
        local_port=found.local_port,
        time=record.time,
        count=record.repeated,
        micros=_micros(record.monotonic),
        boot=record.boot_id and record.boot_id.replace("-", ""),
        guess=record.latest,
        judged=True,
    )


def _check(address: Network) -> None:
    """Raise ValueError, with the reason, where no peer can have the address."""
    if not address.is_host:
        raise ValueError(f"{address} is a network, not the address of a peer")
    if address == _NATIVE_IPV6:
        raise ValueError(f"{address} stood for every native IPv6 peer before Linux 2.6.26")
    subject = within(address)
    for first, last, kind in _NOBODY:
        if first <= subject <= last:
            raise ValueError(f"{address} can be no peer: {kind}")


def within(address: Network) -> Network:
    """Return the address of IPv4 that one of NAT64 stands for (RFC 6052 §2.2), or else itself."""
    if _NAT64 <= address <= _NAT64_END:
        return Network.of(4, address.address & 0xFFFFFFFF, 32)
    return address


def _micros(monotonic: float | None) -> int | None:
    """Return whole microseconds, where a number of seconds tells them exactly."""
    return round(monotonic * 1e6) if monotonic is not None and 0 <= monotonic < _EXACT else None


def _number(text: str | None, what: str, highest: int) -> int | None:
    """Read a number; raise ValueError if it is none, or too high."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and (number := int(text)) <= highest:
        return number
    raise ValueError(f"{text!r} is not a {what}")
