"""What a pass tells of feeds."""

import json
from typing import Any

import jsonschema
from feedfiles import nets, singles, write
from harness import ROOT, Place

from reconciler.feeding import FeedGroup
from reconciler.feeds.limits import Judged
from reconciler.networks import NOTHING
from reconciler.passes.taking import FeedReading
from reconciler.report import feeds

SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())


def judged(*groups: FeedGroup, **more: Any) -> Judged:
    """Return what was taken."""
    plain = {"cut": NOTHING, "refused": (), "quarantined": frozenset()}
    return Judged(groups, NOTHING, NOTHING, **{**plain, **more})


def test_all_that_became_of_a_feed_is_one_line() -> None:
    """Each kind with its number; what has not changed is not told."""
    found = judged(
        FeedGroup(nets("192.0.2.1")),
        FeedGroup(nets("192.0.2.2", "192.0.2.3"), "ann", state="quarantined"),
        FeedGroup(nets("192.0.2.4"), state="observed"),
        cut=nets("10.0.0.0/8"),
        refused=(("wider than /8, the limit set by min_prefix", nets("2.0.0.0/7")),),
        quarantined=frozenset({"ann", "bob\x1b"}),
    )
    reading = FeedReading("drop", nets("192.0.2.1"), nets("192.0.2.9"), found)
    quiet = [FeedReading("a"), FeedReading("b", error="no"), FeedReading("c", judged=judged())]
    [line] = feeds.readings([*quiet, reading])
    assert line == (
        "feed drop: 1 added, 1 removed, 1 only observed, 2 quarantined (ann, bob\\x1b),"
        " 1 cut (private space), 1 refused (wider than /8, the limit set by min_prefix)"
    )
    [line] = feeds.readings([reading], check=True)
    assert line.startswith("feed drop: 1 to add, 1 to remove, ")


def test_verbosely_the_first_networks_are_told() -> None:
    """Of a million no more than twenty."""
    reading = FeedReading("drop", singles(25), NOTHING, judged())
    lines = [*feeds.readings([reading], verbose=True)]
    assert lines[:2] == ["feed drop: 25 added", "  added: 1.0.0.0"]
    assert lines[-1] == "  added: and 5 more"
    assert len(lines) == 22


def test_a_pass_tells_it_in_text_and_json(place: Place, host: None) -> None:
    """What cannot be read is an error that names the feed, and the pass ends with 1."""
    store = place.path / "a.db"
    backend = f'sources = []\nbackends = ["file:{place.path}/banned.txt"]'
    place.configure(f'[feed.a]\ntype = "list"\npath = "/x"\nstore = "{store}"', main=backend)
    write(store, [FeedGroup(nets("192.0.2.0/24", "192.168.0.0/16"))])
    check = place.treason("reconcile", "--check")
    assert "feed a: 1 to add, 1 cut (private space)" in check.out
    value = place.treason("reconcile", "-o", "json").json
    jsonschema.validate(value, SCHEMA | {"$ref": "#/$defs/reconcile"})
    [told] = value["feeds"]
    assert (told["feed"], told["changed"], told["added"], told["cut"]) == ("a", True, 1, 1)
    assert "feed a" not in place.treason("reconcile").out
    store.write_text("<html>")
    ended = place.treason("reconcile")
    assert ended.code == 1
    assert ended.err.startswith(f"treason: feed a: {store}: ")
    value = place.treason("reconcile", "-o", "json").json
    jsonschema.validate(value, SCHEMA | {"$ref": "#/$defs/reconcile"})
    assert value["feeds"][0]["error"].startswith(f"{store}: ")


def test_a_feed_that_is_not_configured_any_more_has_a_last_line(place: Place, host: None) -> None:
    """How much of it is removed; then it is not told of again."""
    backend = f'sources = []\nbackends = ["file:{place.path}/banned.txt"]'
    place.configure(
        f'[feed.a]\ntype = "list"\npath = "/x"\nstore = "{place.path}/a.db"', main=backend
    )
    write(place.path / "a.db", [FeedGroup(singles(3))])
    assert place.treason("reconcile").code == 0
    place.configure(main=backend)
    assert "feed a: 3 to remove" in place.treason("reconcile", "--check").out
    assert "feed a: 3 removed" in place.treason("reconcile").out
    assert "feed a" not in place.treason("reconcile").out
