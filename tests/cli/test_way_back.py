"""What undoes a mistake: unban --all and --rule, list by choice, whitelist --for, scan --again."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from harness import Place
from pytest_mock import MockerFixture

from reconciler import Network
from reconciler.model import Ban, Offence
from reconciler.store.store import open_store

NOW = int(time.time())
PEER = "TCP: Treason uncloaked! Peer {}:{}/8080 shrinks window 1:2. Repaired.\n"


REAL = time.time


def later(seconds: float) -> Callable[[], float]:
    """Return a clock that is ahead."""

    def told() -> float:
        return REAL() + seconds

    return told


def fill(place: Place) -> None:
    """Store three bans: two by a rule, one by hand."""
    now = int(time.time())
    with open_store(place.database, write=True) as store:
        a, b, c = (Network.parse(f"192.0.2.{i}") for i in (1, 2, 3))
        store.bans.add(
            [
                Ban(a, now - 7200, None, "tcp-md5", "one"),
                Ban(b, now - 60, now + 7200, "tcp-md5", "two"),
                Ban(c, now - 10, now + 3600, "manual", "three"),
            ]
        )
        store.offences.add("it", [Offence(b, "tcp-md5", "x", True, count=3)], now)
        store.offences.add("it", [Offence(a, "tcp-md5", "x", True)], now)


def networks(place: Place, *options: str) -> list[str]:
    """Return which networks a list names, in its order, the last part of each."""
    listed = place.treason("list", *options, "-o", "json")
    assert listed.code == 0, listed.err
    return [each["network"].rpartition(".")[2] for each in listed.json["bans"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "123"),
        (["--sort", "since"], "321"),
        (["--sort", "until"], "321"),
        (["--sort", "offences"], "213"),
        (["--rule", "tcp-md5"], "12"),
        (["--rule", "manual"], "3"),
        (["--rule", "nobody"], ""),
        (["--since", "1h"], "23"),
        (["--since", "1970-01-01"], "123"),
        (["--since", "2100-01-01T00:00:00+02:00"], ""),
        (["--sort", "since", "--limit", "2"], "32"),
        (["--rule", "tcp-md5", "--since", "1h", "--limit", "1"], "2"),
    ],
)
def test_a_list_is_chosen_sorted_and_cut(place: Place, options: list[str], expected: str) -> None:
    """The same in text and in JSON."""
    fill(place)
    assert networks(place, *options) == [*expected]
    lines = place.treason("list", *options).out.splitlines()
    assert [line.partition("\t")[0].rpartition(".")[2] for line in lines] == [*expected]


def test_offences_are_shown_where_they_are_sorted_by(place: Place) -> None:
    """A network's are those of every address in it."""
    fill(place)
    with open_store(place.database, write=True) as store:
        store.bans.add([Ban(Network.parse("192.0.2.0/30"), NOW, None, "manual", "")])
    bans = place.treason("list", "--sort", "offences", "-o", "json").json["bans"]
    assert [(each["network"], each["offences"]) for each in bans[:2]] == [
        ("192.0.2.0/30", 4),
        ("192.0.2.2", 3),
    ]
    assert "offences" not in place.treason("list", "-o", "json").json["bans"][0]
    assert place.treason("list", "--sort", "offences").out.split("\t")[4] == "4"


def test_a_list_of_nothing_is_json_too(place: Place) -> None:
    """As ever: one object."""
    assert place.treason("list", "-o", "json").json == {"format_version": 1, "bans": []}


@pytest.mark.parametrize("when", ["yesterday", "permanent", "1", "99999-01-01", ""])
def test_what_is_no_time_is_refused(place: Place, when: str) -> None:
    """With what to write."""
    result = place.treason("list", "--since", when)
    assert (result.code, result.out) == (1, "")
    assert "neither a duration nor a date" in result.err
    assert "2026-11-29T18:00:00Z" in result.err


def test_choices_do_not_go_with_the_other_lists(place: Place) -> None:
    """They list all."""
    assert place.treason("list", "--invalid", "--limit", "1").code == 64
    assert place.treason("list", "--observed-only", "--rule", "x").code == 64


def test_all_bans_are_lifted_and_the_history_knows(place: Place) -> None:
    """Also a row that is no network; what was to be closed is not."""
    fill(place)
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("INSERT INTO badips VALUES (datetime('now'), 'nobody')")
    place.treason("ban", "192.0.2.9", "--close")
    result = place.treason("unban", "--all")
    assert (result.code, result.out) == (0, "unbanned: 5 bans\n")
    assert networks(place) == []
    assert place.treason("list", "--invalid").out == ""
    history = place.treason("history", "-o", "json").json["events"]
    assert sum(each["action"] == "unban" for each in history) == 5
    with open_store(place.database, write=False) as store:
        assert not store.closings.expected()
    assert place.treason("unban", "--all").out == "there is no ban\n"


