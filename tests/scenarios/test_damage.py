"""A database that is damaged in part: what can be read is enforced, nothing else is removed."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from harness import Place, page, wipe

from reconciler.execute import run
from reconciler.model import Closing, Ground
from reconciler.network import Network
from reconciler.passes import access
from reconciler.store.store import open_store

Nft = Callable[..., str]
SUSPECT = "suspects VALUES ('sockets', 'x', 'zero-window', x'04', 1, 2, 1, 1, 0, '')"
BANS = [f"198.51.100.{number}" for number in range(1, 10)]


def forget_three(content: bytearray) -> None:
    """Let the last three rows of a leaf be gone, as in a page that was never written."""
    cells = int.from_bytes(content[3:5])
    content[3:5] = (cells - 3).to_bytes(2)


def held(nft: Nft) -> list[str]:
    """Return which of the bans are enforced."""
    listed = nft("list set inet treason banned4").replace(",", " ").split()
    return [each for each in BANS if each in listed]


@pytest.fixture
def enforced(place: Place, nft: Nft) -> Place:
    """Nine bans are enforced."""
    place.treason("ban", *BANS)
    assert place.treason("reconcile", "--no-scan").code == 0
    return place


@pytest.mark.parametrize("options", [(), ("--full",), ("--full", "--force")])
@pytest.mark.parametrize(
    "table",
    [
        *("bans", "offences", "history", "cursors", "verified", "changes", "prunings", "clients"),
        *("treason_identity", "whitelists", "marks", "carried_out", "treason_clock"),
        *("bans_set_back", "suspects", "withheld", "closings", "closed", "probes"),
        *("unconfirmed", "rules_told", "pause"),
    ],
)
def test_a_page_of_any_table_is_found_by_each_pass(
    table: str, options: tuple[str, ...], enforced: Place, nft: Nft
) -> None:
    """It fails once all is done, also without a change, and is told to programs."""
    page(enforced.database, table, wipe)
    for _ in range(2):
        result = enforced.treason("reconcile", "--no-scan", *options, "-o", "json")
        assert result.code == 1
        told = result.json["damage"][0]
        assert f"the table {table} cannot be read" in told
        assert told in result.err
        assert result.json["backends"][0]["state"] == "in sync"
    assert held(nft) == BANS


def test_what_is_to_be_closed_or_withheld_and_is_no_network_is_passed_over(
    enforced: Place, nft: Nft
) -> None:
    """The same: the pass, and those that list, go on."""
    with closing(sqlite3.connect(enforced.database)) as connection, connection:
        connection.execute("INSERT INTO closings VALUES ('nonsense', 'seen', 9)")
        connection.execute(
            "INSERT INTO withheld VALUES ('nonsense', 9, NULL, 'it', '', 1, 9),"
            " ('192.0.2.7', 9, NULL, 'it', '', 1, 9)"
        )
        for wrong in ("closings VALUES ('192.0.2.7', 'some', 9)", SUSPECT):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(f"INSERT INTO {wrong}")
    for command in (("reconcile", "--no-scan"), ("status",), ("list", "--observed-only")):
        result = enforced.treason(*command)
        assert (result.code, result.err) == (0, ""), result.err
    assert "192.0.2.7" in result.out
    assert "nonsense" not in result.out


def test_a_pass_goes_on_where_what_is_to_be_closed_cannot_be_read_to_its_end(
    enforced: Place, nft: Nft
) -> None:
    """All is enforced by then, and the rest is told; that something is damaged, as well."""
    with open_store(enforced.database, write=True) as store:
        addresses = (Network.parse(f"192.0.2.{number}") for number in range(256))
        store.closings.expect(Closing(each, Ground.SEEN, 9) for each in addresses)
    page(enforced.database, "closings", wipe, last=True)
    result = enforced.treason("reconcile", "--no-scan", "-o", "json")
    assert result.code == 1
    assert result.json["backends"][0]["state"] == "in sync"
    assert "the database is damaged" in result.err


@pytest.mark.parametrize("index", ["bans_by_key", "bans_by_end", "bans_unguarded"])
def test_a_damaged_page_of_an_index_keeps_no_pass_from_enforcing(
    index: str, enforced: Place, nft: Nft
) -> None:
    """Who is protected now is not dropped any more, what is missing comes back; exit 1."""
    page(enforced.database, index, wipe)
    run(["ip", "address", "add", f"{BANS[0]}/32", "dev", "lo"])
    for _ in range(2):
        nft(f"delete element inet treason banned4 {{ {BANS[1]} }}")
        result = enforced.treason("reconcile", "--no-scan")
        assert (result.code, "damaged" in result.err, held(nft)) == (1, True, BANS[1:])


def test_bans_of_a_damaged_table_are_made_again(enforced: Place, nft: Nft) -> None:
    """By the index, which holds them as well; a ban that ended is not."""
    enforced.treason("ban", "203.0.113.9", "--for", "1h")
    with closing(sqlite3.connect(enforced.database)) as connection:
        connection.execute("UPDATE bans SET until = 1 WHERE until IS NOT NULL")
        connection.commit()
    page(enforced.database, "bans", wipe)
    nft("flush ruleset")
    assert enforced.treason("reconcile", "--no-scan").code == 1
    assert held(nft) == BANS
    assert "203.0.113.9" not in nft("list set inet treason banned4")


def test_who_came_through_ssh_is_not_needed_to_enforce(
    enforced: Place, nft: Nft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new ban is enforced, and what is not banned goes on as it is; who comes now is spared."""
    monkeypatch.setattr(access, "_ssh_client", lambda _pid: Network.parse("198.51.100.77"))
    enforced.treason("ban", "198.51.100.64/26", "--force")
    enforced.treason("ban", "203.0.113.9")
    page(enforced.database, "clients", wipe)
    result = enforced.treason("reconcile", "--no-scan")
    assert result.code == 1
    assert "the table clients cannot be read" in result.err
    assert held(nft) == BANS
    assert "203.0.113.9" in nft("list set inet treason banned4")
    assert "198.51.100.77" not in nft("list set inet treason banned4")
    shown = enforced.treason("status", "--protection")
    assert (shown.code, "the database is damaged" in shown.err) == (1, True)


