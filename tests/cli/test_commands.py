"""The commands around the pass: whitelist, status, history, init, config, plugins, export."""

import io
import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve
from harness import Place
from pytest_mock import MockerFixture

from reconciler.cli.commands.init import observes, write_configuration
from reconciler.config.setup import Setup
from reconciler.config.template import default_text, new_text
from reconciler.detection.policy import Policy
from reconciler.errors import ConfigError
from reconciler.execute import run
from reconciler.host.netns import Wire

Nft = Callable[..., str]


def test_whitelisting_lifts_at_the_next_pass(
    place: Place, wire: Callable[..., Wire], nft: Nft
) -> None:
    """By packets: dropped, whitelisted and open, removed and dropped again."""
    cable = wire("198.51.100.9", "198.51.100.10")
    both = ["198.51.100.9", "198.51.100.10"]
    place.treason("ban", "198.51.100.0/24")
    place.treason("reconcile", "--no-scan")
    assert cable.arriving(both) == set()
    place.treason("whitelist", "add", "198.51.100.9", "--comment", "ours")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert cable.arriving(both) == {"198.51.100.9"}
    place.treason("whitelist", "remove", "198.51.100.9")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert cable.arriving(both) == set()


def test_an_address_that_is_exempt_anyway_needs_no_reading(place: Place, host: None) -> None:
    """Containers bring and take link-local addresses all the time."""

    def verified() -> list[object]:
        with sqlite3.connect(place.path / "treason.db") as database:
            rows = database.execute("SELECT digest, fingerprint FROM verified").fetchall()
        database.close()
        return rows

    assert place.treason("reconcile", "--no-scan").code == 0
    before = verified()
    run(["ip", "addr", "add", "fe80::7/64", "dev", "lo"])
    assert place.treason("reconcile", "--no-scan").code == 0
    assert verified() == before
    run(["ip", "addr", "add", "203.0.113.7/32", "dev", "lo"])
    assert place.treason("reconcile", "--no-scan").code == 0
    assert verified() != before


def test_the_hand_written_file_is_never_rewritten(place: Place) -> None:
    """Commands write whitelist.toml beside it, readable by everybody."""
    place.configure('[whitelist]\nnetworks = ["10.0.0.0/8"]  # by hand')
    before = place.config.read_bytes()
    place.treason("whitelist", "add", "192.0.2.0/24", "2001:db8::/32", "--comment", 'it\'s "ours"')
    assert place.config.read_bytes() == before
    written = place.path / "whitelist.toml"
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    listed = place.treason("whitelist", "list", "-o", "json").json["networks"]
    assert [entry["network"] for entry in listed] == ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"]
    assert listed[1]["comment"] == 'it\'s "ours"'
    removed = place.treason("whitelist", "remove", "192.0.2.0/24", "10.0.0.0/8").out.splitlines()
    assert removed == [
        "192.0.2.0/24: removed",
        f"10.0.0.0/8: is not in {written}; still whitelisted: edit networks in {place.config}",
    ]