def test_the_bans_of_one_rule_are_lifted(place: Place) -> None:
    """Others stay; a name that nothing has is an error that tells the names there are."""
    fill(place)
    assert place.treason("unban", "--rule", "tcp-md5").out == "unbanned: 2 bans of tcp-md5\n"
    assert networks(place) == ["3"]
    wrong = place.treason("unban", "--rule", "tcp-md6")
    assert wrong.code == 1
    assert "no rule is named 'tcp-md6'" in wrong.err
    assert "the bans are of: manual" in wrong.err
    assert place.treason("unban", "--rule", "zero-window").out == "there is no ban of zero-window\n"


def test_the_name_of_a_rule_does_no_harm(place: Place) -> None:
    """Whoever wrote it into the database: no control character of it reaches the terminal."""
    name, told = "a\x1b[2J\nb", "a\\x1b[2J\\nb"
    with open_store(place.database, write=True) as store:
        store.bans.add([Ban(Network.parse("192.0.2.1"), int(time.time()), None, name, "")])
    wrong = place.treason("unban", "--rule", "tcp-md6")
    assert wrong.err.endswith(f"\n  the bans are of: {told}\n")
    assert place.treason("unban", "--rule", name).out == f"unbanned: 1 ban of {told}\n"


@pytest.mark.parametrize("options", [["--all", "192.0.2.1"], ["--all", "--rule", "x"]])
def test_all_and_a_rule_go_alone(place: Place, options: list[str]) -> None:
    """Nothing is lifted."""
    fill(place)
    assert place.treason("unban", *options).code == 64
    assert len(networks(place)) == 3


def test_on_a_terminal_they_ask(place: Place, mocker: MockerFixture) -> None:
    """With the number; whoever says no keeps all, and --yes is not asked."""
    fill(place)
    mocker.patch("sys.stdin.isatty", return_value=True)
    asked = mocker.patch("click.confirm", return_value=False)
    result = place.treason("unban", "--all")
    assert (result.code, result.out) == (1, "nothing was changed\n")
    assert asked.call_args.args == ("Remove 3 bans?",)
    assert place.treason("unban", "--all", "--yes").out == "unbanned: 3 bans\n"
    assert asked.call_count == 1


def test_a_pass_enforces_that_without_force(place: Place, nft: object) -> None:
    """However many: each was lifted by somebody; beyond 20,000 nothing is noted one by one."""
    many = [Network.of(4, 0x0B000000 + i, 32) for i in range(25_000)]
    with open_store(place.database, write=True) as store:
        store.bans.add(Ban(network, NOW, None, "manual", "") for network in many)
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("unban", "--all").out == "unbanned: 25,000 bans\n"
    result = place.treason("reconcile", "--no-scan")
    assert (result.code, result.err) == (0, "")
    assert "25,000 removed" in result.out
    assert place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_an_entry_with_an_end_exempts_until_then(
    place: Place, nft: object, mocker: MockerFixture
) -> None:
    """A pass after it drops again, without --full; the list says that it has ended."""
    place.treason("ban", "192.0.2.0/24", "--force")
    added = place.treason("whitelist", "add", "192.0.2.7", "--for", "30m", "--comment", "mended")
    assert added.out.startswith("192.0.2.7: whitelisted until ")
    assert added.out.endswith(" (in 30 min)\n")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("reconcile", "--check", "--no-scan").code == 0
    mocker.patch("time.time", later(1801))
    listed = place.treason("whitelist", "list", "-o", "json").json["networks"]
    assert [(each["network"], each["ended"]) for each in listed] == [("192.0.2.7", True)]
    assert "(ended)" in place.treason("whitelist", "list").out
    assert place.treason("status", "-o", "json").json["whitelisted"] == 0
    assert place.treason("reconcile", "--check", "--no-scan").code == 2
    assert "192.0.2.7 (whitelisted)" in place.treason("reconcile", "--no-scan").out
    assert place.treason("ban", "192.0.2.7").code == 0