def test_a_client_that_is_no_address_is_passed_over(enforced: Place, nft: Nft) -> None:
    """Another program wrote it; the other clients are protected, and all goes on."""
    enforced.treason("ban", "203.0.113.8/31")
    with closing(sqlite3.connect(enforced.database)) as connection, connection:
        rows = [("nonsense", 9e9), ("203.0.113.9", 9e9)]
        connection.executemany("INSERT INTO clients VALUES (?, ?)", rows)
    assert enforced.treason("reconcile", "--no-scan").code == 0
    listed = nft("list set inet treason banned4")
    assert ("203.0.113.8" in listed, "203.0.113.9" in listed) == (True, False)


@pytest.mark.parametrize("index", ["bans_by_key", "bans_by_end", "bans_unguarded"])
def test_an_index_that_is_gone_or_damaged_is_found_without_a_change(
    index: str, enforced: Place, nft: Nft
) -> None:
    """By the next pass, though it reads no bans; the same for one that cannot be read."""
    with closing(sqlite3.connect(enforced.database)) as connection:
        [(made,)] = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = ?", (index,)
        ).fetchall()
        connection.execute(f"DROP INDEX {index}")
    for command in (["reconcile", "--no-scan"], ["status"]):
        result = enforced.treason(*command)
        told = f"the index {index} cannot be read: no such index"
        assert (result.code, told in result.err, held(nft)) == (1, True, BANS)
    with closing(sqlite3.connect(enforced.database)) as connection:
        connection.execute(made)
    assert enforced.treason("reconcile", "--no-scan").code == 0
    page(enforced.database, index, wipe)
    result = enforced.treason("reconcile", "--no-scan")
    assert (result.code, f"the index {index} cannot be read" in result.err) == (1, True)
    assert held(nft) == BANS


