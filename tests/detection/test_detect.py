"""Detection of the kernel's messages."""

import re

import pytest
from attrs import evolve

from reconciler import Judgement, Network, Record
from reconciler.detection.detect import RULES, Rule, detect

U = "3207520931:3207522811"
SIX = "2001:0db8:0000:0000:0000:0000:0000:0001"
MAPPED = "0000:0000:0000:0000:0000:ffff:c000:0201"


def record(text: str, *, trusted: bool = True) -> Record:
    """Make a record of the kernel."""
    return Record(text=text, carrier="kmsg", trusted=trusted)


@pytest.mark.parametrize(
    ("text", "rule", "address"),
    [
        (f"TCP: Treason uncloaked! Peer 192.0.2.1:4638/8080 shrinks window {U}. Repaired.",
         "treason-uncloaked", "192.0.2.1"),
        (f"TCP: Peer 192.0.2.1:4638/8080 unexpectedly shrunk window {U} (repaired)",
         "unexpectedly-shrunk", "192.0.2.1"),
        (f"Peer {SIX}:4638/8080 unexpectedly shrunk window {U} (repaired)",
         "unexpectedly-shrunk", "2001:db8::1"),
        (f"MPTCP: Peer 192.0.2.1:4638/8080 unexpectedly shrunk window {U} (repaired)",
         "unexpectedly-shrunk", "192.0.2.1"),
        (f"Probing zero-window on 192.0.2.1:4638/8080, seq={U}, recv 209ms ago, lasting 1209ms",
         "probing-zero-window", "192.0.2.1"),
        (f"TCP: peer 192.0.2.1:4638/8080 shrinks window {U}:3207522811. Bad, what else can I say?",
         "shrinks-window", "192.0.2.1"),
        (f"Peer {MAPPED}:4638/8080 unexpectedly shrunk window {U} (repaired)",
         "unexpectedly-shrunk", "192.0.2.1"),
    ],
)  # fmt: skip
def test_every_historical_form_names_its_peer(text: str, rule: str, address: str) -> None:
    """Each form gives rule, canonical address, both ports and the text as evidence."""
    offence = detect(record(text))
    assert offence is not None
    assert (offence.rule, str(offence.address)) == (rule, address)
    assert (offence.peer_port, offence.local_port) == (4638, 8080)
    assert offence.evidence == text


@pytest.mark.parametrize(
    "text",
    [
        f"usb 1-1: Product: TCP: Treason uncloaked! Peer 1.2.3.4:1/2 shrinks window {U}. Repaired.",
        f"TCP: Treason uncloaked! Peer 1.2.3.4:1/2 shrinks window {U}. Repaired. more",
        f"TCP: Treason uncloaked! Peer 1.2.3.4:1/2 shrinks window {U}. Repaired.\n",
        f"TCP: Treason uncloaked! Peer 1.2.3.4:65536/2 shrinks window {U}. Repaired.",
        f"TCP: Treason uncloaked! Peer 1.2.3.4:01/2 shrinks window {U}. Repaired.",
        f"TCP: Treason uncloaked! Peer 256.2.3.4:1/2 shrinks window {U}. Repaired.",
        f"TCP: Treason uncloaked! Peer 2001:db8::1:1/2 shrinks window {U}. Repaired.",
        f"TCP: Treason uncloaked! Peer 127.0.0.6:1/2 shrinks window {U}. Repaired.",
    ],
)
def test_near_misses_name_nobody(text: str) -> None:
    """Words inside other words, impossible peers, and 127.0.0.6 are no offence."""
    assert detect(record(text)) is None


def test_trust_travels_with_the_offence() -> None:
    """An offence in a record that nobody vouches for says so."""
    text = f"TCP: Peer 192.0.2.1:1/2 unexpectedly shrunk window {U} (repaired)"
    offence = detect(record(text, trusted=False))
    assert offence is not None
    assert not offence.trusted


