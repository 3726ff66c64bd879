"""What is to be dropped, and what is stored, for other programs: export."""

import csv
import io
import sqlite3
from contextlib import closing

import pytest
from harness import Place


@pytest.fixture(autouse=True)
def banned(place: Place) -> None:
    """Ban a network with a whitelisted half, one inside it, and an address for an hour."""
    place.configure(
        '[whitelist]\nnetworks = ["198.51.100.128/25"]\n[protect]\nown_addresses = false\n'
        "gateways = false\nresolvers = false\nssh_client = false",
        main="sources = []",
    )
    place.treason("ban", "198.51.100.0/24", "198.51.100.7", "--reason", 'a "friend",\nor two')
    place.treason("ban", "2001:db8::7", "--for", "1h")


@pytest.mark.parametrize(("arguments", "networks"), [
    ([], ["198.51.100.0/25", "2001:db8::7"]),
    (["--stored"], ["198.51.100.0/24", "198.51.100.7", "2001:db8::7"]),
])  # fmt: skip
def test_networks_are_printed_one_a_line(
    arguments: list[str], networks: list[str], place: Place
) -> None:
    """What is to be dropped is without what is exempt or covered; what is stored is as it is."""
    result = place.treason("export", *arguments)
    assert (result.code, result.err, result.out.splitlines()) == (0, "", networks)
    told = place.treason("export", *arguments, "--format", "csv").out.splitlines()
    assert [line.split(",")[0] for line in told] == ["network", *networks]
    found = place.treason("export", *arguments, "--format", "json").json
    listed = found.get("desired") or [row["network"] for row in found["bans"]]
    assert listed == networks


def test_stored_bans_have_their_origin_times_and_reason(place: Place) -> None:
    """In CSV a ban is a line, whatever its reason is; in JSON it is what list prints."""
    rows = [
        *csv.DictReader(io.StringIO(place.treason("export", "--stored", "--format", "csv").out))
    ]
    bans = place.treason("list", "-o", "json").json["bans"]
    assert place.treason("export", "--stored", "--format", "json").json["bans"] == bans
    assert [row["reason"] for row in rows] == ['a "friend",\\nor two'] * 2 + [""]
    times = [[row[key] or None for key in ("since", "until", "origin")] for row in rows]
    assert times == [[ban[key] for key in ("since", "until", "origin")] for ban in bans]


@pytest.mark.parametrize("form", ["plain", "csv"])
def test_what_is_printed_can_be_imported(form: str, place: Place) -> None:
    """The same networks are banned then."""
    path = place.path / "list"
    path.write_text(place.treason("export", "--stored", "--format", form).out)
    before = place.treason("export").out
    place.treason("unban", "--all", "--yes")
    assert place.treason("export").out == ""
    assert place.treason("import", str(path)).code == 0
    assert place.treason("export").out == before


def test_what_feeds_hold_is_to_be_dropped(place: Place) -> None:
    """It is not among the stored bans."""
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(
            "INSERT INTO feed_bans (feed, member, since, until, reason, state, number, four, six)"
            " VALUES ('drop', '', 1, NULL, '', 'held', 1, x'cb00710920', x'')"
        )
    assert "203.0.113.9" in place.treason("export").out.splitlines()
    assert "203.0.113.9" not in place.treason("export", "--stored").out


def test_a_pause_is_told(place: Place) -> None:
    """What is to be dropped after it is printed all the same."""
    before = place.treason("export").out
    place.treason("pause")
    result = place.treason("export")
    assert (result.code, result.out) == (0, before)
    assert "none of it is enforced now: paused until treason resume" in result.err


@pytest.mark.parametrize("arguments", [
    ["--observed", "--stored"], ["--observed", "--format", "csv"], ["--backend", "file:x"],
    ["--format", "xml"],
])  # fmt: skip
def test_what_does_not_go_together_is_refused(arguments: list[str], place: Place) -> None:
    """As the shape of the command line."""
    assert place.treason("export", *arguments).code == 64


def test_a_damaged_index_prints_nothing(place: Place) -> None:
    """Half a list would be taken for a whole one."""
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("DROP INDEX bans_by_key")
    result = place.treason("export")
    assert (result.code, result.out) == (1, "")
    assert "bans_by_key" in result.err