def test_what_has_ended_leaves_the_file_when_it_is_written(
    place: Place, mocker: MockerFixture
) -> None:
    """And not before; nor while the clock is in doubt, which a jump of hours makes it."""
    written = place.path / "whitelist.toml"
    place.treason("ban", "203.0.113.1")  # so that a look at the clock is remembered
    place.treason("whitelist", "add", "192.0.2.7", "--for", "30m")
    place.treason("whitelist", "add", "192.0.2.8")
    assert "until = " in written.read_text()
    mocker.patch("time.time", later(7 * 86400))
    place.treason("whitelist", "add", "192.0.2.9")
    assert "192.0.2.7" in written.read_text()
    mocker.patch("time.time", later(1801))
    place.treason("whitelist", "list")
    assert "192.0.2.7" in written.read_text()
    place.treason("whitelist", "remove", "192.0.2.9")
    assert "192.0.2.7" not in written.read_text()
    assert "192.0.2.8" in written.read_text()


def test_an_entry_that_is_added_again_has_the_new_end(place: Place) -> None:
    """Or none; its comment stays. One in treason.toml is named."""
    place.configure('[whitelist]\nnetworks = ["192.0.2.7"]')
    added = place.treason("whitelist", "add", "192.0.2.7", "--for", "8h", "--comment", "x").out
    assert added.endswith(f"; without an end in {place.config}\n")
    place.treason("whitelist", "add", "192.0.2.7")
    assert (place.path / "whitelist.toml").read_text().splitlines()[2:3] == [
        '    { network = "192.0.2.7", comment = "x" },'
    ]


@pytest.mark.parametrize("until", ['"tomorrow"', "2026-11-29", "2026-11-29T18:00:00", "5"])
def test_an_end_without_its_offset_is_refused(place: Place, until: str) -> None:
    """It would be another moment on another machine."""
    place.configure(f'[whitelist]\nnetworks = [{{network = "192.0.2.7", until = {until}}}]')
    result = place.treason("config", "check")
    assert result.code == 1
    assert "192.0.2.7: until must be a date, a time and an offset" in result.out


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59.5Z", "0001-01-01T00:00:00+14:00"])
def test_an_end_that_cannot_be_written_in_utc_is_refused(place: Place, until: str) -> None:
    """Else the next `whitelist add` could not write the file."""
    (place.path / "whitelist.toml").write_text(
        f'networks = [{{network = "192.0.2.7", until = {until}}}]'
    )
    result = place.treason("whitelist", "add", "192.0.2.8")
    assert result.code == 1
    assert "192.0.2.7: until is in no year that UTC has" in result.err


def test_an_end_stands_in_the_configuration_as_well(place: Place) -> None:
    """And `config show` prints it."""
    entry = '{network = "192.0.2.7", until = 2100-01-01T00:00:00+01:00}'
    place.configure(f"[whitelist]\nnetworks = [{entry}]")
    [listed] = place.treason("whitelist", "list", "-o", "json").json["networks"]
    assert (listed["until"], listed["ended"]) == ("2099-12-31T23:00:00Z", False)
    assert place.treason("config", "show").code == 0
    assert "2099-12-31" in json.dumps(place.treason("config", "show", "-o", "json").json)


def stored(place: Place) -> int:
    """Return how many offences are stored."""
    with closing(sqlite3.connect(place.database)) as database:
        return int(database.execute("SELECT count(*) FROM offences").fetchone()[0])


