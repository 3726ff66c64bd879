"""The commands about feeds."""

import json
from pathlib import Path

import jsonschema
import pytest
from fed import group, taken
from feedfiles import nets, singles, write
from harness import ROOT, Place

from reconciler import FeedUnreadable
from reconciler.feeding import FeedGroup
from reconciler.feeds import outbox
from reconciler.feeds.outbox import Told
from reconciler.feeds.remarks import Keeper

SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())


def hold(value: object, name: str) -> None:
    """Hold a result against the schema of its command."""
    jsonschema.validate(value, SCHEMA | {"$ref": f"#/$defs/{name}"})


@pytest.fixture
def own(place: Place) -> Path:
    """The own file of the feed `drop`, not written yet; the firewall is a list in a file."""
    path = place.path / "drop" / "feed.db"
    path.parent.mkdir()
    configure(place, path)
    return path


def configure(place: Place, path: Path, more: str = "") -> None:
    """Configure the feed, with more keys."""
    place.configure(
        f'[feed.drop]\ntype = "list"\npath = "/nowhere"\nstore = "{path}"\n{more}',
        main=f'sources = []\nbackends = ["file:{place.path}/banned.txt"]',
    )


def banned(place: Place) -> int:
    """Return how many networks are enforced."""
    return len((place.path / "banned.txt").read_text().split())


def row(place: Place) -> dict[str, str]:
    """Return what the only row of the list says, by its columns."""
    numbers = ("held", "observed", "quarantined", "cut", "refused")
    names = ("feed", "type", "mode", "members", *numbers, "taken", "refreshed", "next")
    [line] = place.treason("feed", "list").out.splitlines()
    return dict(zip((*names, "note", "trouble"), line.split("\t"), strict=True))


def test_feeds_are_listed_from_the_beginning(own: Path, place: Place) -> None:
    """Never taken, then what was taken of it, then what keeps more from being taken."""
    assert row(place)["taken"] == "never"
    assert row(place)["trouble"].startswith("no pass has taken anything of it yet: ")
    assert place.treason("feed", "list").code == 1
    write(own, [FeedGroup(nets("192.0.2.0/24", "10.0.0.0/8", "0.0.0.0/1"))])
    assert place.treason("reconcile").code == 0
    told = row(place)
    assert [told[name] for name in ("type", "mode", "held", "cut", "refused", "trouble")] == [
        *("list", "enforce", "1", "1", "1"),
        "",
    ]
    assert told["refreshed"] < told["next"]
    assert place.treason("feed", "list").code == 0
    own.write_text("<html>")
    assert place.treason("reconcile").code == 1
    assert "not an SQLite database" in row(place)["trouble"]
    result = place.treason("feed", "list", "-o", "json")
    hold(result.json, "feed-list")
    assert (result.code, result.json["feeds"][0]["held"]) == (1, 1)


def test_a_feed_that_is_not_configured_any_more_is_listed(place: Place) -> None:
    """As long as something of it is held."""
    taken(place, "old", group("192.0.2.1"))
    told = row(place)
    assert (told["feed"], told["held"], told["type"]) == ("old", "1", "")
    assert told["trouble"].startswith("it is not configured any more; ")
    assert place.treason("feed", "show", "old").code == 1
    hold(place.treason("feed", "show", "old", "-o", "json").json, "feed-show")


def test_all_that_is_known_of_a_feed_is_shown(own: Path, place: Place) -> None:
    """Its members, its groups, its settings, and the first of its networks."""
    many = [f"203.0.113.{number}" for number in range(30)]
    taken(
        place,
        "drop",
        group(*many, member="ann", reason="port scan"),
        group(member="ann", reason="all of it was cut"),
        group("192.0.2.7", member="bob\x1b", state="quarantined", until=4_000_000_000),
        epoch="one\x1b",
        cut=2,
        refused=1,
        quarantined=frozenset({"bob\x1b"}),
    )
    result = place.treason("feed", "show", "drop")
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    for line in (
        "quarantined bob\\x1b named more than max_new allows: 1 network not enforced",
        "to enforce what it names: treason feed accept drop",
        "networks 30 held, 1 quarantined",
        "not taken 2 cut (private space), 1 refused; which ones: treason feed run drop -v",
        "epoch one\\x1b",
        f"own file {own}",
        "groups 30 networks as long as named: port scan",
        "first 203.0.113.0",
        "and 21 more",
        "all treason feed show drop --networks",
        "refresh 1h",
        "max_entries 1000000",
        "path /nowhere",
        "min_prefix ipv4 8, ipv6 19",
        "publish none",
        "private false",
    ):
        assert line in lines, line
    assert "all of it was cut" not in result.out
    [first] = [number for number, line in enumerate(lines) if line.startswith("members ")]
    for line, start in zip(lines[first:], ("members bob\\x1b: 1 quarantined", "ann: 30 held"),
                           strict=False):  # fmt: skip
        assert line.startswith(f"{start}, the newest of ")
    value = place.treason("feed", "show", "drop", "-o", "json").json
    hold(value, "feed-show")
    assert [each["number"] for each in value["groups"]] == [30, 1]
    assert [(each["member"], each["held"], each["quarantined"]) for each in value["by_member"]] == [
        ("bob\x1b", 0, 1),
        ("ann", 30, 0),
    ]
    assert value["by_member"][0]["newest"] == value["groups"][1]["since"]
    assert value["member_count"] == 2
    assert value["settings"]["refresh"] == 3600


