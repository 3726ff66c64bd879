"""Everything is paused: by every kind of pass, on every backend, and whatever happens meanwhile."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from harness import Place, Result, page, wipe

from backends.nftables.backend import Nftables
from reconciler.execute import run
from reconciler.host import lock
from reconciler.host.netns import Wire
from reconciler.passes.closing import FOLLOWED

Nft = Callable[..., str]
BANS = [f"198.51.100.{number}" for number in range(1, 21)]
FOREVER = "paused until treason resume: nothing is enforced"
OFFENCE = "TCP: Treason uncloaked! Peer 203.0.113.5:1/80 shrinks window 3:4. Repaired.\n"


def held(place: Place, backend: str) -> set[str]:
    """Return what a backend really holds."""
    snapshot = place.treason("export", "--observed", "--backend", backend)
    assert snapshot.code == 0, snapshot.err
    return {*json.loads(snapshot.out)["backends"][backend]["banned"]}


def configure(place: Place, *backends: str, text: str = "", sources: str = "[]") -> None:
    """Enforce by these backends."""
    listed = f'[backend.file]\npath = "{place.path}/list"\n'
    place.configure(
        f"{listed}{text}", main=f"sources = {sources}\nbackends = {json.dumps(backends)}"
    )


@pytest.fixture
def enforced(place: Place, host: None) -> Place:
    """Twenty bans are enforced by nftables, and somebody is whitelisted."""
    configure(place, "nftables", text='[whitelist]\nnetworks = ["192.0.2.0/24"]\n')
    place.treason("ban", *BANS)
    assert place.treason("reconcile", "--no-scan").code == 0
    return place


@pytest.fixture
def paused(enforced: Place) -> Place:
    """It is paused without an end."""
    assert enforced.treason("pause").code == 0
    return enforced


def checked(place: Place, *words: str) -> Result:
    """Compare, and read everything."""
    return place.treason("reconcile", "--check", "--no-scan", "--full", *words)


@pytest.mark.parametrize("backend", ["nftables", "ipset", "iptables", "file"])
def test_each_backend_is_emptied_and_filled_again(backend: str, place: Place, host: None) -> None:
    """All at once, though `max_removals` allows less; what is banned meanwhile comes with it."""
    configure(place, backend)
    place.treason("ban", *BANS)
    assert place.treason("reconcile").code == 0
    assert held(place, backend) == {*BANS}
    result = place.treason("pause")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{backend}: changed: 20 removed\n")
    assert result.out.endswith(f"{FOREVER}\n")
    assert held(place, backend) == set()
    assert place.treason("ban", "192.0.2.7").code == 0
    for command in (("reconcile",), ("reconcile", "--no-scan", "--full"), ("reconcile", "--check")):
        result = place.treason(*command)
        assert (result.code, result.out) == (0, f"{FOREVER}\n{backend}: in sync\n")
        assert held(place, backend) == set()
    result = place.treason("resume")
    assert result.out.startswith(f"resumed\n{backend}: changed: 21 added\n"), result.err
    assert result.code == 0
    assert held(place, backend) == {*BANS, "192.0.2.7"}
    assert checked(place).code == 0


def test_packets_pass_while_it_lasts(enforced: Place, wire: Callable[..., Wire]) -> None:
    """Of those who are banned, and of those who are banned meanwhile."""
    peers = [BANS[0], "203.0.113.5"]
    cable = wire(*peers)
    assert cable.arriving(peers) == {"203.0.113.5"}
    enforced.treason("pause")
    enforced.treason("ban", "203.0.113.5")
    assert enforced.treason("reconcile").code == 0
    assert cable.arriving(peers) == set(peers)
    enforced.treason("resume")
    assert cable.arriving(peers) == set()


def test_a_pause_ends_by_itself(enforced: Place) -> None:
    """The first pass after its end enforces, and takes the mark away."""
    result = enforced.treason("pause", "--for", "1s")
    assert result.out.splitlines()[-1].startswith("paused until 20")
    assert result.out.endswith("(in 1 s): nothing is enforced; treason resume ends that\n")
    time.sleep(1.1)
    result = enforced.treason("reconcile", "--no-scan")
    assert result.code == 0
    assert "paused" not in result.out
    assert held(enforced, "nftables") == {*BANS}
    with closing(sqlite3.connect(enforced.database)) as database:
        assert database.execute("SELECT count(*) FROM pause").fetchone() == (0,)
    assert enforced.treason("resume").out == "nothing is paused\n"


def test_what_commands_say_meanwhile(paused: Place) -> None:
    """That it is stored, and not enforced, until when; the exit code is 0."""
    told = "stored, not enforced: paused until treason resume"
    for words in (
        ("ban", "203.0.113.7"),
        ("unban", "203.0.113.7"),
        ("whitelist", "add", "203.0.113.9"),
        ("whitelist", "remove", "203.0.113.9"),
    ):
        result = paused.treason(*words)
        assert (result.code, result.out.splitlines()[-1]) == (0, told), words
    paused.treason("pause", "--for", "1h")
    result = paused.treason("ban", "203.0.113.8")
    assert result.out.splitlines()[-1].startswith("stored, not enforced: paused until 20")
    assert result.out.endswith("(in 60 min)\n")
    assert held(paused, "nftables") == set()


def test_the_status_begins_with_it_and_fails(paused: Place) -> None:
    """For people and for programs, which get its end."""
    result = paused.treason("status")
    assert result.code == 1
    first = " ".join(result.out.splitlines()[0].split())
    assert first == FOREVER
    assert paused.treason("status", "-o", "json").json["paused"]["until"] is None
    paused.treason("pause", "--for", "1h")
    result = paused.treason("status", "-o", "json")
    assert result.code == 1
    since, until = (result.json["paused"][key] for key in ("since", "until"))
    assert since < until
    assert result.json["desired"] == 0
    assert result.json["backends"] == [{"backend": "nftables", "state": "in sync", "error": None}]
    paused.treason("resume")
    result = paused.treason("status", "-o", "json")
    assert (result.code, result.json["paused"]) == (0, None)


def test_programs_are_told_by_each_pass(paused: Place) -> None:
    """Whether it checks or not."""
    for words in ((), ("--check",)):
        result = paused.treason("reconcile", *words, "-o", "json")
        assert result.code == 0
        assert result.json["paused"]["until"] is None


def test_whoever_is_still_dropped_is_drift_and_is_let_through(paused: Place, nft: Nft) -> None:
    """Somebody has put him there by hand."""
    nft("add element inet treason banned4 { 203.0.113.9 }")
    result = checked(paused)
    assert (result.code, result.out.splitlines()[0]) == (2, FOREVER)
    assert "- 203.0.113.9" in result.out
    assert paused.treason("reconcile", "--no-scan").code == 0
    assert held(paused, "nftables") == set()


@pytest.mark.parametrize(
    "harm",
    [
        "delete table inet treason",
        "flush ruleset",
        "flush chain inet treason {chain}",
    ],
)
def test_a_table_that_drops_nobody_is_no_drift(harm: str, paused: Place, nft: Nft) -> None:
    """Gone, or without its rules; a pass puts it back, and nobody into it."""
    chains = json.loads(nft("list chains inet", "-j"))["nftables"]
    chain = next(each["chain"]["name"] for each in chains if "chain" in each)
    nft(harm.format(chain=chain))
    assert checked(paused).code == 0
    assert paused.treason("status", "-o", "json").json["backends"][0]["state"] == "in sync"
    assert paused.treason("reconcile", "--no-scan").code == 0
    assert held(paused, "nftables") == set()
    paused.treason("resume")
    assert held(paused, "nftables") == {*BANS}


@pytest.mark.parametrize("backend", ["iptables", "ipset"])
def test_a_hook_that_is_lost_fails_nothing(backend: str, place: Place, host: None) -> None:
    """Without a pause it does; nobody is dropped anyway."""
    configure(place, backend)
    place.treason("ban", *BANS)
    assert place.treason("reconcile").code == 0
    assert place.treason("pause").code == 0
    for command in ("iptables", "ip6tables"):
        run([command, "-F", "INPUT"])
        run([command, "-t", "raw", "-F", "PREROUTING"])
    assert checked(place).code == 0
    assert place.treason("reconcile").code == 0
    assert held(place, backend) == set()


def test_sources_are_read_and_bans_end(paused: Place) -> None:
    """Offenders are stored and not dropped; what ends, ends."""
    log = paused.path / "kern.log"
    log.write_text(OFFENCE)
    paused.treason("ban", "203.0.113.77", "--for", "1s")
    time.sleep(1.1)
    source = ("--source", f"file:{log}")
    result = paused.treason("reconcile", *source)
    assert result.code == 0
    assert result.out.splitlines()[:2] == [FOREVER, "1 ban ended"]
    assert "1 new ban" in result.out
    assert held(paused, "nftables") == set()
    paused.treason("resume")
    assert held(paused, "nftables") == {*BANS, "203.0.113.5"}


@pytest.mark.parametrize("table", ["bans", "history", "verified", "marks"])
def test_a_damaged_database_holds_the_pause_not_up(table: str, enforced: Place) -> None:
    """Nothing is kept for fear that it is stored: it fails, and all is lifted."""
    page(enforced.database, table, wipe)
    result = enforced.treason("pause")
    assert result.code == 1
    assert f"the table {table} cannot be read" in result.err
    assert result.out.endswith(f"{FOREVER}\n")
    assert held(enforced, "nftables") == set()
    assert enforced.treason("reconcile", "--no-scan").code == 1
    assert held(enforced, "nftables") == set()


def test_a_mark_that_cannot_be_read_is_not_a_pause(paused: Place) -> None:
    """The pass says so, fails, and enforces."""
    page(paused.database, "pause", wipe)
    result = paused.treason("reconcile", "--no-scan")
    assert result.code == 1
    assert "the table pause cannot be read" in result.err
    assert held(paused, "nftables") == {*BANS}


def test_what_cannot_be_stored_lifts_nothing(enforced: Place) -> None:
    """Another program has locked the database, or it is gone."""
    with closing(sqlite3.connect(enforced.database, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        result = enforced.treason("pause")
    assert result.code == 1
    assert "locked by another program" in result.err
    assert held(enforced, "nftables") == {*BANS}
    enforced.database.rename(enforced.path / "away")
    result = enforced.treason("pause")
    assert result.code == 1
    assert "but there was one" in result.err
    (enforced.path / "away").rename(enforced.database)
    assert held(enforced, "nftables") == {*BANS}


def test_a_backend_that_cannot_be_emptied_is_named(enforced: Place) -> None:
    """The others are emptied, the mark stays, and the next pass tries again."""
    configure(enforced, "nftables", "file")
    assert enforced.treason("reconcile", "--no-scan").code == 0
    (enforced.path / "list").write_text("10.9.8.7\n")  # somebody else's by now
    result = enforced.treason("pause")
    assert result.code == 1
    assert "somebody else has changed it" in result.err
    assert "paused until treason resume, but file may still drop" in result.err
    assert "nothing is enforced" not in result.out
    assert held(enforced, "nftables") == set()
    assert enforced.treason("reconcile", "--no-scan").code == 1
    (enforced.path / "list").unlink()
    assert enforced.treason("reconcile", "--no-scan").code == 0
    assert held(enforced, "nftables") == set()


def test_anothers_objects_stay_refused(enforced: Place, tmp_path: Path) -> None:
    """Another database's bans are not ours to lift."""
    other = Place(tmp_path / "other", enforced.capture)
    other.path.mkdir(mode=0o700)
    configure(other, "nftables")
    other.treason("ban", "192.0.2.1")
    result = other.treason("pause")
    assert result.code == 1
    assert "another database" in result.err
    assert held(enforced, "nftables") == {*BANS}


