"""What feeds say of a network, as `treason why` tells it."""

import json
from pathlib import Path

import jsonschema
import pytest
from fed import group, taken
from feedfiles import nets, singles, write
from harness import ROOT, Place

from reconciler.execute import run
from reconciler.feeding import FeedGroup

CONFIGURED = '[feed.drop]\ntype = "list"\npath = "/nowhere"\n'
SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())


def blocklist(place: Place) -> Path:
    """Let the firewall be a list in a file, and return it."""
    path = place.path / "banned.txt"
    place.configure(CONFIGURED, main=f'sources = []\nbackends = ["file:{path}"]')
    return path


@pytest.mark.parametrize(
    ("state", "more", "answer"),
    [
        ("held", {}, "though 203.0.113.0/24 around it is banned by the feed drop, as long as that"),
        (
            "held",
            {"until": 4_000_000_000},
            "is banned by the feed drop, until 2096-10-02T07:06:40Z",
        ),
        ("observed", {}, "the feed drop (ann) names it, but that is only observed (mode in"),
        ("quarantined", {}, "this member named more than max_new allows: treason feed show drop."),
    ],
)
def test_the_answer_names_the_feed(
    state: str, more: dict[str, int], answer: str, place: Place
) -> None:
    """And why nothing is dropped because of it, if that is so."""
    blocklist(place)
    taken(place, "drop", group("203.0.113.0/24", member="ann", reason="x", state=state, **more))
    result = place.treason("why", "203.0.113.7")
    assert answer in result.out.splitlines()[0]
    assert "203.0.113.0/24 by the feed drop (ann), since " in result.out
    assert ("not enforced: " in result.out) == (state != "held")
    value = place.treason("why", "203.0.113.7", "-o", "json").json
    jsonschema.validate(value, SCHEMA | {"$ref": "#/$defs/why"})
    [told] = value["feeds"]
    assert (told["feed"], told["member"], told["state"], told["networks"]) == (
        *("drop", "ann", state),
        ["203.0.113.0/24"],
    )
    assert value["wanted"] == (["203.0.113.7"] if state == "held" else [])


def test_an_own_ban_is_told_before_a_feeds(place: Place) -> None:
    """Of the same network; else it is the narrower one."""
    blocklist(place)
    taken(place, "drop", group("203.0.113.7"), group("198.51.100.0/24"))
    place.treason("ban", "203.0.113.7", "--reason", "own")
    place.treason("ban", "198.51.100.0/23", "--reason", "own")
    first = place.treason("why", "203.0.113.7").out.splitlines()[0]
    assert "banned by hand, permanently" in first
    first = place.treason("why", "198.51.100.7").out.splitlines()[0]
    assert "198.51.100.0/24 around it is banned by the feed drop" in first


def test_the_whitelist_exempts_what_a_feed_names(place: Place) -> None:
    """It passes, for a reason; and a part of a network that is exempt is not wanted."""
    blocklist(place)
    taken(place, "drop", group("203.0.113.0/30"))
    place.treason("whitelist", "add", "203.0.113.1", "--comment", "office")
    first = place.treason("why", "203.0.113.1").out.splitlines()[0]
    assert first == (
        "203.0.113.1 passes: it is whitelisted by 203.0.113.1 (office), though 203.0.113.0/30"
        " around it is banned by the feed drop, as long as that names it."
    )
    value = place.treason("why", "203.0.113.0/24", "-o", "json").json
    assert value["wanted"] == ["203.0.113.0", "203.0.113.2/31"]


def test_very_much_in_a_network_is_told_in_a_few_lines(place: Place) -> None:
    """The first networks of the first groups, and how many there are."""
    blocklist(place)
    hosts = [f"203.0.113.{number}" for number in range(200)]
    some = [group(*hosts[at::10], reason=f"list {at}") for at in range(10)]
    taken(place, "drop", *some)
    out = place.treason("why", "203.0.113.0/24").out
    assert "203.0.113.0, 203.0.113.10, 203.0.113.20, 203.0.113.30, 203.0.113.40, ... by" in out
    assert "and 5 more groups of networks in it" in out
    value = place.treason("why", "203.0.113.0/24", "-o", "json").json
    assert [each["number"] for each in value["feeds"]] == [20] * 10
    assert [len(each["networks"]) for each in value["feeds"]] == [10] * 10


