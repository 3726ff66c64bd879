"""The ready rules, on samples of every form of their messages, and on what only looks like them."""

import json
from typing import Any

import pytest
from harness import DATA

from reconciler import Record
from reconciler.detection.detect import RULES, detect
from reconciler.detection.ready import READY, prefixed
from sources import shapes

SAMPLES = [json.loads(line) for line in (DATA / "ready-messages.jsonl").read_text().splitlines()]
CORPUS = [json.loads(line) for line in (DATA / "kernel-messages.jsonl").read_text().splitlines()]
ALL = (*RULES, *READY)


def record(text: str) -> Record:
    """Make a record of the kernel."""
    return Record(text=text, carrier="kmsg", trusted=True, facility=0)


@pytest.mark.parametrize(
    "sample", SAMPLES, ids=[f"{number}-{each['rule']}" for number, each in enumerate(SAMPLES)]
)
def test_every_sample_names_whom_it_must(sample: dict[str, Any]) -> None:
    """Rule, address and ports; a near miss names nobody."""
    offence = detect(record(sample["text"]), ALL)
    if sample["rule"] is None:
        assert offence is None, sample["why"]
    else:
        assert offence is not None, sample["why"]
        named = (offence.rule, str(offence.address), offence.peer_port, offence.local_port)
        assert named == tuple(sample[key] for key in ("rule", "address", "peer_port", "local_port"))


def test_every_ready_rule_has_samples() -> None:
    """Of what it matches."""
    assert {each["rule"] for each in SAMPLES} - {None} == {rule.name for rule in READY}


@pytest.mark.parametrize("rule", READY, ids=lambda rule: rule.name)
def test_a_ready_rule_alone_matches_its_own_samples(rule: Any) -> None:
    """Its needle stands in each; the lines of ufw are netfilter's as well."""
    matched = {each["rule"] for each in SAMPLES if detect(record(each["text"]), [rule])}
    assert matched == {rule.name} | ({"ufw-block"} if rule.name == "netfilter-log" else set())


def test_the_corpus_of_the_built_in_rules_stays_as_it_is() -> None:
    """With every ready rule on, only the martian is new."""
    new = []
    for sample in CORPUS:
        found = shapes.parse(sample["text"], trusted=True)
        if found and (offence := detect(found, ALL)) != detect(found):
            assert offence is not None
            new.append(offence.rule)
    assert new == ["martian-source"]


def test_two_ready_rules_ban_nobody() -> None:
    """A martian's sender may be anybody, and what was logged for which reason needs a prefix."""
    reporting = [rule.name for rule in READY if rule.report_only]
    assert reporting == ["netfilter-log", "martian-source"]


LOGGED = (
    "IN=eth0 OUT= MAC=00:00 SRC=203.0.113.5 DST=192.0.2.1 "
    + SAMPLES[9]["text"].partition("DST=203.0.113.1 ")[2]
)


@pytest.mark.parametrize(
    ("prefix", "before", "matches"),
    [
        ("DROP: ", "DROP: ", True),
        ("[x] (.*)", "[x] (.*)", True),
        ("DROP: ", "", False),
        ("DROP: ", "DROP:", False),
        ("DROP: ", "usb 1-1: Product: DROP: ", False),
        ("DROP: ", "thunderbolt 0-3: Evil ", False),
        ("DROP: ", "DROP: ACCEPT: ", False),
        ("[x] (.*)", "[x] (any)", False),
        ("x.", "xy", False),
    ],
)
def test_netfilter_logs_with_a_prefix_begin_with_it(
    prefix: str, before: str, matches: bool
) -> None:
    """Character by character, whatever those mean in a pattern; and ``IN=`` follows."""
    rule = prefixed(prefix)
    assert not rule.report_only
    assert (detect(record(before + LOGGED), [rule]) is not None) is matches
    assert detect(record(before + LOGGED), [READY[1]]) is not None or "usb" in before


@pytest.mark.parametrize("rule", READY, ids=lambda rule: rule.name)
def test_a_hostile_text_ends_soon(rule: Any) -> None:
    """Repetitions of what a pattern repeats cost no more than a moment, however long."""
    for piece in ("IN=eth0 OUT= ", "MAC=aa:", "SRC=1.1.1.1 ", "a", ":", " ", "OPT (AA) "):
        text = "IN=eth0 OUT= " + rule.needle + piece * 20_000
        assert detect(record(text), [rule]) is None
