"""The command line: what each command prints, changes, and ends with."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from harness import Place

from reconciler.cli.commands.config import config
from reconciler.cli.commands.feed import feed
from reconciler.cli.commands.fleet import fleet
from reconciler.cli.commands.whitelist import whitelist
from reconciler.cli.main import cli
from reconciler.config import tables
from reconciler.execute import run
from reconciler.host.lock import held

Nft = Callable[..., str]
SEEDED = ["117.79.83.112", "218.14.17.182"]


def test_the_seed_from_drift_to_sync(place: Place, seed_log: Path, nft: Nft) -> None:
    """Check names two additions and changes nothing; reconcile makes exactly them; then sync."""
    source = ("--source", f"file:{seed_log}")
    check = place.treason("reconcile", "--check", *source)
    assert check.code == 2
    assert re.findall(r"^  \+ (\S+)$", check.out, re.MULTILINE) == SEEDED
    assert nft("list ruleset") == ""
    assert not place.database.exists()
    assert place.treason("reconcile", *source).code == 0
    listing = nft("list table inet treason")
    assert re.findall(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", listing) == SEEDED
    again = place.treason("reconcile", "--check", *source)
    assert (again.code, again.out.splitlines()[-1]) == (0, "nftables: in sync")


@pytest.mark.parametrize(
    "damage",
    [
        "delete element inet treason banned4 { 117.79.83.112 }",
        "add element inet treason banned4 { 203.0.113.9 }",
        "flush set inet treason banned4",
        "flush chain inet treason prerouting",
        "insert rule inet treason prerouting accept",
        "add table inet treason { flags dormant; }",
        "delete table inet treason",
    ],
)
def test_each_damage_is_drift_that_one_reconcile_restores(
    damage: str, place: Place, seed_log: Path, nft: Nft
) -> None:
    """Exit codes 2, 0, 0; the table is as before, and a foreign one beside it byte-identical."""
    nft("add table ip other; add set ip other s { type ipv4_addr; elements = { 10.0.0.1 }; }")
    assert place.treason("reconcile", "--source", f"file:{seed_log}").code == 0
    before, other = nft("list table inet treason"), nft("list table ip other", "-a")
    nft(damage)
    assert place.treason("reconcile", "--check", "--no-scan").code == 2
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("reconcile", "--check", "--no-scan").code == 0
    assert nft("list table inet treason") == before
    assert nft("list table ip other", "-a") == other


def test_a_check_writes_nothing_at_all(
    place: Place, seed_log: Path, nft: Nft, tmp_path: Path
) -> None:
    """Traced: no file is opened for writing, made or removed, and no netlink batch is sent."""
    place.treason("reconcile", "--source", f"file:{seed_log}")
    nft("flush set inet treason banned4")
    before = place.snapshot()
    trace = tmp_path.parent / f"{tmp_path.name}.trace"
    command = [sys.executable, "-B", "-m", "reconciler", "--config", str(place.config)]
    done = run(
        # What measures the tests' coverage would write a file of its own.
        ["env", "-u", "COVERAGE_PROCESS_CONFIG", "strace", "-f", "-o", str(trace),
         "-e", "trace=file,network,write", *command,
         "reconcile", "--check", "--source", f"file:{seed_log}"],
        codes=(2,),
    )  # fmt: skip
    assert "2 to add" in done.output
    assert place.snapshot() == before
    lines = trace.read_text().splitlines()
    writes = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|mkdir|unlink|rename|chmod|chown|NFNL_MSG_BATCH")
    assert [line for line in lines if writes.search(line) and "/dev/null" not in line] == []
    assert any("NFT_MSG_GET" in line for line in lines), "the trace shows what nft is asked"


def test_a_check_of_nothing_creates_nothing(place: Place, nft: Nft) -> None:
    """No database, no lock; an absent table is drift."""
    before = place.snapshot()
    result = place.treason("reconcile", "--check", "--no-scan")
    assert result.code == 2
    assert "table inet treason: is missing" in result.out
    assert place.snapshot() == before


def test_json_tells_the_plan(place: Place, seed_log: Path, nft: Nft) -> None:
    """Check and pass give the same shape, with a format version."""
    source = ("--source", f"file:{seed_log}", "-o", "json")
    drift = place.treason("reconcile", "--check", *source)
    assert drift.code == 2
    assert drift.json["format_version"] == 1
    assert drift.json["result"] == "drift"
    [backend] = drift.json["backends"]
    assert backend["plan"]["banned"] == {"add": SEEDED, "remove": []}
    [told] = drift.json["sources"]
    assert {key: told[key] for key in ("source", "offences", "refused", "bans", "error")} == {
        "source": f"file:{seed_log}", "offences": 4, "refused": 0, "bans": SEEDED, "error": None,
    }  # fmt: skip
    done = place.treason("reconcile", *source).json
    assert (done["result"], done["backends"][0]["state"]) == ("converged", "changed")


def test_long_plans_are_cut_and_diff_shows_all(place: Place, nft: Nft) -> None:
    """Twenty lines, unless every one is asked for; -v adds the script."""
    place.treason("ban", *(f"192.0.2.{i}" for i in range(30)))
    short = place.treason("reconcile", "--check", "--no-scan").out
    assert "and 11 more; --diff shows all" in short
    full = place.treason("reconcile", "--check", "--no-scan", "--diff", "-v").out
    assert full.count("\n+banned 192.0.2.") == 30
    assert "add element inet treason banned4 { 192.0.2.0, " in full


def test_bans_are_made_listed_and_lifted(place: Place, nft: Nft) -> None:
    """In text and JSON; an overlapping ban stays and is told."""
    said = place.treason("ban", "192.0.2.7", "2001:db8::/48", "--for", "1h", "--reason", "why")
    assert said.code == 0
    assert re.search(
        r"^192\.0\.2\.7: banned until 20..-..-..T..:..:..Z \(in 60 min\)$", said.out, re.MULTILINE
    )
    place.treason("ban", "192.0.2.0/24")
    listed = place.treason("list", "-o", "json").json
    assert listed["format_version"] == 1
    assert [ban["network"] for ban in listed["bans"]] == [
        "192.0.2.0/24",
        "192.0.2.7",
        "2001:db8::/48",
    ]
    assert listed["bans"][0]["until"] is None
    assert listed["bans"][1]["reason"] == "why"
    lifted = place.treason("unban", "192.0.2.7", "203.0.113.1").out
    assert lifted.splitlines() == [
        "192.0.2.7: unbanned; still banned as part of a wider network",
        "203.0.113.1: was not banned; a firewall that still drops it stops with the next pass",
    ]
    rows = [line.split("\t")[0] for line in place.treason("list").out.splitlines()]
    assert rows == ["192.0.2.0/24", "2001:db8::/48"]


def test_whitelisted_bans_are_told_and_not_enforced(place: Place, nft: Nft) -> None:
    """They are stored, but the kernel never holds them."""
    place.configure('[whitelist]\nnetworks = ["10.0.0.0/8"]')
    refused = place.treason("ban", "10.1.2.3")
    assert (refused.code, refused.out) == (1, "")
    assert "10.1.2.3 is whitelisted by 10.0.0.0/8, so" in refused.err
    assert "but not enforced: it is exempt" in place.treason("ban", "--force", "10.1.2.3").out
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "10.1.2.3" not in nft("list ruleset")
    assert place.treason("unban", "10.1.2.3").out == "10.1.2.3: unbanned\n"


def end_all_bans(place: Place) -> None:
    """Let every stored ban have ended long ago."""
    with sqlite3.connect(place.database) as database:
        database.execute("UPDATE bans SET until = 1")
    database.close()


def test_an_expired_ban_leaves_the_kernel(place: Place, nft: Nft) -> None:
    """The next pass after its end lifts it, without being asked to."""
    place.treason("ban", "192.0.2.7", "--for", "1h")
    place.treason("reconcile", "--no-scan")
    end_all_bans(place)
    assert place.treason("reconcile", "--check", "--no-scan").code == 2
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "192.0.2.7" not in nft("list ruleset")
    assert place.treason("list").out == ""


def test_many_bans_that_end_at_once_are_no_loss(place: Place, nft: Nft) -> None:
    """Neither for the check, which may not write that they ended, nor for the pass."""
    place.treason("ban", *(f"192.0.2.{i}" for i in range(20, 40)), "--for", "1h")
    place.treason("reconcile", "--no-scan")
    end_all_bans(place)
    assert place.treason("reconcile", "--check", "--no-scan").code == 2
    assert place.treason("reconcile", "--no-scan").code == 0


def test_a_lost_database_does_not_open_the_gates(place: Place, nft: Nft) -> None:
    """Without force nothing is lifted; unbanning explains itself."""
    hosts = [f"192.0.2.{i}" for i in range(1, 21)]
    place.treason("ban", *hosts)
    place.treason("reconcile", "--no-scan")
    before = nft("list ruleset")
    copy = place.database.read_bytes()
    place.database.unlink()
    assert place.treason("reconcile", "--check", "--no-scan").code == 1
    refused = place.treason("reconcile", "--no-scan")
    assert refused.code == 1
    assert "missing, but there was one: nftables still drops 20 networks" in refused.err
    assert not place.database.exists()
    assert place.treason("init", "--new-database").code == 0
    assert (
        "refusing to remove 20 of 20 enforced bans" in place.treason("reconcile", "--no-scan").err
    )
    place.treason("reconcile", "--no-scan", "--force")
    place.database.write_bytes(copy)
    assert place.treason("reconcile", "--no-scan").code == 0
    assert nft("list ruleset") == before
    place.treason("unban", *hosts)
    assert place.treason("reconcile", "--no-scan").code == 0


def test_teardown_removes_the_table_and_keeps_the_bans(place: Place, nft: Nft) -> None:
    """Twice is fine."""
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    for _ in range(2):
        result = place.treason("teardown")
        assert (result.code, result.out) == (0, "nftables: removed\n")
    assert nft("list ruleset") == ""
    assert place.treason("list").out.startswith("192.0.2.7\t")


def test_scan_stores_and_touches_no_firewall(place: Place, seed_log: Path, nft: Nft) -> None:
    """Bans are stored, with the evidence as reason."""
    result = place.treason("scan", "--source", f"file:{seed_log}", "-o", "json")
    assert result.json["sources"][0]["bans"] == SEEDED
    assert nft("list ruleset") == ""
    [first, _] = place.treason("list", "-o", "json").json["bans"]
    assert first["reason"].startswith("TCP: Treason uncloaked! Peer 117.79.83.112:4638/8080")
    assert first["origin"] == "treason-uncloaked"


@pytest.mark.kmsg
def test_what_a_process_writes_to_kmsg_is_refused_unless_configured(
    place: Place, kmsg: Callable[[str], None], nft: Nft
) -> None:
    """Counted, shown by -v, and banned only with [trust] userspace, which warns."""
    place.treason("scan")
    address = "198.51.100.99"
    line = f"TCP: Treason uncloaked! Peer {address}:1/2 shrinks window 3:4. Repaired."
    kmsg(f"<7>{line}")
    refused = place.treason("scan", "-v")
    assert (refused.code, refused.out.splitlines()[:2]) == (
        0,
        ["kmsg: 0 offences, 1 not from the kernel, 0 new bans", f"  not from the kernel: {line}"],
    )
    kmsg(f"<7>{line}")
    place.configure("[trust]\nuserspace = true")
    believed = place.treason("reconcile")
    assert believed.code == 0
    assert "warning: [trust] userspace = true" in believed.err
    assert address in nft("list table inet treason")


def test_an_untrusted_log_is_only_reported(place: Place, seed_log: Path) -> None:
    """A configured file is not believed by itself; one named by hand is."""
    place.configure(f'[source.file]\npath = "{seed_log}"')
    assert place.treason("scan", "--source", "file").out.endswith(
        "file: 0 offences, 4 not from the kernel, 0 new bans\n"
    )
    named = place.treason("scan", "--source", f"file:{seed_log}").out
    assert named.endswith(": 4 offences, 4 counted as now, 2 new bans\n")


def test_standard_input_is_a_source(place: Place, seed_log: Path) -> None:
    """``file:-`` reads what is piped in."""
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config), "scan"]
    with seed_log.open("rb") as log:
        done = subprocess.run(
            [*command, "--source", "file:-"], stdin=log, capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stdout) == (
        0,
        "file:-: 4 offences, 4 counted as now, 2 new bans\n",
    )


def test_an_unreadable_source_is_an_error_but_what_is_stored_is_enforced(
    place: Place, nft: Nft
) -> None:
    """Exit code 1, and the stored ban is in the kernel."""
    place.treason("ban", "192.0.2.7")
    result = place.treason("reconcile", "--source", "file:/nonexistent")
    assert result.code == 1
    assert "cannot read '/nonexistent': No such file or directory" in result.err
    assert "192.0.2.7" in nft("list ruleset")
    assert place.treason("reconcile", "--check", "--source", "file:/nonexistent").code == 1


REFUSED = {
    "an unknown source": (
        ["reconcile", "--source", "kmesg"],
        "unknown source 'kmesg'; did you mean",
    ),
    "an unknown backend": (["reconcile", "--backend", "nft"], "unknown backend 'nft'"),
    "an argument too many": (["reconcile", "--backend", "nftables:x"], "takes no argument"),
    "no network": (["ban", "010.0.0.1"], "'010.0.0.1' is not an IP address or network"),
    "one wrong network of two": (["ban", "192.0.2.1", "1.2.3.4/33"], "'1.2.3.4/33' has a prefix"),
    "bits set": (["unban", "1.2.3.4/24"], "write 1.2.3.0/24"),
    "a zone": (["ban", "::1%lo"], "without leading zeros and without %eth0"),
    "an empty network": (["ban", ""], "'' is not an IP address"),
    "shell characters": (["ban", "$(reboot)"], "'$(reboot)' is not an IP address"),
    "everything": (["ban", "0.0.0.0/0"], "wider than /16, the limit set by min_prefix"),
    "not a valid duration": (
        ["ban", "192.0.2.1", "--for", "soon"],
        "'soon' is not a valid duration",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_value_ends_with_1_and_changes_nothing(case: str, place: Place, nft: Nft) -> None:
    """One or two lines on stderr; database, files and ruleset are byte-identical."""
    arguments, said = REFUSED[case]
    place.treason("ban", "192.0.2.250")
    place.treason("reconcile", "--no-scan")
    before, ruleset = place.snapshot(), nft("list ruleset")
    result = place.treason(*arguments)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("treason: ")
    assert said in result.err
    assert len(result.err.splitlines()) <= 2
    assert (place.snapshot(), nft("list ruleset")) == (before, ruleset)


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_value_creates_nothing(case: str, place: Place) -> None:
    """Neither database nor lock, where there were none."""
    before = place.snapshot()
    assert place.treason(*REFUSED[case][0]).code == 1
    assert place.snapshot() == before


@pytest.mark.parametrize(
    "arguments",
    [["recncile"], ["reconcile", "--chek"], ["ban"], ["list", "-o", "xml"], ["reconcile", "x"]],
)
def test_the_shape_of_the_command_line_ends_with_64(arguments: list[str], place: Place) -> None:
    """A typo never looks like drift."""
    result = place.treason(*arguments)
    assert (result.code, result.out) == (64, "")


CONFIGURATIONS = {
    "malformed": ("[treason", "not valid TOML"),
    "an unknown key": ("[policy]\ntreshold = 1", "did you mean 'threshold'?"),
    "an unknown table": (
        "[backend.nftable]",
        "[backend] unknown backend 'nftable'; did you mean 'nftables'?",
    ),
    "a whitelist entry that is none": ('[whitelist]\nnetworks = ["x"]', "'x' is not an IP address"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_wrong_configuration_enforces_nothing(case: str, place: Place, nft: Nft) -> None:
    """An unknown whitelist is not an empty one: what is enforced stays."""
    text, said = CONFIGURATIONS[case]
    place.treason("ban", "192.0.2.250")
    place.treason("reconcile", "--no-scan")
    before, ruleset = place.database.read_bytes(), nft("list ruleset")
    place.config.write_text(f"{text}\n" if case == "malformed" else place.config.read_text() + text)
    result = place.treason("reconcile", "--no-scan")
    assert result.code == 1
    assert f"{place.config}:" in result.err
    assert said in result.err
    assert (place.database.read_bytes(), nft("list ruleset")) == (before, ruleset)


def test_a_missing_configuration_that_was_named_is_an_error(place: Place) -> None:
    """By option or by environment."""
    place.config.unlink()
    assert "configuration file not found" in place.treason("list").err


def test_a_locked_database_changes_nothing(place: Place, nft: Nft) -> None:
    """It is told, and the kernel is left as it is."""
    place.treason("ban", "192.0.2.250")
    other = sqlite3.connect(place.database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    result = place.treason("ban", "192.0.2.1")
    other.close()
    assert result.code == 1
    assert "the database is locked by another program" in result.err
    assert nft("list ruleset") == ""


def test_two_passes_do_not_run_at_once(place: Place, nft: Nft) -> None:
    """The second waits as long as it is told to; a check needs no lock."""
    with held(place.path / "lock", 0):
        result = place.treason("reconcile", "--no-scan", "--lock-timeout", "0.05")
        assert result.code == 1
        assert "another pass of treason is running" in result.err
        assert place.treason("reconcile", "--check", "--no-scan").code == 2
    assert place.treason("reconcile", "--no-scan").code == 0


def test_without_privilege_it_is_an_error_and_not_drift(place: Place) -> None:
    """An ordinary user cannot read the firewall: exit code 1, with the remedy."""
    place.path.chmod(0o755)
    place.config.chmod(0o644)
    python = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    done = run([*command, *python, "reconcile", "--check", "--no-scan"], codes=(0, 1, 2))
    assert done.code == 1
    assert "Operation not permitted" in done.error
    assert "run as root, or with CAP_NET_ADMIN" in done.error


def test_verbose_counts_before_and_after_the_command(place: Place, nft: Nft) -> None:
    """Both places show the script."""
    for arguments in (("-v", "reconcile", "--check"), ("reconcile", "--check", "-v")):
        assert "add table inet treason" in place.treason(*arguments, "--no-scan").out


def test_version_and_help_need_no_configuration(place: Place) -> None:
    """They end with 0 whatever the file says."""
    place.config.unlink()
    assert place.treason("--version").out.startswith("treason ")
    assert "reconcile" in place.treason("--help").out


@pytest.mark.parametrize("group", [cli, config, feed, fleet, whitelist])
def test_the_list_of_commands_says_what_each_says_itself(group: click.Group) -> None:
    """Its texts are their first sentences, as a whole, also where none was imported for it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        said = " ".join(
            f"{name} {command.get_short_help_str(limit=1000).removesuffix('.')}.".split()
        )
        assert said in " ".join(group.get_help(context).split())