def test_a_whitelist_that_is_gone_keeps_nobody_dropped(enforced: Place) -> None:
    """Without a pause a pass refuses to go on: here nobody is to be dropped anyway."""
    enforced.treason("whitelist", "add", "192.0.2.9")
    assert enforced.treason("reconcile", "--no-scan").code == 0
    whitelist = enforced.path / "whitelist.toml"
    text = whitelist.read_text()
    for broken in (None, "nonsense"):
        whitelist.unlink() if broken is None else whitelist.write_text(broken)
        assert enforced.treason("reconcile", "--no-scan").code == 1
        assert enforced.treason("pause").code == 0
        assert held(enforced, "nftables") == set()
        whitelist.write_text(text)
        assert enforced.treason("resume").code == 0
        assert held(enforced, "nftables") == {*BANS}


def test_while_another_pass_runs_it_waits(enforced: Place) -> None:
    """As long as it is told to; then nothing is stored."""
    with lock.held(enforced.path / "lock", 1.0, like=enforced.path):
        for command in ("pause", "resume"):
            result = enforced.treason(command, "--lock-timeout", "0.05")
            assert (result.code, "another pass" in result.err) == (1, True), result.err
    assert held(enforced, "nftables") == {*BANS}
    assert enforced.treason("status", "-o", "json").json["paused"] is None