def test_all_networks_of_a_feed_are_shown_if_asked(own: Path, place: Place) -> None:
    """As a list of bans, in both forms."""
    taken(place, "drop", group("203.0.113.0/24", "192.0.2.7"))
    out = place.treason("feed", "show", "drop", "--networks").out
    assert [line.split("\t")[0] for line in out.splitlines()] == ["192.0.2.7", "203.0.113.0/24"]
    value = place.treason("feed", "show", "drop", "--networks", "-o", "json").json
    hold(value, "list")
    assert len(value["bans"]) == 2


@pytest.mark.parametrize("command", ["show", "accept"])
def test_an_unknown_feed_is_refused_with_the_known_ones(
    command: str, own: Path, place: Place
) -> None:
    """Or with what to write, where there is none."""
    ended = place.treason("feed", command, "dorp")
    assert (ended.code, ended.err) == (1, "treason: no feed is named 'dorp'\n  known: drop\n")
    place.configure()
    assert "has no table [feed.NAME]" in place.treason("feed", command, "dorp").err


def test_what_was_refused_can_be_accepted(own: Path, place: Place) -> None:
    """Once: it tells what that exceeds, and what was taken; then it is in force."""
    write(own, [FeedGroup(singles(20))])
    assert place.treason("reconcile").code == 0
    write(own, [FeedGroup(singles(5))])
    assert place.treason("reconcile").code == 1
    assert banned(place) == 20
    accepted = place.treason("feed", "accept", "drop")
    assert accepted.code == 0
    first, second, *_ = accepted.out.splitlines()
    assert first == (
        "feed drop: accepted, though 15 of 20 networks are missing at once, more than a share of"
        " 0.5, set by max_removals"
    )
    assert second == "feed drop: 15 removed"
    assert banned(place) == 5
    assert row(place)["trouble"] == ""
    assert place.treason("reconcile").code == 0
    assert place.treason("feed", "accept", "drop").out.startswith("feed drop: accepted\n")


def test_who_was_quarantined_can_be_accepted(own: Path, place: Place) -> None:
    """Then what they named is enforced."""
    configure(place, own, "max_new = 3")
    write(own, [FeedGroup(singles(1), "ann")])
    assert place.treason("reconcile").code == 0
    write(own, [FeedGroup(singles(9), "ann")])
    assert "8 quarantined (ann)" in place.treason("reconcile").out
    assert (row(place)["quarantined"], banned(place)) == ("8", 1)
    assert place.treason("feed", "accept", "drop").code == 0
    assert (row(place)["quarantined"], banned(place)) == ("0", 9)


def test_what_cannot_be_read_cannot_be_accepted(own: Path, place: Place) -> None:
    """What was taken before stays."""
    write(own, [FeedGroup(singles(20))])
    assert place.treason("reconcile").code == 0
    own.write_text("<html>")
    ended = place.treason("feed", "accept", "drop")
    assert ended.code == 1
    assert "accepted" not in ended.out
    assert f"feed drop: {own}: " in ended.err
    assert banned(place) == 20


def test_status_tells_of_feeds(own: Path, place: Place) -> None:
    """How much each names, since when, who is quarantined; trouble ends with 1."""
    ended = place.treason("status")
    assert (ended.code, "feed drop" in ended.out) == (1, True)
    assert "no pass has taken anything of it yet" in ended.out
    configure(place, own, "max_new = 3")
    write(own, [FeedGroup(singles(1), "ann")])
    assert place.treason("reconcile").code == 0
    write(own, [FeedGroup(singles(9), "ann")])
    assert place.treason("reconcile").code == 0
    ended = place.treason("status")
    assert ended.code == 0
    assert "1 held, 8 quarantined of 1 member; taken: " in ended.out
    assert "ann named more than max_new allows: 8 networks not enforced; see: " in ended.out
    own.write_text("<html>")
    assert place.treason("reconcile").code == 1
    result = place.treason("status", "-o", "json")
    hold(result.json, "status")
    [told] = result.json["feeds"]
    assert (result.code, told["members"]) == (1, ["ann"])
    assert "not an SQLite database" in told["trouble"]
    assert result.json["desired"] == 1


