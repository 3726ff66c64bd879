"""`treason list` where feeds name networks, too."""

import json
import time

import jsonschema
import pytest
from fed import group, taken
from harness import ROOT, Place

SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())
CONFIGURED = '[feed.drop]\ntype = "list"\npath = "/nowhere"\n'


@pytest.fixture
def fed(place: Place) -> Place:
    """A place with a ban by hand, and two feeds."""
    now = int(time.time())
    place.configure(CONFIGURED)
    place.treason("ban", "198.51.100.9", "--for", "1h")
    place.treason("ban", "2001:db8::1")
    taken(
        place,
        "drop",
        group("192.0.2.0/24", "203.0.113.7", reason="SBL1", since=now - 900),
        group("198.51.100.1", member="ann", until=now + 1800, state="observed"),
    )
    taken(place, "fleet", group("192.0.2.7", member="bob", state="quarantined"))
    return place


def networks(place: Place, *options: str) -> list[str]:
    """Return the networks that are listed, in their order."""
    return [line.split("\t")[0] for line in place.treason("list", *options).out.splitlines()]


def test_own_bans_are_listed_and_feeds_are_summed_up(fed: Place) -> None:
    """A list of a million does not bury them, and results hold nothing but bans."""
    result = fed.treason("list")
    assert [line.split("\t")[0] for line in result.out.splitlines()] == [
        "198.51.100.9",
        "2001:db8::1",
    ]
    assert result.err == (
        "info: feed drop besides: 2 held, 1 observed; see: treason list --origin feed:drop\n"
        "info: feed fleet besides: 1 quarantined; see: treason list --origin feed:fleet\n"
    )
    assert fed.treason("list", "--rule", "manual").err == ""


def test_all_of_it_is_listed_together_if_asked(fed: Place) -> None:
    """In the order that was chosen; what is not enforced is marked."""
    result = fed.treason("list", "--all")
    assert result.err == ""
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [(row[0], row[3]) for row in rows] == [
        ("192.0.2.0/24", "feed:drop"),
        ("192.0.2.7", "feed:fleet (bob), quarantined"),
        ("198.51.100.1", "feed:drop (ann), observed"),
        ("198.51.100.9", "manual"),
        ("203.0.113.7", "feed:drop"),
        ("2001:db8::1", "manual"),
    ]
    assert (rows[0][2], rows[0][4]) == ("as long as named", "SBL1")
    assert networks(fed, "--all", "--sort", "until", "--limit", "3") == [
        *("198.51.100.1", "198.51.100.9", "192.0.2.0/24")
    ]
    assert networks(fed, "--all", "--sort", "since", "--since", "5m")[-1] == "198.51.100.1"
    assert networks(fed, "--all", "--sort", "offences") == [
        *("198.51.100.9", "2001:db8::1"),
        *("192.0.2.0/24", "192.0.2.7", "198.51.100.1", "203.0.113.7"),
    ]


def test_one_feed_is_listed_by_its_origin(fed: Place) -> None:
    """As by any other origin."""
    assert networks(fed, "--origin", "feed:drop") == [
        *("192.0.2.0/24", "198.51.100.1", "203.0.113.7")
    ]
    assert networks(fed, "--rule", "feed:drop", "--limit", "1") == ["192.0.2.0/24"]
    assert networks(fed, "--origin", "feed:nobody") == []


def test_json_tells_everything(fed: Place) -> None:
    """With who says so, and what is done with it."""
    value = fed.treason("list", "-o", "json").json
    jsonschema.validate(value, SCHEMA | {"$ref": "#/$defs/list"})
    told = [(ban["network"], ban["member"], ban["state"]) for ban in value["bans"]]
    assert told == [
        ("192.0.2.0/24", None, "held"),
        ("192.0.2.7", "bob", "quarantined"),
        ("198.51.100.1", "ann", "observed"),
        ("198.51.100.9", None, None),
        ("203.0.113.7", None, "held"),
        ("2001:db8::1", None, None),
    ]
    own = fed.treason("list", "-o", "json", "--rule", "manual").json["bans"]
    assert [ban["origin"] for ban in own] == ["manual", "manual"]


def test_a_wide_whitelist_entry_counts_what_feeds_name(fed: Place) -> None:
    """Since none of it would be dropped any more."""
    ended = fed.treason("whitelist", "add", "192.0.0.0/7")
    assert ended.code == 1
    assert "; 0 stored bans and 1 network of feeds would no longer be enforced" in ended.err


def test_the_history_tells_whose_word_it_was(fed: Place) -> None:
    """The feed's, with its reason; in JSON as well."""
    assert "ban\t203.0.113.7\tfeed:drop: SBL1" in fed.treason("history", "203.0.113.7").out
    [event] = fed.treason("history", "203.0.113.7", "-o", "json").json["events"]
    assert event["reason"] == "feed:drop: SBL1"