@pytest.mark.parametrize("index", ["bans_by_key", "bans_by_end", "bans_unguarded"])
def test_an_index_that_lacks_rows_removes_nothing(index: str, place: Place, nft: Nft) -> None:
    """Also the next pass finds it; `REINDEX` mends it."""
    place.treason("ban", *BANS[:4], "--for", "30d")
    place.treason("ban", *BANS[4:])
    with closing(sqlite3.connect(place.database)) as connection:
        rows = ((f"10.{number}.0.0/24",) for number in range(4))
        connection.executemany("INSERT INTO badips (ip) VALUES (?)", rows)
        connection.commit()
    assert place.treason("reconcile", "--no-scan").code == 0
    page(place.database, index, forget_three)
    told = f"the index {index} has "
    for options in (["--full"], [], ["--check"]):
        result = place.treason("reconcile", "--no-scan", *options)
        assert (result.code, told in result.err, held(nft)) == (1, True, BANS), options
    status = place.treason("status")
    assert (status.code, told in status.err) == (1, True)
    with closing(sqlite3.connect(place.database)) as connection:
        connection.execute("REINDEX")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert held(nft) == BANS


def garble_keys(content: bytearray) -> None:
    """Let the first bytes of most keys say that they are of no family."""
    first, last = (Network.parse(BANS[at]).key for at in (1, -2))
    for number in range(first[4], last[4] + 1):
        key = first[:4] + bytes([number]) + first[5:]
        at = content.find(key)
        content[at] = 0x24


def reverse_cells(content: bytearray) -> None:
    """Let the keys of a leaf be in the other order."""
    cells = int.from_bytes(content[3:5])
    found = [content[at : at + 2] for at in range(8, 8 + 2 * cells, 2)]
    content[8 : 8 + 2 * cells] = b"".join(reversed(found))


@pytest.mark.parametrize("change", [garble_keys, reverse_cells])
def test_an_index_that_leads_astray_is_not_believed(
    change: Callable[[bytearray], object], enforced: Place, nft: Nft
) -> None:
    """It has as many rows as its table, but they are not found where they are looked for."""
    page(enforced.database, "bans_by_key", change)
    nft("flush ruleset")
    for _ in range(2):
        result = enforced.treason("reconcile", "--no-scan")
        assert (result.code, "the index bans_by_key" in result.err) == (1, True)
        assert held(nft) == BANS


def test_a_garbled_row_of_a_damaged_index_bans_nobody_else(enforced: Place, nft: Nft) -> None:
    """Its network's text and bytes differ; the table has it right."""

    def garble(content: bytearray) -> None:
        forget_three(content)
        content[:] = content.replace(b"198.51.100.2", b"198.51.177.2")

    page(enforced.database, "bans_by_key", garble)
    nft("flush ruleset")
    assert enforced.treason("reconcile", "--no-scan").code == 1
    assert held(nft) == BANS
    assert "198.51.177.2" not in nft("list ruleset")


def test_bans_are_listed_past_an_index_that_lacks_them(enforced: Place, nft: Nft) -> None:
    """And it is told to programs by the exit code."""
    page(enforced.database, "bans_by_key", forget_three)
    for form in ("text", "json"):
        result = enforced.treason("list", "-o", form)
        assert (result.code, "the index bans_by_key has 6 rows" in result.err) == (1, True)
        assert all(each in result.out for each in BANS)


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_a_database_that_was_cut_off_is_read_as_far_as_it_goes(
    pages: int, enforced: Place, nft: Nft
) -> None:
    """SQLite itself refuses all of it. Nothing is removed, nothing is written."""
    enforced.treason("ban", *(f"10.1.{number >> 8}.{number & 255}" for number in range(600)))
    whole = enforced.database.read_bytes()
    with closing(sqlite3.connect(enforced.database)) as connection:
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    cut = whole[: -pages * size]
    enforced.database.write_bytes(cut)
    nft("flush ruleset")
    for _ in range(2):
        result = enforced.treason("reconcile", "--no-scan")
        assert (result.code, "the database is damaged" in result.err) == (1, True)
        assert held(nft) == BANS
    assert enforced.treason("ban", "203.0.113.9").code == 1
    assert enforced.database.read_bytes() == cut


def test_a_database_of_which_a_few_bytes_are_left_is_not_empty(enforced: Place, nft: Nft) -> None:
    """Nothing of it can be read, so nothing is changed."""
    enforced.database.write_bytes(enforced.database.read_bytes()[:50])
    for command in (["reconcile", "--no-scan"], ["list"], ["ban", "203.0.113.9"]):
        result = enforced.treason(*command)
        assert (result.code, "the database is damaged" in result.err) == (1, True), command
    assert held(nft) == BANS


