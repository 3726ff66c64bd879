"""The policy: which offences make a ban."""

import pytest
from attrs import evolve

from reconciler import Network
from reconciler.detection.policy import Past, Policy, decide
from reconciler.model import Offence

A, B = Network.parse("192.0.2.1"), Network.parse("192.0.2.2")
NOW = 1_000_000


def offence(address: Network, *, port: int | None = 1, time: float | None = NOW) -> Offence:
    """Make an offence of one connection."""
    local = None if port is None else 80
    return Offence(
        address, "rule", "text", trusted=True, peer_port=port, local_port=local, time=time
    )


def test_by_default_one_offence_is_a_permanent_ban() -> None:
    """Each offender is banned once, for good, in the order of first offence."""
    bans = decide([offence(B), offence(A), offence(B)], Past(), Policy(), NOW)
    assert [(ban.network, ban.since, ban.until, ban.origin) for ban in bans] == [
        (B, NOW, None, "rule"),
        (A, NOW, None, "rule"),
    ]


def test_a_ban_ends_after_ban_for() -> None:
    """The end is counted from now, not from the offence."""
    [ban] = decide([offence(A, time=5)], Past(), Policy(ban_for=60), NOW)
    assert ban.until == NOW + 60


def test_the_threshold_counts_connections_within_the_window() -> None:
    """Two distinct connections within the window reach a threshold of two; farther apart not."""
    policy = Policy(threshold=2, window=600)
    near = [offence(A, port=1, time=NOW - 600), offence(A, port=2)]
    far = [offence(A, port=1, time=NOW - 601), offence(A, port=2)]
    assert [ban.network for ban in decide(near, Past(), policy, NOW)] == [A]
    assert decide(far, Past(), policy, NOW) == []


def test_repeats_of_one_connection_count_once() -> None:
    """One connection that is reported three times does not reach a threshold of two."""
    assert decide([offence(A)] * 3, Past(), Policy(threshold=2), NOW) == []


def test_offences_without_ports_count_each() -> None:
    """Where a rule tells no ports, each message counts as a connection."""
    assert len(decide([offence(A, port=None)] * 2, Past(), Policy(threshold=2), NOW)) == 1


def test_stored_offences_help_to_reach_the_threshold() -> None:
    """What an earlier pass stored counts, but bans nobody who did nothing new."""
    policy = Policy(threshold=2)
    assert [b.network for b in decide([offence(A)], Past([offence(A, port=2)]), policy, NOW)] == [A]
    assert decide([], Past([offence(A), offence(A, port=2)]), policy, NOW) == []


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::c000:201", "64:ff9b::c000:201"),
        ("64:ff9b:1::c000:201", "64:ff9b:1::c000:201"),
        ("64:ff9b:1:c000:2:100::", "64:ff9b:1:c000:2:100::"),
        ("64:ff9b:2:3::1", "64:ff9b:2:3::/64"),
        ("2001:0:c000:201::1", "2001:0:c000:201::1"),
        ("2002:c000:201:7::1", "2002:c000:201:7::/64"),
    ],
)
def test_who_is_counted_and_banned_for_an_address(address: str, subject: str) -> None:
    """IPv6 by its network, but IPv4 alone, also where it is written as IPv6 (RFC 6052)."""
    assert str(Policy(ipv6_prefix=64).subject(Network.parse(address))) == subject


def test_a_site_of_6to4_is_the_widest_that_is_banned_from_there() -> None:
    """Wider networks are of several addresses of IPv4; elsewhere they are as configured."""
    policy = Policy(ipv6_prefix=40)
    subjects = [str(policy.subject(Network.parse(f"{n}:c000:201::1"))) for n in ("2002", "2003")]
    assert subjects == ["2002:c000:201::/48", "2003:c000:200::/40"]


@pytest.mark.parametrize("apart", ["2001:db8:1:2::53", "2001:db8:1::/48", "2001:db8:1:2:8000::/65"])
def test_a_peer_beside_who_stands_apart_is_counted_alone(apart: str) -> None:
    """Whether that is an address in his network, the network itself, or a part; others are not."""
    policy = evolve(Policy(ipv6_prefix=64), apart=(Network.parse(apart),))
    assert str(policy.subject(Network.parse("2001:db8:1:2::66"))) == "2001:db8:1:2::66"
    assert str(policy.subject(Network.parse("2001:db8:2:2::66"))) == "2001:db8:2:2::/64"