def test_the_help_names_the_default_configuration() -> None:
    """As it is."""
    assert f"(default: {tables.DEFAULT}, " in " ".join(cli.get_help(click.Context(cli)).split())


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_nothing_that_is_not_theirs(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the plugins' manager, the database or the values, which cost several times as much."""
    for name in [name for name in os.environ if name.startswith("COV")]:
        monkeypatch.delenv(name)  # coverage has imports of its own
    command = (
        f"import sys; sys.argv = ['treason', {option!r}]; from reconciler.cli.main import main"
    )
    listing = "import atexit; atexit.register(lambda: print(*sorted(sys.modules)))"
    *_, modules = run([sys.executable, "-c", f"{command}; {listing}; main()"]).output.splitlines()
    assert "click" in modules.split()
    assert not {"attr", "pluggy", "sqlite3", "importlib.metadata"} & set(modules.split())


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "en_US.ISO-8859-1"}, {"NO_COLOR": "1"}]
)
def test_any_locale_will_do(environment: dict[str, str], place: Place) -> None:
    """Output is plain in a pipe, whatever the locale."""
    place.treason("ban", "192.0.2.7", "--reason", "für \x1b[31mrot")
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "--config", str(place.config), "list"],
        env={**os.environ, **environment}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith(b"192.0.2.7\t")
    assert b"\x1b" not in done.stdout