@pytest.fixture(params=["bare", "dated", "stamped"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A log in which two peers offend, one of them three times, one time at two lines alike."""
    heads = {
        "bare": ("", "", "", ""),
        "dated": ("Nov  3 10:00:00 h kernel: ",) * 3 + ("Nov  3 10:00:09 h kernel: ",),
        "stamped": tuple(f"[  {i}00.000001] " for i in range(1, 5)),
    }[request.param]
    path = tmp_path / "kern.log"
    peers = ("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.2", 1), ("192.0.2.2", 2)
    lines = (head + PEER.format(*peer) for head, peer in zip(heads, peers, strict=True))
    path.write_text("".join(lines))
    return path


def test_a_log_that_is_read_again_bans_whom_it_banned(place: Place, log: Path) -> None:
    """After unban --all, which settles it for every other scan; nothing is stored twice."""
    source = ("scan", "--source", f"file:{log}")
    assert "2 new bans" in place.treason(*source).out
    number = stored(place)
    place.treason("unban", "--all")
    assert place.treason(*source).out.endswith("0 new bans\n")
    again = place.treason("scan", "--again", str(log))
    assert again.code == 0, again.err
    assert "0 offences, 4 already counted, 2 new bans" in again.out
    assert "2 networks banned again, though unbanned by hand: 192.0.2.1, 192.0.2.2" in again.out
    assert (stored(place), networks(place)) == (number, ["1", "2"])
    assert "0 new bans" in place.treason("scan", "--again", str(log)).out
    assert stored(place) == number


def test_a_line_that_came_since_is_stored_once(place: Place, log: Path) -> None:
    """By --again; the next scan knows it."""
    place.treason("scan", "--source", f"file:{log}")
    with log.open("a") as more:
        more.write("Nov  4 10:00:00 h kernel: [ 900.000001] " + PEER.format("192.0.2.3", 1))
    number = stored(place)
    assert (
        "1 offence, 4 already counted, 1 new ban" in place.treason("scan", "--again", str(log)).out
    )
    assert place.treason("scan", "--source", f"file:{log}").out.endswith("0 offences, 0 new bans\n")
    assert stored(place) == number + 1


@pytest.mark.parametrize("count", [1, 3])
def test_the_same_records_in_another_shape_are_known(place: Place, log: Path, count: int) -> None:
    """As where the daemon read /dev/kmsg, and the log is what journalctl -k prints of it."""
    stamped, bare = place.path / "a", place.path / "b"
    line = PEER.format("192.0.2.1", 1)
    head = "Nov  3 10:00:00 h kernel: "
    stamped.write_text("".join(f"{head}[  {n}00.000001] {line}" for n in range(1, count + 1)))
    bare.write_text(f"{head}{line}" * count)
    for first, then in ((stamped, bare), (bare, stamped)):
        place.database.unlink(missing_ok=True)
        place.treason("init", "--new-database")
        place.treason("scan", "--source", f"file:{first}")
        place.treason("unban", "--all")
        assert (
            f"{count} already counted, 1 new ban" in place.treason("scan", "--again", str(then)).out
        )
        assert stored(place) == count


def test_many_lines_alike_are_no_burden(place: Place) -> None:
    """Ten thousand that differ by their time alone, half of which are pruned: in a few seconds."""
    log = place.path / "kern.log"
    line = PEER.format("192.0.2.1", 1)
    with log.open("w") as file:
        for n in range(10_000):
            time_ = f"{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}"
            file.write(f"Nov  3 {time_} h kernel: {line}")
    place.treason("scan", "--source", f"file:{log}")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("DELETE FROM offences WHERE id % 2")
    begun = time.process_time()
    assert "5,000 already counted" in place.treason("scan", "--again", str(log)).out
    assert time.process_time() - begun < 20
    assert stored(place) == 10_000


def test_a_threshold_is_not_reached_by_reading_twice(place: Place, log: Path) -> None:
    """What is stored counts once; whoever reached it is banned again."""
    place.configure('[policy]\nthreshold = 2\nwindow = "1h"\n')
    source = ("scan", "--source", f"file:{log}")
    assert place.treason(*source).out.endswith("1 new ban\n")
    place.treason("unban", "--all")
    for _ in range(2):
        place.treason("scan", "--again", str(log))
        assert networks(place) == ["2"]


def test_whose_ban_had_ended_by_itself_is_served(
    place: Place, log: Path, mocker: MockerFixture
) -> None:
    """He is not banned again, and escalation does not grow by what was lifted by hand."""
    place.configure('[policy]\nban_for = "30m"\nescalate = 4\n')
    place.treason("scan", "--source", f"file:{log}")
    place.treason("unban", "192.0.2.2")
    mocker.patch("time.time", later(1900))
    assert "1 new ban" in place.treason("scan", "--again", str(log)).out
    [ban] = place.treason("list", "-o", "json").json["bans"]
    assert ban["network"] == "192.0.2.2"
    with open_store(place.database, write=False) as store:
        [held] = store.bans.active(int(time.time()))
        assert held.until is not None
        assert held.until - held.since == 1800


def test_again_names_the_log_itself(place: Place) -> None:
    """So it takes no source; a log that is missing is an error."""
    assert place.treason("scan", "--again", "x", "--source", "kmsg").code == 64
    missing = place.treason("scan", "--again", str(place.path / "nothing"))
    assert missing.code == 1
    assert "No such file" in missing.err


def test_a_configured_log_keeps_its_name_and_cursor(place: Place, log: Path) -> None:
    """The next pass goes on where --again ended."""
    place.configure(f'[source.file]\npath = "{log}"\ntrusted = true\n', main='sources = ["file"]')
    place.treason("scan")
    number = stored(place)
    assert place.treason("scan", "--again", str(log)).out.startswith("file: 0 offences")
    assert place.treason("scan").out == "file: 0 offences, 0 new bans\n"
    assert stored(place) == number
