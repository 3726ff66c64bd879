"""Whole lists as bans: import, and what replaces what."""

import io
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from harness import Place

Nft = Callable[..., str]
LIST = """\
# what a friend saw
192.0.2.7 ; port scan
198.51.100.0/24
2001:db8:7::/48
"""
NETWORKS = ["192.0.2.7", "198.51.100.0/24", "2001:db8:7::/48"]


@pytest.fixture(autouse=True)
def unprotected(place: Place) -> None:
    """Protect nothing of this machine, whose addresses are others' examples."""
    place.configure(
        "[protect]\nown_addresses = false\ngateways = false\nresolvers = false\nssh_client = false",
        main="sources = []",
    )


def listed(place: Place, text: str, name: str = "hostile.txt") -> str:
    """Write a list, and return its path."""
    path = place.path / name
    path.write_text(text)
    return str(path)


def bans(place: Place) -> dict[str, tuple[str, str]]:
    """Return origin and reason of each ban."""
    rows = place.treason("list", "-o", "json").json["bans"]
    return {row["network"]: (row["origin"], row["reason"]) for row in rows}


def lengths(place: Place) -> dict[str, int | None]:
    """Return how many seconds each ban lasts in all."""
    with closing(sqlite3.connect(place.database)) as database:
        return dict(database.execute("SELECT network, until - since FROM bans"))


def events(place: Place) -> list[tuple[str, str]]:
    """Return what happened to which network, the first event first."""
    rows = place.treason("history", "-o", "json").json["events"]
    return [(row["action"], row["network"]) for row in reversed(rows)]


def test_the_networks_of_a_list_are_banned(place: Place) -> None:
    """Named by the file; for the reason of its line, or else the one that is given."""
    result = place.treason("import", listed(place, LIST), "--reason", "a friend", "--for", "1h")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("import:hostile: 3 networks banned until 20")
    origin = "import:hostile"
    assert bans(place) == {
        "192.0.2.7": (origin, "port scan"),
        "198.51.100.0/24": (origin, "a friend"),
        "2001:db8:7::/48": (origin, "a friend"),
    }
    assert set(lengths(place).values()) == {3600}
    assert events(place) == [("ban", network) for network in NETWORKS]