def test_two_who_pause_and_resume_at_once(enforced: Place) -> None:
    """One comes after the other; what is true then is what the last one said."""
    for last in ("pause", "resume"):
        first = enforced.start("resume" if last == "pause" else "pause")
        second = enforced.start(last)
        assert (first.wait(30), second.wait(30)) == (0, 0)
        is_paused = enforced.treason("status", "-o", "json").json["paused"] is not None
        assert held(enforced, "nftables") == (set() if is_paused else {*BANS})
        assert checked(enforced).code == 0
    many = [enforced.start("pause") for _ in range(3)] + [enforced.start("ban", "203.0.113.7")]
    assert [each.wait(60) for each in many] == [0, 0, 0, 0]
    assert held(enforced, "nftables") == set()
    enforced.treason("resume")
    assert held(enforced, "nftables") == {*BANS, "203.0.113.7"}


def test_killed_at_any_moment_it_is_paused_or_it_is_not(enforced: Place) -> None:
    """The next pass makes the firewall what the mark says."""
    for number in range(8):
        enforced.treason("resume")
        pausing = enforced.start("pause")
        time.sleep(0.1 + number * 0.06)
        pausing.kill()
        pausing.wait()
        assert enforced.treason("reconcile", "--no-scan").code == 0
        is_paused = enforced.treason("status", "-o", "json").json["paused"] is not None
        assert held(enforced, "nftables") == (set() if is_paused else {*BANS})