def test_expect_goes_by_what_is_dropped(place: Place) -> None:
    """A list drops no packets: what a feed names is not dropped by it."""
    blocklist(place)
    taken(place, "drop", group("203.0.113.7"))
    assert place.treason("why", "203.0.113.7", "--expect", "dropped").code == 1
    assert place.treason("why", "203.0.113.7", "--expect", "passed").code == 0


def test_what_the_kernel_drops_for_a_feed_has_its_name(place: Place, host: None) -> None:
    """In the first line, exactly; and a test of it succeeds, until nothing of it is held."""
    own = place.path / "drop.db"
    place.configure(f'{CONFIGURED}store = "{own}"', main="sources = []")
    write(own, [FeedGroup(nets("203.0.113.0/24"), "ann", "scans")])
    assert place.treason("reconcile").code == 0
    result = place.treason("why", "203.0.113.7", "--expect", "dropped")
    assert result.code == 0
    assert result.out.splitlines()[0] == (
        "203.0.113.7 is dropped by nftables: 203.0.113.0/24 around it is banned by the feed drop,"
        " as long as that names it."
    )
    place.treason("pause")
    first = place.treason("why", "203.0.113.7").out.splitlines()[0]
    assert first == "203.0.113.7 passes: enforcement is paused until treason resume."
    place.treason("resume")
    place.configure(f'{CONFIGURED}store = "{own}"\nmode = "observe"', main="sources = []")
    assert place.treason("reconcile").code == 0
    result = place.treason("why", "203.0.113.7", "--expect", "passed")
    assert result.code == 0
    assert "the feed drop (ann) names it, but that is only observed" in result.out


TEREDO = "2001:0:c000:201::34ff:8efa"
"""A client of Teredo behind 203.0.113.5 (RFC 4380 §4)."""


def test_a_client_of_teredo_that_stands_for_us_is_protected_from_feeds_too(
    place: Place, host: None
) -> None:
    """As if it were banned by hand: no feed can have our own address dropped."""
    run(["ip", "addr", "add", "203.0.113.5/32", "dev", "lo"])
    path, own = blocklist(place), place.path / "drop.db"
    place.config.write_text(
        place.config.read_text().replace('"/nowhere"', f'"/x"\nstore = "{own}"')
    )
    write(own, [FeedGroup(nets(TEREDO, "2a00::1", "192.0.2.1"))])
    assert place.treason("reconcile").code == 0
    assert path.read_text().split() == ["192.0.2.1", "2a00::1"]
    first = place.treason("why", TEREDO).out.splitlines()[0]
    assert "it is protected (own address, as 203.0.113.5 in IPv6)" in first
    assert TEREDO in place.treason("status", "--protection").out


def test_what_a_feed_names_and_no_pass_takes_is_explained(place: Place) -> None:
    """Private space, what is too wide, and what no pass believes; each time the first line."""
    blocklist(place)
    own = place.path / "drop.db"
    place.config.write_text(
        place.config.read_text().replace('"/nowhere"', f'"/x"\nstore = "{own}"')
    )
    write(own, [FeedGroup(nets("10.9.0.0/16", "2.0.0.0/7") | singles(20))])
    assert "no pass has taken that" in place.treason("why", "1.0.0.7").out
    assert place.treason("reconcile").code == 0
    cut, wide, never = (
        place.treason("why", each).out.splitlines()[0]
        for each in ("10.9.8.7", "3.4.5.6", "198.51.100.7")
    )
    assert cut.endswith("the feed drop names it, but private space is cut out of what feeds say.")
    assert "the feed drop names it, but it is refused, being wider than /8" in wide
    assert never == "198.51.100.7 passes: it is not banned."
    assert "untaken" not in place.treason("why", "1.0.0.7").out
    write(own, [FeedGroup(nets("198.51.100.7"))])
    assert place.treason("reconcile").code == 1
    result = place.treason("why", "198.51.100.7", "-o", "json")
    jsonschema.validate(result.json, SCHEMA | {"$ref": "#/$defs/why"})
    [told] = result.json["untaken"]
    assert (told["feed"], told["networks"]) == ("drop", ["198.51.100.7"])
    assert "treason feed show drop" in result.json["answer"]
    own.write_text("<html>")
    assert place.treason("why", "198.51.100.7", "-o", "json").json["untaken"] == []