def test_what_cannot_be_read_is_kept_however_few_are_enforced(enforced: Place, nft: Nft) -> None:
    """Table and index lost the same rows; the ban that is new is enforced all the same."""
    enforced.treason("ban", "203.0.113.9")
    page(enforced.database, "bans", wipe)
    page(enforced.database, "bans_by_key", wipe)
    nft("add element inet treason banned4 { 203.0.113.7 }")
    result = enforced.treason("reconcile", "--no-scan", "--force")
    assert result.code == 1
    assert (
        "keeping 10 of 10 enforced bans that cannot be read in the damaged database" in result.err
    )
    assert held(nft) == BANS


def test_a_large_damaged_table_is_read_from_both_ends(place: Place, nft: Nft) -> None:
    """What lies between is kept, and what is missing in the firewall comes back."""
    hosts = [f"10.1.{number >> 8}.{number & 255}" for number in range(4000)]
    place.treason("ban", *hosts)
    assert place.treason("reconcile", "--no-scan").code == 0
    with closing(sqlite3.connect(place.database)) as connection:
        [(size,)] = connection.execute("PRAGMA page_size").fetchall()
    content = bytearray(place.database.read_bytes())
    for network in ("10.1.7.100", "10.1.7.200"):  # the pages that hold them, in table and indexes
        at = 0
        while (at := content.find(network.encode(), at)) >= 0:
            start = at // size * size
            content[start : start + size] = b"\xff" * size
    place.database.write_bytes(content)
    nft("delete element inet treason banned4 { 10.1.0.1, 10.1.15.1 }")
    result = place.treason("reconcile", "--no-scan")
    assert result.code == 1
    listed = nft("list set inet treason banned4").replace(",", " ").split()
    assert {*hosts} <= {*listed}


FILLED = {
    "changes": "INSERT INTO changes (key) SELECT x'04c633640120' FROM n",
    "clients": "INSERT INTO clients SELECT 'z' || value, 1 FROM n",
    "history": "INSERT INTO history (time, action, network, reason)"
    " SELECT 1, 'ban', '203.0.113.8', value FROM n",
    "verified": "INSERT INTO verified SELECT 'z' || value, '', '', 0, 9e9, 9e9, 0, 0 FROM n",
    "bans_by_end": "INSERT INTO bans (network, since, until, origin, reason)"
    " SELECT '10.1.' || (value >> 8) || '.' || (value & 255), 1, 2, 'manual', '' FROM n",
    "carried_out": "INSERT INTO carried_out SELECT 'z' || value, 0, 9e9 FROM n",
}


@pytest.mark.parametrize("name", FILLED)
def test_damage_behind_the_first_page_does_not_keep_anybody_open(
    name: str, enforced: Place, nft: Nft
) -> None:
    """Of whatever table or index: the new ban is enforced, nothing is lifted, the pass fails."""
    enforced.treason("ban", "203.0.113.9")
    with closing(sqlite3.connect(enforced.database)) as connection:
        connection.execute("CREATE TEMP TABLE n (value INTEGER)")
        connection.executemany("INSERT INTO n VALUES (?)", ((each,) for each in range(4000)))
        connection.execute(FILLED[name])
        connection.commit()
    page(enforced.database, name, wipe, last=True)
    result = enforced.treason("reconcile", "--no-scan", "-o", "json")
    assert result.code == 1
    assert "damaged" in result.err or "cannot be read" in result.err
    assert held(nft) == BANS
    assert "203.0.113.9" in nft("list set inet treason banned4")


@pytest.mark.parametrize("command", [["list"], ["ban", "203.0.113.9"], ["status"]])
def test_what_to_do_about_a_missing_table_is_said(
    command: list[str], enforced: Place, nft: Nft
) -> None:
    """As about a damaged one."""
    with closing(sqlite3.connect(enforced.database)) as connection:
        connection.execute("DROP TABLE bans")
        connection.commit()
    result = enforced.treason(*command)
    assert (result.code, "no such table" in result.err) == (1, True)
    assert "restore it from a backup" in result.err