@pytest.mark.parametrize(
    "content", ["networks = [", 'networks = ["x"]', "nets = []", "networks = 3", b"\xff"]
)
def test_a_broken_whitelist_enforces_nothing(content: str | bytes, place: Place, nft: Nft) -> None:
    """What is enforced stays as it is, and the file is not overwritten."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    place.treason("ban", "192.0.2.8")
    path = place.path / "whitelist.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before, ruleset = place.snapshot(), nft("list ruleset")
    for command in (["reconcile", "--no-scan"], ["ban", "192.0.2.9"], ["whitelist", "add", "::1"]):
        result = place.treason(*command)
        assert (result.code, result.out) == (1, "")
        assert str(path) in result.err
    assert (place.snapshot(), nft("list ruleset")) == (before, ruleset)


def test_own_addresses_survive_a_ban_of_their_network(
    place: Place, wire: Callable[..., Wire], nft: Nft
) -> None:
    """Gateway and resolver stay reachable, too; `status --protection` says why."""
    wire()
    place.treason("ban", "192.0.2.0/24")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "192.0.2.1\n" not in nft("list set inet treason banned4")
    listed = place.treason("status", "--protection").out
    assert "192.0.2.1\town address" in listed
    refused = place.treason("ban", "192.0.2.1")
    assert (refused.code, "192.0.2.1 is protected by 192.0.2.1 (own address)" in refused.err) == (
        1,
        True,
    )


def test_who_comes_through_ssh_is_not_locked_out(place: Place, nft: Nft) -> None:
    """Remembered by a writing command, so a pass of the timer desires the same."""
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
    through = ["env", "SSH_CONNECTION=203.0.113.9 5 192.0.2.1 22"]
    run([*through, *command, "ban", "203.0.113.0/24"])
    assert place.treason("reconcile", "--no-scan").code == 0
    listing = nft("list ruleset")
    assert "{ 203.0.113.8 }" in listing
    assert "203.0.113.9" not in listing
    refused = run([*command, "ban", "203.0.113.9"], codes=(1,))
    assert "ssh client of a recent command" in refused.error


def test_history_tells_what_happened_the_latest_first(place: Place) -> None:
    """Of all networks, or of one."""
    place.treason("ban", "192.0.2.7", "192.0.2.8", "--reason", "first")
    place.treason("unban", "192.0.2.7")
    events = place.treason("history", "-o", "json").json["events"]
    assert [(e["action"], e["network"]) for e in events] == [
        ("unban", "192.0.2.7"),
        ("ban", "192.0.2.8"),
        ("ban", "192.0.2.7"),
    ]
    assert len(place.treason("history", "192.0.2.8").out.splitlines()) == 1
    assert len(place.treason("history", "--limit", "2").out.splitlines()) == 2


def test_status_tells_how_things_stand(place: Place, nft: Nft) -> None:
    """Drift is no error of status, an unreadable firewall is."""
    place.treason("ban", "192.0.2.7")
    drift = place.treason("status", "-o", "json")
    assert (drift.code, drift.json["backends"][0]["state"]) == (0, "drift")
    assert drift.json["bans"] == {"permanent": 1, "temporary": 0, "invalid": 0, "too_wide": 0}
    place.treason("reconcile", "--no-scan")
    assert "nftables        in sync" in place.treason("status").out


def test_init_makes_what_is_missing_and_keeps_what_is_there(place: Place) -> None:
    """Configuration, database and their directories; twice is fine."""
    place.config.unlink()
    config, database = place.path / "etc" / "treason.toml", place.path / "lib" / "treason.db"
    text = default_text().replace("/var/lib/treason/treason.db", str(database), 1)
    config.parent.mkdir()
    config.write_text(text.replace("# database", "database", 1))
    command = [sys.executable, "-m", "reconciler", "--config", str(config), "init"]
    first, second = run(command).output.splitlines(), run(command).output.splitlines()
    assert first == [f"{config}: already exists, unchanged", f"{database}: created"]
    assert second == [
        f"{config}: already exists, unchanged",
        f"{database}: already exists, unchanged",
    ]
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_init_writes_the_default_configuration(tmp_path: Path, place: Place) -> None:
    """Where none is; but a new installation looks at sockets as well."""
    path = tmp_path / "new" / "treason.toml"
    write_configuration(path)
    written, shipped = path.read_text().splitlines(), default_text().splitlines()
    different = [lines for lines in zip(written, shipped, strict=True) if lines[0] != lines[1]]
    assert different == [('sources = ["kmsg", "sockets"]', '# sources = ["kmsg"]')]
    with pytest.raises(ConfigError, match="cannot create the configuration"):
        write_configuration(path / "below" / "a" / "file")


def test_init_writes_a_configuration_that_only_observes(tmp_path: Path, place: Place) -> None:
    """Where --observe asks for it; it does not change one that is there."""
    path = tmp_path / "new" / "treason.toml"
    assert observes(Setup(str(path)), asked=True)
    write_configuration(path, observe=True)
    assert Setup(str(path)).config.policy.observes
    write_configuration(tmp_path / "usual.toml")
    usual = Setup(str(tmp_path / "usual.toml")).config
    assert Setup(str(path)).config == evolve(usual, policy=Policy(mode="observe"))
    assert not observes(Setup(str(path)), asked=True)
    before = place.config.read_text()
    result = place.treason("init", "--observe")
    assert (result.code, place.config.read_text()) == (1, before)
    assert "--observe changes nothing" in result.err
    assert 'set mode = "observe" in [policy] there' in result.err


@pytest.mark.parametrize(("answer", "expected"), [("y\n", True), ("\n", False)])
def test_init_asks_on_a_terminal_whether_to_observe(
    answer: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody else, nor where a configuration is there already."""
    setup = Setup(str(tmp_path / "treason.toml"))
    for nobody in (io.StringIO("y\n"), None):  # None where standard input is closed
        monkeypatch.setattr("sys.stdin", nobody)
        assert not observes(setup, asked=False)
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        os.write(ours, answer.encode())
        assert observes(setup, asked=False) is expected
        setup.path.touch()
        assert not observes(setup, asked=False)
    os.close(ours)