def test_status_of_no_feeds_says_nothing_of_them(place: Place, host: None) -> None:
    """As for most people."""
    place.configure(main=f'sources = []\nbackends = ["file:{place.path}/banned.txt"]')
    assert place.treason("status", "-o", "json").json["feeds"] == []
    assert "\nfeed " not in place.treason("status").out


def test_what_a_feeds_process_says_is_shown(own: Path, place: Place) -> None:
    """Its notes, and since when it fails, without what a terminal would obey."""
    write(own, [FeedGroup(nets("192.0.2.1"))])
    assert place.treason("reconcile").code == 0
    keeper = Keeper(own, lambda: 1_700_000_000)
    keeper.read(None, [f"odd\x1b {number}" for number in range(120)])
    assert (row(place)["note"], row(place)["trouble"]) == ("odd? 0 (and 119 more)", "")
    assert "odd? 0 (and 119 more)\n" in place.treason("status").out
    assert place.treason("status").code == 0
    shown = place.treason("feed", "show", "drop").out
    assert "odd? 99\n" in shown
    assert "and 20 more: treason feed run drop -v\n" in shown
    keeper.read(FeedUnreadable("feed drop: no server answers", "start it"))
    failed = "it has failed since 2023-11-14T22:13:20Z ("
    told = row(place)["trouble"]
    assert told.startswith(failed)
    assert told.endswith(" ago): no server answers")
    for command in (("status",), ("feed", "list"), ("feed", "show", "drop")):
        ended = place.treason(*command)
        assert (ended.code, failed in ended.out) == (1, True)
        result = place.treason(*command, "-o", "json")
        hold(result.json, "-".join(command[:2]))
        [value] = result.json.get("feeds", [result.json])
        assert value["failure"] == value["trouble"] == "no server answers\n  start it"
        assert value["failing_since"] == "2023-11-14T22:13:20Z"
        assert (len(value["notes"]), value["note_count"], value["unpublished"]) == (100, 120, None)
    own.write_text("<html>")
    assert place.treason("reconcile").code == 1
    shown = place.treason("feed", "show", "drop").out
    assert "not an SQLite database" in shown
    assert failed in shown


def test_what_a_feed_has_not_published_is_shown(own: Path, place: Place) -> None:
    """How much, and since when; not for one that publishes nothing."""
    write(own)
    told = outbox.of(place.database, "drop")
    configure(place, own, 'publish = ["manual"]')
    assert place.treason("reconcile").code == 0
    assert "all that is to be told" in place.treason("feed", "show", "drop").out
    outbox.write(told, [Told(network) for network in singles(3)], 1_700_000_000)
    write(own, then=f"UPDATE feed SET published = {outbox.read(told, 0)[0].id}")  # noqa: S608 - a number
    waits = "2 changes not published yet, the first of 2023-11-14T22:13:20Z ("
    for command in (("status",), ("feed", "show", "drop")):
        ended = place.treason(*command)
        assert (ended.code, waits in ended.out) == (0, True)
    result = place.treason("feed", "list", "-o", "json")
    hold(result.json, "feed-list")
    assert result.json["feeds"][0]["unpublished"] == {
        "number": 2,
        "since": "2023-11-14T22:13:20Z",
        "error": None,
        "failure": None,
        "failing_since": None,
    }
    Keeper(own, lambda: 1_700_000_100).told(FeedUnreadable("feed drop: no server", "start it"))
    failed = "publishing has failed since 2023-11-14T22:15:00Z ("
    for command in (("status",), ("feed", "show", "drop")):
        ended = place.treason(*command)
        assert (ended.code, failed in ended.out, "no server" in ended.out) == (0, True, True)
    result = place.treason("feed", "list", "-o", "json")
    hold(result.json, "feed-list")
    assert result.json["feeds"][0]["unpublished"]["failure"] == "no server\n  start it"
    assert result.json["feeds"][0]["failure"] is None
    told.write_bytes(b"x" * 5000)
    value = place.treason("feed", "show", "drop", "-o", "json").json
    hold(value, "feed-show")
    assert value["unpublished"]["number"] is None
    assert f"{told}: cannot read it: " in place.treason("feed", "show", "drop").out