def test_a_move_to_another_backend_goes_on(paused: Place) -> None:
    """The new one holds nothing either, until that is ended."""
    result = paused.treason("migrate", "--from", "nftables", "--to", "ipset")
    assert (result.code, FOREVER in result.out) == (0, True), result.err
    configure(paused, "ipset")
    assert held(paused, "ipset") == set()
    assert not Nftables().observe().banned
    paused.treason("resume")
    assert held(paused, "ipset") == {*BANS}
    assert BANS[0] in run(["ipset", "save", "treason4"]).output


def test_expected_closings_stay(place: Place, host: None) -> None:
    """They are settled by the first pass that drops who made them."""
    configure(place, "nftables")
    place.treason("pause")
    place.treason("ban", "203.0.113.5", "--close")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("UPDATE closings SET since = since - ?", (FOLLOWED,))

    def expected() -> list[tuple[str]]:
        with closing(sqlite3.connect(place.database)) as database:
            return database.execute("SELECT network FROM closings").fetchall()

    assert place.treason("reconcile").code == 0
    assert expected() == [("203.0.113.5",)]
    place.treason("resume")
    assert expected() == []


@pytest.mark.parametrize("words", [("--for", "x"), ("--for", "0s"), ("--for", "-1h")])
def test_a_wrong_duration_pauses_nothing(words: tuple[str, ...], enforced: Place) -> None:
    """It is named, with what is right."""
    result = enforced.treason("pause", *words)
    assert result.code == 1
    assert "is not a valid duration" in result.err
    assert enforced.treason("status", "-o", "json").json["paused"] is None
