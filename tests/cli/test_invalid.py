"""Rows that another program, or a person, wrote into the table of bans: seen, told, removed."""

import sqlite3
from contextlib import closing

import pytest
from harness import Place

from reconciler.store.store import open_store

ODD = ["oops", "192.0.2.300", " 192.0.2.8", "", "a\0b", "\x1b[31mred", "two\nlines"]


@pytest.fixture
def edited(place: Place) -> Place:
    """Insert rows by hand, besides a ban: texts of all kinds, and bytes that are no UTF-8."""
    place.treason("ban", "192.0.2.7")
    with closing(sqlite3.connect(place.database)) as database, database:
        insert = "INSERT INTO bans (network, since, until, origin, reason) VALUES ({}, 1, ?, ?, '')"
        for text in ODD:
            database.execute(insert.format("?"), (text, None, "manual"))
        database.execute(insert.format("CAST(x'ff41' AS TEXT)"), (None, "manual"))
        database.execute(insert.format("?"), ("gone", 2, "manual"))
        database.execute(insert.format("?"), ("10.0.0.0/7", None, "badips"))
    return place


def invalid(place: Place) -> list[str]:
    """Return the texts of the invalid rows."""
    rows = place.treason("list", "--invalid", "-o", "json").json["invalid"]
    return sorted(row["text"] for row in rows)


def test_invalid_rows_are_listed_by_their_text(edited: Place) -> None:
    """Before and after they are tidied; what has ended, and what is only too wide, is not."""
    assert invalid(edited) == sorted([*ODD, "\\xffA"])
    assert edited.treason("list", "--invalid").out.count("1970-01-01T00:00:01Z\tpermanent") == 8
    edited.treason("unban", "192.0.2.7")
    assert invalid(edited) == sorted([*ODD, "\\xffA"])
    assert "oops" not in edited.treason("list").out


@pytest.mark.parametrize(
    "text", ["oops", " 192.0.2.8", "", "\\x1b[31mred", "two\\nlines", "\\xffA"]
)
def test_an_invalid_row_is_removed_by_its_text(text: str, edited: Place) -> None:
    """As it is stored, or as the list prints it; the history has it."""
    before = invalid(edited)
    result = edited.treason("unban", text)
    assert (result.code, result.out) == (0, f"{text}: removed; it was not a valid network\n")
    assert len(invalid(edited)) == len(before) - 1
    event = edited.treason("history", "--limit", "1", "-o", "json").json["events"][0]
    assert event["action"] == "unban"


def test_all_of_them_can_be_removed(edited: Place) -> None:
    """Together with a ban, by what the list printed."""
    shown = edited.treason("list", "--invalid").out.splitlines()
    result = edited.treason("unban", "192.0.2.7", *(line.split("\t")[0] for line in shown))
    assert result.code == 0
    assert (invalid(edited), edited.treason("list").out.count("\n")) == ([], 1)  # the wide one
    assert edited.treason("list", "--invalid").out == ""


def test_a_text_that_no_row_has_changes_nothing(edited: Place) -> None:
    """It is refused as ever, also beside one that a row has."""
    before = edited.snapshot()
    result = edited.treason("unban", "oops", "nothing")
    assert (result.code, "'nothing' is not an IP address" in result.err) == (1, True)
    assert edited.snapshot() == before


def test_status_tells_the_invalid_from_the_too_wide(edited: Place) -> None:
    """In words, in JSON, and in what a pass warns of."""
    told = edited.treason("status").out
    assert "not enforced: 8 not a valid network (treason list --invalid), 1 stored by" in told
    counts = edited.treason("status", "-o", "json").json["bans"]
    assert (counts["invalid"], counts["too_wide"]) == (8, 1)
    listed = f"file:{edited.path}/list"
    warned = edited.treason("reconcile", "--no-scan", "--backend", listed).err
    assert "9 stored bans are not enforced: 8 not a valid network" in warned
    assert "1 stored by another program and wider than min_prefix" in warned


def test_a_row_that_is_no_text_ends_too(place: Place) -> None:
    """Moved to the history once, not named by every pass."""
    place.treason("ban", "192.0.2.7")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(
            "INSERT INTO bans (network, since, until, origin, reason)"
            " VALUES (CAST(x'ff41' AS TEXT), 1, 2, 'manual', '')"
        )
    with open_store(place.database, write=True) as store:
        assert store.bans.ended(3) == ["\\xffA"]
        store.bans.expire(3)
        assert store.bans.ended(3) == []