def test_a_configuration_that_nobody_touched_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    """As a package brings it: --observe changes it; who has a database is not asked any more."""
    path = tmp_path / "treason.toml"
    database = tmp_path / "treason.db"
    path.write_text(new_text())

    def observing(*, asked: bool) -> bool:
        setup = Setup(str(path))
        main = evolve(setup.config.treason, database=database)
        setup.config = evolve(setup.config, treason=main)
        return observes(setup, asked=asked)

    path.chmod(0o640)
    monkeypatch.setattr("sys.stdin", mocker.Mock(isatty=lambda: True))
    confirm = mocker.patch("click.confirm", return_value=True)
    assert observing(asked=False)
    confirm.assert_called_once()
    database.touch()
    assert not observing(asked=False)
    write_configuration(path, observe=False)
    assert path.read_text() == new_text()
    assert observing(asked=True)
    confirm.assert_called_once()
    write_configuration(path, observe=True)
    assert path.read_text() == new_text(observe=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.write_text(f"{new_text()}\n# mine\n")
    with pytest.raises(ConfigError, match="--observe changes nothing"):
        observing(asked=True)


def test_config_check_tells_every_mistake(place: Place) -> None:
    """Of the file, the whitelist and the plugins' tables, with line and nearest key."""
    place.configure('[policy]\ntreshold = 3\nwindow = 5\n[trust]\nuserspace = "yes"')
    result = place.treason("config", "check")
    assert result.code == 1
    assert sorted(line.split(": ", 1)[1] for line in result.out.splitlines() if line[0] == "/") == [
        "[policy] unknown key 'treshold'; did you mean 'threshold'?",
        "[policy] window: 5 is not a valid duration",
        "[trust] userspace: must be true or false, not a string",
    ]
    place.configure("[source.file]\npaht = 1", main='sources = ["file"]\nbackends = ["nftable"]')
    (place.path / "whitelist.toml").write_text('networks = ["x"]')
    told = place.treason("config", "check").out
    assert "whitelist.toml:1: networks: 'x' is not an IP address" in told
    assert "[source.file] unknown key 'paht'; did you mean 'path'?" in told
    assert "unknown backend 'nftable'" in told
    place.configure()
    (place.path / "whitelist.toml").unlink()
    assert place.treason("config", "check").out == f"{place.config}: OK\n"


def test_config_show_is_a_configuration_again(place: Place) -> None:
    """What it prints, read back, shows the same."""
    place.configure('[policy]\nban_for = "30d"\n[whitelist]\nnetworks = ["10.0.0.0/8"]')
    shown = place.treason("config", "show").out
    place.config.write_text(shown)
    assert place.treason("config", "show").out == shown
    assert 'ban_for = "30d"' in shown


def test_plugins_lists_each_kind_with_its_provider(place: Place) -> None:
    """The built-ins are plugins as all others."""
    rows = [line.split("\t") for line in place.treason("plugins").out.splitlines()]
    assert ["source", "kmsg", "source-kmsg"] in rows
    assert ["backend", "file", "backend-file"] in rows
    assert ["feed", "list", "feed-list"] in rows


def test_a_snapshot_is_checked_without_any_privilege(place: Place, nft: Nft) -> None:
    """In sync, drift, and a backend that it does not hold."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    taken = place.path / "observed.json"
    taken.write_text(place.treason("export", "--observed").out)
    python = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    check = [*drop, *python, "reconcile", "--check", "--no-scan", "--observed", str(taken)]
    assert run(check).output == "nftables: in sync\n"
    place.treason("ban", "192.0.2.8")
    drift = run([*check, "--diff"], codes=(2,)).output
    assert drift.splitlines() == [
        "nftables: drift: 1 to add",
        "--- nftables (observed)",
        "+++ nftables (desired)",
        "@@ -1,0 +2,1 @@",
        "+banned 192.0.2.8",
    ]
    other = run([*check, "--backend", f"file:{place.path}/list"], codes=(1,))
    assert "the snapshot has no backend" in other.error


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"format_version": 1, "backends": {"nftables": {"banned": ["x"]}}}',
                '{"format_version": 9, "backends": {}}'],
)  # fmt: skip
def test_a_broken_snapshot_is_refused(content: str, place: Place) -> None:
    """It is never an empty firewall."""
    path = place.path / "observed.json"
    path.write_text(content)
    result = place.treason("reconcile", "--check", "--no-scan", "--observed", str(path))
    assert (result.code, result.out) == (1, "")
    assert str(path) in result.err


def test_observed_goes_with_check_alone(place: Place) -> None:
    """Nothing can be changed in a file of the past."""
    assert place.treason("reconcile", "--observed", "x").code == 64
    assert place.treason("init", "--undo").code == 64


def test_the_limit_of_new_bans_is_lifted_by_force(place: Place, seed_log: Path) -> None:
    """Refused as a whole, then stored."""
    place.configure("[policy]\nmax_new_bans = 1")
    source = ("--source", f"file:{seed_log}")
    refused = place.treason("scan", *source)
    assert refused.code == 1
    assert "2 new bans: max_new_bans allows 1" in refused.err
    assert place.treason("list").out == ""
    assert place.treason("scan", "--force", *source).out.endswith("2 new bans\n")


def test_offences_are_kept_as_long_as_the_longest_window(place: Place) -> None:
    """Also that of a rule: or its threshold would never be reached."""
    log = place.path / "kern.log"
    old = _offence(days=20, port=1)
    log.write_text(old)
    rule = '[[rule]]\nname = "treason-uncloaked"\nthreshold = 2\nwindow = "30d"'
    place.configure(f'[policy]\nkeep_offences = "1d"\n{rule}')
    source = ("--source", f"file:{log}")
    place.treason("scan", *source)
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("DELETE FROM prunings")
    log.write_text(old + _offence(days=0, port=2))
    assert place.treason("scan", *source).out.endswith("1 new ban\n")


def _offence(*, days: int, port: int) -> str:
    """Make a line of so many days ago."""
    time = datetime.now(UTC) - timedelta(days=days)
    return (
        f"{time:%Y-%m-%dT%H:%M:%SZ} host kernel: TCP: Treason uncloaked! Peer"
        f" 198.51.100.1:{port}/80 shrinks window 1:2. Repaired.\n"
    )


def test_a_blocklist_needs_no_privilege_at_all(place: Place, seed_log: Path) -> None:
    """From a log to a list, as anybody."""
    target = place.path / "deny.list"
    python = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    run(
        [*drop, *python, "reconcile", "--source", f"file:{seed_log}", "--backend", f"file:{target}"]
    )
    assert target.read_text() == "117.79.83.112\n218.14.17.182\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