@pytest.mark.parametrize(("micros", "known"), [(4294967295999999, True), (4294967296000001, False)])
def test_the_time_since_boot_is_told_as_long_as_it_is_exact(micros: int, known: bool) -> None:
    """For 136 years: two sources match their records by it."""
    text = f"TCP: Peer 192.0.2.1:1/2 unexpectedly shrunk window {U} (repaired)"
    found = detect(evolve(record(text), monotonic=float(f"{micros // 10**6}.{micros % 10**6:06}")))
    assert found is not None
    assert found.micros == (micros if known else None)


def test_a_rule_of_ones_own_needs_no_ports() -> None:
    """A rule that names only an address yields an offence without ports."""
    rule = Rule(
        "martian", re.compile(r"martian source \S+ from (?P<address>\S+), on .*"), "martian"
    )
    offence = detect(record("martian source 10.0.0.1 from 192.0.2.1, on dev eth0"), [*RULES, rule])
    assert offence is not None
    assert (offence.rule, offence.address) == ("martian", Network.parse("192.0.2.1"))
    assert offence.peer_port is None


def test_messages_of_a_million_digits_end_soon() -> None:
    """A hostile text costs no more than its length."""
    assert detect(record("TCP: Peer " + "1." * 500_000 + " unexpectedly shrunk window")) is None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.9.9.9",
        "224.0.0.1",
        "239.1.2.3",
        "255.255.255.255",
        "0064:ff9b:0000:0000:0000:0000:7f00:0001",
        "0064:ff9b:0000:0000:0000:0000:e000:0001",
        "0000:0000:0000:0000:0000:0000:7f00:0001",
    ],
)
def test_what_can_be_no_peer_is_no_offence(address: str) -> None:
    """Unspecified, loopback, multicast and broadcast, in IPv4 and in IPv6; others are."""
    text = f"Peer {address}:1/2 unexpectedly shrunk window {U} (repaired)"
    assert detect(record(text)) is None


@pytest.mark.parametrize("head", ["0000", "ff02", "ff05"])
def test_what_can_be_no_peer_in_ipv6_is_no_offence(head: str) -> None:
    """``::``, ``::1`` and groups."""
    for last in ("0000", "0001"):
        address = ":".join([head, *["0000"] * 6, last])
        text = f"Peer {address}:1/2 unexpectedly shrunk window {U} (repaired)"
        assert detect(record(text)) is None


@pytest.mark.parametrize("address", ["1.0.0.0", "126.255.255.255", "223.255.255.255", "240.0.0.1"])
def test_their_neighbours_are_peers_as_any_other(address: str) -> None:
    """The edges of those networks."""
    text = f"Peer {address}:1/2 unexpectedly shrunk window {U} (repaired)"
    found = detect(record(text))
    assert found is not None
    assert str(found.address) == address


def verdict(rule: str, address: str = "192.0.2.1") -> Record:
    """Make a record that a source has judged by itself."""
    who = Judgement(rule, Network.parse(address), 4638, 8080)
    return Record("seen", "sockets", trusted=True, time=7.0, judgement=who)


def test_what_a_source_has_judged_is_an_offence() -> None:
    """No pattern is held against it, and its text is the evidence."""
    offence = detect(verdict("zero-window"))
    assert offence is not None
    assert (offence.rule, str(offence.address), offence.evidence) == (
        "zero-window", "192.0.2.1", "seen",
    )  # fmt: skip
    assert (offence.peer_port, offence.local_port, offence.time) == (4638, 8080, 7.0)


@pytest.mark.parametrize("rule", ["nobody's", "treason-uncloaked"])
def test_what_is_judged_by_no_rule_that_sources_judge_is_none(rule: str) -> None:
    """Nor by one that has a pattern."""
    assert detect(verdict(rule)) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "224.0.0.1", "192.0.2.0/24"])
def test_nobody_is_judged_who_can_be_no_peer(address: str) -> None:
    """As with the kernel's messages."""
    assert detect(verdict("zero-window", address)) is None


def test_no_text_matches_a_rule_that_sources_judge() -> None:
    """Not even its needle."""
    for rule in RULES:
        if rule.judged:
            assert detect(record(rule.needle), [rule]) is None
            assert rule.pattern.search(rule.needle) is None