def broken(place: Place, *arguments: str, stream: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command of which nobody reads a stream any more, from its beginning."""
    read, write = os.pipe()
    os.close(read)
    try:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write}
        command = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
        return subprocess.run([*command, *arguments], check=False, **streams)  # type: ignore[call-overload, no-any-return]  # by name
    finally:
        os.close(write)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list"], 0),
        (["list", "-o", "json"], 0),
        (["-vv", "list"], 0),
        (["--help"], 0),
        (["reconcile", "--check", "--no-scan"], 2),
        (["reconcile", "--check", "--no-scan", "-o", "json"], 2),
        (["config", "check", "--nonsense"], 64),
        (["nonsense", "-o", "json"], 64),
        (["ban", "nonsense"], 1),
    ],
    ids=str,
)
def test_who_does_not_read_changes_no_exit_code(
    arguments: list[str], code: int, stream: str, place: Place
) -> None:
    """``treason reconcile --check | true``: quiet, and the code is that of the work."""
    place.configure(f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file"]')
    place.treason("ban", "192.0.2.7", "192.0.2.8")
    done = broken(place, *arguments, stream=stream)
    assert done.returncode == code
    assert b"Traceback" not in (done.stderr or b"") + (done.stdout or b"")
    assert stream != "stdout" or code or arguments == ["-vv", "list"] or done.stderr == b""


def test_a_wrong_command_is_64_wherever_it_is_told(place: Place) -> None:
    """Also where nothing can be told: closed, or full."""
    base = f"{shlex.quote(sys.executable)} -m reconciler --config {shlex.quote(str(place.config))}"
    for ending in ("2>&-", ">&- 2>&-", "2>/dev/full", "-o json >/dev/full", "-o json 2>/dev/full"):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{base} nonsense {ending}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (64, False), (ending, done.stderr)


def test_a_full_device_is_an_error_without_a_traceback(place: Place, nft: Nft) -> None:
    """The work is done, its report is lost: exit code 1, one line."""
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config), "reconcile"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, "--no-scan"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "device is full" in done.stderr


def test_closed_streams_are_endured(place: Place) -> None:
    """No file takes their place, and a closed standard input is no empty log."""
    base = f"{shlex.quote(sys.executable)} -m reconciler --config {shlex.quote(str(place.config))}"
    for ending, code in (("list >&-", 0), ("list 2>&-", 0), ("scan --source file:- <&-", 1)):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{base} {ending}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_bytes_that_are_no_text_are_kept_visible(place: Place) -> None:
    """An argument may hold anything that a shell lets through."""
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config)]
    for arguments in (
        [b"ban", b"1.2.3.4", b"--reason", b"\xff"],
        [b"scan", b"--source", b"file:/\xff"],
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
    assert "\\xff" in place.treason("list").out


def test_nobody_elses_code_is_run(place: Place, tmp_path: Path) -> None:
    """The demo ignores modules in the directory where somebody happens to be."""
    (tmp_path / "shlex.py").write_text("raise SystemExit('planted')")
    done = subprocess.run(
        [Path(sys.executable).with_name("treason"), "demo"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "planted" in done.stdout + done.stderr) == (0, False)


def test_on_a_terminal_the_list_is_a_table(place: Place) -> None:
    """With titles, and no tabs."""
    place.treason("ban", "192.0.2.7")
    command = [sys.executable, "-m", "reconciler", "--config", str(place.config), "list"]
    shown = run(["script", "-qec", shlex.join(command), "/dev/null"]).output
    assert "network" in shown
    assert "192.0.2.7" in shown
    assert "\t" not in shown