def test_the_firewall_drops_them_after_the_next_pass(place: Place, nft: Nft) -> None:
    """What a later list of the name does not have any more is removed by the pass after it."""
    place.treason("import", listed(place, LIST))
    assert place.treason("reconcile").code == 0
    assert "198.51.100.0/24" in nft("list ruleset")
    place.treason("import", listed(place, "192.0.2.7\n"), "--replace", "hostile")
    assert place.treason("reconcile").code == 0
    ruleset = nft("list ruleset")
    assert "192.0.2.7" in ruleset
    assert "198.51.100.0" not in ruleset


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input_is_a_list(
    arguments: list[str], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name its bans are of import alone."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(LIST.encode())))
    assert place.treason("import", *arguments).code == 0
    assert {origin for origin, _ in bans(place).values()} == {"import"}


@pytest.mark.parametrize(("name", "origin"), [
    ("drop.v4.txt", "import:drop.v4"), ("a b", "import:a b"), ("x\ny.txt", "import"),
    ("é" * 65, "import"),
])  # fmt: skip
def test_the_name_is_one_that_can_be_written(name: str, origin: str, place: Place) -> None:
    """Else there is none."""
    place.treason("import", listed(place, "192.0.2.7\n", name))
    assert bans(place) == {"192.0.2.7": (origin, "")}


def test_what_a_list_banned_is_lifted_by_its_name(place: Place) -> None:
    """And nothing else."""
    place.treason("ban", "203.0.113.9")
    place.treason("import", listed(place, LIST))
    assert place.treason("unban", "--rule", "import:hostile", "--yes").code == 0
    assert [*bans(place)] == ["203.0.113.9"]


def test_one_bad_line_refuses_all(place: Place) -> None:
    """The first of them are named, with their lines."""
    text = LIST + "evil.example\n192.0.2.07\n10.0.0.0/7\nx\n"
    result = place.treason("import", listed(place, text))
    assert (result.code, result.out, bans(place)) == (1, "", {})
    first, *others, hint = result.err.splitlines()
    assert first.endswith("hostile.txt: 4 entries are refused; nothing was changed")
    assert others == [
        "  line 5: 'evil.example' is not an IP address or network",
        "  line 6: '192.0.2.07' is not an IP address or network",
        "  line 8: 'x' is not an IP address or network",
        "  and 1 more",
    ]
    assert "--skip-invalid" in hint


def test_the_others_are_banned_on_demand(place: Place) -> None:
    """What is refused is named: what is no network, too wide, or exempt."""
    place.treason("whitelist", "add", "203.0.113.0/24", "198.51.100.7", "--comment", "office")
    text = LIST + "evil.example\n10.0.0.0/7\n203.0.113.9\n"
    office = "is whitelisted by 203.0.113.0/24 (office), so the ban would not be enforced"
    result = place.treason("import", listed(place, text), "--skip-invalid")
    assert result.code == 0
    assert [*bans(place)] == NETWORKS
    told = [line.removeprefix("treason: warning: ") for line in result.err.splitlines()]
    assert told == [
        "skipped: line 5: 'evil.example' is not an IP address or network",
        "skipped: 10.0.0.0/7 is wider than /16, the limit set by min_prefix in [treason]",
        f"skipped: 203.0.113.9 {office}",
        "198.51.100.0/24: banned; the exempt addresses in it are not dropped",
    ]


def test_many_that_are_refused_are_counted(place: Place) -> None:
    """Ten are named, with -v a hundred."""
    path = listed(place, LIST + "x\n" * 200)
    told = place.treason("import", path, "--skip-invalid").err.splitlines()
    assert (len(told), told[-1]) == (11, "treason: warning: skipped: 190 more")
    told = place.treason("import", path, "--skip-invalid", "-v").err.splitlines()
    assert told[-1] == "treason: warning: skipped: 100 more"


def test_what_is_exempt_or_wide_is_stored_by_force(place: Place) -> None:
    """But what is no network cannot be."""
    place.treason("whitelist", "add", "192.0.2.7")
    wide = LIST + "10.0.0.0/7\n"
    assert place.treason("import", listed(place, wide + "x\n"), "--force").code == 1
    result = place.treason("import", listed(place, wide), "--force")
    assert result.code == 0
    assert "192.0.2.7: banned, but not enforced: it is exempt" in result.err
    assert [*bans(place)] == ["10.0.0.0/7", *NETWORKS]


def test_a_list_replaces_the_one_of_its_name(place: Place) -> None:
    """Others' bans stay, and what is known already is no event, and keeps its beginning."""
    place.treason("ban", "203.0.113.9")
    place.treason("import", listed(place, LIST), "--replace", "friend")
    begun = len(events(place))
    text = "192.0.2.7 ; port scan\n2001:db8:7::/48\n192.0.2.99\n"
    result = place.treason("import", listed(place, text), "--replace", "friend")
    assert result.out == (
        "import:friend: 1 network banned permanently, 2 banned already, 1 unbanned\n"
    )
    assert events(place)[begun:] == [("unban", "198.51.100.0/24"), ("ban", "192.0.2.99")]
    origins = {network: origin for network, (origin, _) in bans(place).items()}
    assert origins.pop("203.0.113.9") == "manual"
    assert origins == dict.fromkeys(["192.0.2.7", "192.0.2.99", "2001:db8:7::/48"], "import:friend")


def test_a_list_that_comes_again_renews_its_bans(place: Place) -> None:
    """They end later then, and have the reason that it gives now."""
    path = listed(place, "192.0.2.7 # a\n")
    place.treason("import", path, "--for", "1h")
    place.treason("import", listed(place, "192.0.2.7 # b\n"), "--for", "2h")
    assert lengths(place)["192.0.2.7"] in range(7200, 7260)
    assert bans(place) == {"192.0.2.7": ("import:hostile", "b")}
    assert events(place) == [("ban", "192.0.2.7")]


def test_another_ban_stays_where_it_lasts_as_long(place: Place) -> None:
    """So that lifting the list lifts nobody else's; a shorter one is replaced."""
    place.treason("ban", "192.0.2.7", "--reason", "mine")
    place.treason("ban", "198.51.100.0/24", "--for", "30m")
    result = place.treason("import", listed(place, LIST), "--replace", "friend", "--for", "1h")
    assert "2 networks banned until" in result.out
    assert "1 left to other bans that last as long" in result.out
    assert lengths(place) == {"192.0.2.7": None, "198.51.100.0/24": 3600, "2001:db8:7::/48": 3600}
    place.treason("import", listed(place, ""), "--replace", "friend", "--force")
    assert bans(place) == {"192.0.2.7": ("manual", "mine")}


@pytest.mark.parametrize(("text", "why"), [
    ("", "names no networks"),
    ("# nothing\n", "names no networks"),
    ("10.0.0.0/7\n", "names no networks that can be banned"),
    ("192.0.2.7\n<p>\n</p>\n", "2 of 3 lines mean nothing; line 2: '<p>' is not an IP address"),
])  # fmt: skip
def test_a_list_that_is_not_to_be_believed_replaces_nothing(
    text: str, why: str, place: Place
) -> None:
    """Unless it is forced: then it lifts what it does not name."""
    place.treason("import", listed(place, LIST), "--replace", "friend")
    path = listed(place, text)
    result = place.treason("import", path, "--replace", "friend", "--skip-invalid")
    assert (result.code, result.out) == (1, "")
    assert why in result.err
    assert "so it does not replace friend" in result.err
    assert [*bans(place)] == NETWORKS
    forced = place.treason("import", path, "--replace", "friend", "--skip-invalid", "--force")
    assert forced.code == 0
    assert NETWORKS[1] not in bans(place)


def test_a_list_without_networks_bans_nobody(place: Place) -> None:
    """It is an error."""
    result = place.treason("import", listed(place, "# nothing\n"))
    assert (result.code, result.out) == (1, "")
    assert "hostile.txt: names no networks\n" in result.err


@pytest.mark.parametrize(("content", "what"), [
    ("192.0.2.7\n".encode("utf-16"), "is text in UTF-16\n  save it as text in UTF-8"),
    (None, "cannot read the list: No such file or directory"),
])  # fmt: skip
def test_what_is_no_list_is_an_error(content: bytes | None, what: str, place: Place) -> None:
    """It is named, and nothing is changed."""
    path = place.path / "odd"
    if content:
        path.write_bytes(content)
    result = place.treason("import", str(path), "--replace", "odd", "--force")
    assert result.code == 1
    assert result.err.startswith(f"treason: {path}: {what}")
    assert result.err.endswith("nothing was changed\n")
    assert bans(place) == {}


@pytest.mark.parametrize("name", ["", " drop", "a\nb", "x" * 65])
def test_a_name_that_nobody_could_write_is_refused(name: str, place: Place) -> None:
    """Before anything is read."""
    result = place.treason("import", str(place.path / "none"), "--replace", name)
    assert result.code == 1
    assert "is not a name" in result.err


def test_a_line_may_say_when_its_ban_ends(place: Place) -> None:
    """As ``ipset save`` prints it; others end as the command says."""
    text = "add bad 192.0.2.7 timeout 90\nadd bad 192.0.2.8 timeout 0\n192.0.2.9\n"
    result = place.treason("import", listed(place, text), "--for", "1h")
    assert "or as the list says" in result.out
    assert lengths(place) == {"192.0.2.7": 90, "192.0.2.8": 3600, "192.0.2.9": 3600}


def test_very_many_leave_a_pass_nothing_to_guess(place: Place, nft: Nft) -> None:
    """It reads everything then, and what a later list does not have is removed, however much."""
    text = "".join(f"11.{n >> 8}.{n & 255}.7\n" for n in range(21_000))
    place.treason("import", listed(place, LIST))
    assert place.treason("reconcile").code == 0
    assert place.treason("import", listed(place, text), "--replace", "hostile").code == 0
    assert place.treason("reconcile").code == 0
    assert place.treason("reconcile", "--check", "--full").code == 0
    assert "11.82.7.7" in nft("list ruleset")
    assert place.treason("import", listed(place, LIST), "--replace", "hostile").code == 0
    assert place.treason("reconcile").code == 0
    assert "11.82.7.7" not in nft("list ruleset")


def test_what_was_only_observed_is_banned(place: Place) -> None:
    """And is not listed as observed any more."""
    place.treason("ban", "203.0.113.9")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(
            "INSERT INTO withheld VALUES ('192.0.2.7', 1, NULL, 'x', '', 1, 2000000000)"
        )
    place.treason("import", listed(place, LIST))
    assert place.treason("list", "--observed-only", "-o", "json").json["withheld"] == []


def test_nothing_is_left_half_done(place: Place) -> None:
    """A list whose second half cannot be stored stores nothing."""
    place.treason("import", listed(place, LIST))
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON bans WHEN NEW.network = '192.0.2.99'"
            " BEGIN SELECT raise(ABORT, 'the disk is full'); END"
        )
    text = "192.0.2.98\n192.0.2.99\n"
    result = place.treason("import", listed(place, text), "--replace", "hostile")
    assert result.code == 1
    assert [*bans(place)] == NETWORKS
