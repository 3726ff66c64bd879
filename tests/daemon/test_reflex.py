"""Who is dropped before anything is stored."""

import time

import pytest
from attrs import evolve

from reconciler.daemon.reflex import Reflex
from reconciler.detection.detect import NEVER, RULES
from reconciler.detection.policy import OBSERVE, Policy
from reconciler.model import Offence
from reconciler.network import Network
from reconciler.networks import Networks

RULE = RULES[0]


def offence(address: str = "203.0.113.7", *, time: float | None = None) -> Offence:
    """Return an offence of a peer against the first rule."""
    return Offence(Network.parse(address), RULE.name, "evidence", trusted=True, time=time)


def reflex(policy: Policy | None = None, *exempt: str) -> Reflex:
    """Return one with the shipped rules."""
    spared = Networks.of(map(Network.parse, exempt))
    return Reflex(policy or Policy(), {rule.name: rule for rule in RULES}, spared)


def test_one_offence_is_enough_by_the_shipped_policy() -> None:
    """Who is exempt is cut out."""
    found = reflex(None, "203.0.113.8").dropped("file", [offence(), offence("203.0.113.8")])
    assert found == {Network.parse("203.0.113.7")}


@pytest.mark.parametrize(
    "policy",
    [Policy(threshold=2), Policy(mode=OBSERVE), Policy(max_new_bans=10)],
    ids=["threshold", "observing", "limited"],
)
def test_what_needs_the_store_waits_for_it(policy: Policy) -> None:
    """Nobody is dropped at once."""
    assert not reflex(policy).dropped("file", [offence()])


def test_a_rule_that_only_reports_drops_nobody() -> None:
    """Nor does one that there is no more."""
    rules = {RULE.name: evolve(RULE, report_only=True)}
    assert not Reflex(Policy(), rules).dropped("file", [offence()])
    assert not Reflex(Policy(), {}).dropped("file", [offence()])


def test_a_rule_with_a_policy_of_its_own_goes_by_that() -> None:
    """A threshold of its own waits for the store."""
    rules = {RULE.name: evolve(RULE, policy=Policy(threshold=2))}
    assert not Reflex(Policy(), rules).dropped("file", [offence()])
    rules = {RULE.name: evolve(RULE, policy=Policy())}
    assert Reflex(Policy(threshold=2), rules).dropped("file", [offence()])


def test_what_is_old_may_have_been_settled() -> None:
    """A lift may have come behind it: the store knows."""
    now = time.time()
    assert reflex().dropped("file", [offence(time=now - 5)])
    assert not reflex().dropped("file", [offence(time=now - 3600)])


def test_a_live_message_waits_until_it_is_confirmed() -> None:
    """Unless its rule says that nothing has to confirm it, or no kernel wrote it."""
    live = evolve(reflex(), live=frozenset({"kmsg"}))
    assert not live.dropped("kmsg", [offence()])
    assert live.dropped("file", [offence()])
    assert live.dropped("kmsg", [evolve(offence(), trusted=False)])
    assert evolve(live, rules={RULE.name: evolve(RULE, confirm=NEVER)}).dropped("kmsg", [offence()])


def test_a_network_of_ipv6_is_cut_around_who_is_exempt() -> None:
    """As a pass cuts it."""
    found = reflex(Policy(ipv6_prefix=64), "2001:db8::1").dropped("file", [offence("2001:db8::7")])
    assert found
    assert not any(each <= Network.parse("2001:db8::1") <= each.end for each in found)
    assert any(each <= Network.parse("2001:db8::7") <= each.end for each in found)
