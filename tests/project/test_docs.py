"""The documents: their commands run, their tables are complete."""

import ast
import csv
import re
import shlex
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest
from authors import clean, follow, write
from harness import ROOT, Place

from reconciler import FeedPlugin, Network
from reconciler.cli.main import _COMMANDS
from reconciler.config.feeds import FeedSettings
from reconciler.config.template import default_text
from reconciler.detection import rules
from reconciler.detection.ready import READY
from reconciler.doctor.examine import CHECKS
from reconciler.execute import run
from reconciler.feeds.format import CURSOR, EPOCH, GROUPS, MEMBER, REASON
from reconciler.feeds.sieve import PRIVATE

HOW_TO = ROOT / "docs" / "how-to"
BIN = Path(sys.executable).parent

Nft = Callable[..., str]
TIME = r"[-0-9]{10}T[0-9:]{8}Z"


def jobs() -> dict[str, list[str]]:
    """Return the commands of each ready job, without the installation."""
    text = (HOW_TO / "check-in-a-pipeline.md").read_text()
    found = {}
    for title, block in re.findall(
        r"^## (\S+).*?```yaml\n(.*?)```", text, re.DOTALL | re.MULTILINE
    ):
        lines = re.findall(r"- (?:run: )?((?:treason|pip) .*)", block)
        assert lines[0] == "pip install treason"
        found[title] = lines[1:]
    return found


@pytest.mark.parametrize("title", ["GitHub", "GitLab"])
def test_the_jobs_commands_do_what_they_say(title: str, place: Place, nft: Nft) -> None:
    """In sync with what was exported; drift once the whitelist changes; nothing is written."""
    firewall = place.path / "firewall"
    firewall.mkdir()
    place.treason("ban", "192.0.2.0/24")
    place.treason("reconcile", "--no-scan")
    (firewall / "observed.json").write_text(place.treason("export", "--observed").out)
    (firewall / "treason.db").write_bytes(place.database.read_bytes())
    (firewall / "treason.toml").write_text(
        '[treason]\ndatabase = "treason.db"\n[protect]\nown_addresses = false\n'
        "gateways = false\nresolvers = false\nssh_client = false\n"
    )

    def codes() -> list[int]:
        return [
            subprocess.run(
                ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--",
                 BIN / "treason", *line.split()[1:]],
                cwd=place.path, capture_output=True, check=False,
            ).returncode
            for line in jobs()[title]
        ]  # fmt: skip

    before = sorted(path.name for path in firewall.iterdir())
    assert codes() == [0, 0]
    (firewall / "whitelist.toml").write_text('networks = ["192.0.2.7"]\n')
    assert codes() == [0, 2]
    assert sorted(path.name for path in firewall.iterdir()) == sorted([*before, "whitelist.toml"])


def test_the_script_is_replaced_as_told(place: Place, nft: Nft) -> None:
    """The how-to's commands on the script's own database."""
    place.configure(main="sources = []")  # reading /dev/kmsg is not for everybody
    with sqlite3.connect(place.database) as database:
        database.execute(
            "create table badips (addedtime datetime, ip varchar(15) constraint u_ip unique);"
        )
        database.execute("insert into badips values (datetime('now'), '117.79.83.112');")
    database.close()
    text = (HOW_TO / "replace-the-script.md").read_text()
    commands = re.findall(r"^ {7}treason (.*)$", text, re.MULTILINE)
    assert [place.treason(*_words(line)).code for line in commands] == [2, 0, 0, 0]
    assert "117.79.83.112" in nft("list ruleset")
    ips = run(["sqlite3", str(place.database), "select distinct ip from badips;"]).output
    assert ips == "117.79.83.112\n"


def test_the_move_is_made_as_told(place: Place, nft: Nft) -> None:
    """The how-to's command; what it advises to write is enforced then."""
    text = (HOW_TO / "choose-a-firewall.md").read_text()
    [command] = re.findall(r"^    treason (.*)$", text, re.MULTILINE)
    place.configure(main='backends = ["iptables"]')
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    result = place.treason(*_words(command))
    assert result.code == 0, result.err
    [advice] = re.findall(r"set (backends = .*) in \[treason\]", result.err)
    assert advice in text
    place.configure(main=advice)
    assert place.treason("reconcile", "--check", "--no-scan").code == 0


def test_a_mistake_is_undone_as_told(
    place: Place, nft: Nft, seed_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of the how-to, in its order, with the log that it names."""
    monkeypatch.chdir(place.path)
    (place.path / "kern.log").write_bytes(seed_log.read_bytes())
    place.configure("[source.file]\ntrusted = true", main='sources = ["file:kern.log"]')
    place.treason("reconcile")
    text = (HOW_TO / "undo-a-mistake.md").read_text()
    commands = re.findall(r"^    treason (.*)$", text, re.MULTILINE)
    banned = []
    for line in commands:
        result = place.treason(*shlex.split(line))
        assert (result.code, result.err) == (0, ""), line
        banned.append(len(place.treason("list").out.splitlines()))
    assert banned == [2, 2, 2, 0, 0, 2, 2, 2, 2]
    assert "117.79.83.112" in nft("list ruleset")


def test_the_policy_that_is_advised_does_what_is_said(place: Place) -> None:
    """Three connections are a ban of three hours, and the list tells it as shown."""
    text = (HOW_TO / "choose-a-policy.md").read_text()
    block, _observing = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    place.configure(block)
    peer = "TCP: Treason uncloaked! Peer 117.79.83.112:{}/8080 shrinks window 1:2. Repaired.\n"
    log = place.path / "log"
    log.write_text("".join(peer.format(port) for port in (1, 1, 2)))
    assert place.treason("scan", "--source", f"file:{log}").out.endswith("0 new bans\n")
    with log.open("a") as more:
        more.write(peer.format(3))
    assert place.treason("scan", "--source", f"file:{log}").out.endswith("1 new ban\n")
    [shown] = re.findall(r"^    (117.*)", text, re.MULTILINE)
    listed = place.treason("list").out
    moving = r"[-0-9]{10}T[0-9:]{8}Z|TCP: .*"
    assert re.split(moving, listed)[:-1] == re.split(moving, shown)[:-1]


def test_a_rule_is_written_as_told(tmp_path: Path) -> None:
    """The how-to's commands on its files print what it shows."""
    document = HOW_TO / "write-a-rule.md"
    write(document, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"kern.log", "treason.toml"}
    follow(document, tmp_path, clean(tmp_path))


FAIL2BAN = """
    CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
    CREATE TABLE bips(ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL,
        bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON,
        PRIMARY KEY(ip, jail), FOREIGN KEY(jail) REFERENCES jails(name));
    INSERT INTO jails(name) VALUES ('sshd'), ('recidive');
"""
"""Of the tables of its database, as fail2ban 1.0.2 makes them (fail2ban/server/database.py)."""


def test_the_bans_of_fail2ban_are_taken_over_as_told(tmp_path: Path) -> None:
    """Current ones alone, until their own ends; the longest counts of several jails'."""
    now = int(time.time())
    day = 86_400
    rows = [
        ("198.51.100.7", "sshd", now - 600, day, 1),
        ("198.51.100.7", "recidive", now - 600, 7 * day, 1),
        ("198.51.100.8", "sshd", now - 600, -1, 1),
        ("198.51.100.8", "recidive", now - 600, day, 1),
        ("2001:db8:7::7", "sshd", now - 600, day, 3),
        ("198.51.100.0/29", "recidive", now - 600, day, 1),
        ("198.51.100.9", "sshd", now - 2 * day, day, 1),
        ("198.51.100.10", "sshd", now - 600, -2, 1),
        ("mallory", "sshd", now - 600, day, 1),
    ]
    with closing(sqlite3.connect(tmp_path / "fail2ban.sqlite3")) as database, database:
        database.executescript(FAIL2BAN)
        database.executemany(
            "INSERT INTO bips(ip, jail, timeofban, bantime, bancount) VALUES (?, ?, ?, ?, ?)", rows
        )
    (tmp_path / "treason.toml").write_text('[treason]\ndatabase = "treason.db"\nlock = "lock"\n')
    document = HOW_TO / "come-from-fail2ban.md"
    write(document, tmp_path)
    told = follow(document, tmp_path, clean(tmp_path) | {"TREASON_CONFIG": "treason.toml"})
    table = told[told.index("network,since") :].splitlines()[:5]
    stored = {row["network"]: row for row in csv.DictReader(table)}
    days = {
        network: round((datetime.fromisoformat(row["until"]).timestamp() - now + 600) / day, 2)
        for network, row in stored.items()
        if row["until"]
    }
    assert days == {"198.51.100.0/29": 1, "198.51.100.7": 7, "2001:db8:7::7": 1}
    assert {*stored} - {*days} == {"198.51.100.8"}
    assert stored["198.51.100.7"]["reason"] == "recidive, sshd"
    assert "'mallory' is not an IP address or network" in told
    assert "unbanned: 4 bans of import:fail2ban" in told


def test_why_is_found_out_as_told(tmp_path: Path, nft: Nft) -> None:
    """Its commands print what it shows, the whole page included."""
    document = HOW_TO / "find-out-why.md"
    write(document, tmp_path)
    told = re.sub(TIME, "T", follow(document, tmp_path, clean(tmp_path)))
    page = re.findall(r"^(?: {4}.*\n|\n(?= {4}))+", document.read_text(), re.MULTILINE)[0]
    shown = re.sub(TIME, "T", textwrap.dedent(page)).strip()
    assert len(shown.splitlines()) == 9
    assert shown in told


def test_every_key_and_ready_rule_stands_in_the_how_to(place: Place) -> None:
    """And its example of ready rules is taken."""
    text = (HOW_TO / "write-a-rule.md").read_text()
    for name in (*rules.KEYS, *(f"`{rule.name}`" for rule in READY)):
        assert name in text
    place.configure("".join(re.findall(r"^ {4}(\S.*\n)", text, re.MULTILINE)))
    assert place.treason("config", "check").code == 0


def test_the_rules_that_the_configuration_shows_are_taken(place: Place) -> None:
    """Without their comment signs; whether they ban anybody here is another matter."""
    found = re.findall(r"^# \[\[rule\]\]\n(?:# [a-z_]+ = .*\n)+", default_text(), re.MULTILINE)
    assert len(found) == 2
    place.configure("".join(re.sub(r"^# ", "", each, flags=re.MULTILINE) for each in found))
    result = place.treason("config", "check")
    assert (result.code, result.out.splitlines()[-1]) == (0, f"{place.config}: OK")


@pytest.mark.parametrize("name", ["ipset", "iptables"])
def test_the_examples_of_hooks_are_taken(name: str, place: Place, nft: Nft) -> None:
    """Each that the how-to and the configuration show."""
    text = (HOW_TO / "choose-a-firewall.md").read_text() + default_text()
    shown = sorted(
        set(re.findall(r"hooks = \[.*?\]", text))
    )  # in one order: each pass follows the last
    assert len(shown) == 3
    place.treason("ban", "192.0.2.7")
    for hooks in shown:
        place.configure(f"[backend.{name}]\n{hooks}", main=f'backends = ["{name}"]')
        result = place.treason("reconcile", "--no-scan")
        assert (result.code, "DOCKER-USER" in result.err) == (int("DOCKER" in hooks),) * 2
        chain = run(["iptables-save"]).output
        assert chain.count("-s 192.0.2.7/32 -j DROP") + chain.count("match-set treason4 ") == 1
        assert place.treason("teardown").code == 0  # what another one hooks may stay hooked


def test_what_is_wrong_is_found_as_told(place: Place, nft: Nft) -> None:
    """The how-to's commands, and what they print, word by word; every check stands in its table."""
    text = (HOW_TO / "find-out-what-is-wrong.md").read_text()
    place.configure(main='sources = ["sockets"]')
    place.path.chmod(0o700)
    place.treason("ban", "192.0.2.7")
    place.treason("reconcile", "--no-scan")
    commands = re.findall(r"^    treason (.*)$", text, re.MULTILINE)
    well, broken = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    told = [place.treason(*_words(line)) for line in commands]
    assert [(each.code, each.out) for each in told] == [(0, well)]
    nft("delete table inet treason")
    result = place.treason("doctor")
    assert (result.code, result.out.replace(f" --config {place.config}", "")) == (1, broken)
    rows = re.findall(r"^\| ([a-z ]+?) \|", text, re.MULTILINE)
    assert {*CHECKS} - {"plugins"} == {*rows} - {"check"}


def _words(line: str) -> list[str]:
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]


def test_every_command_stands_in_the_readme() -> None:
    """And the README names none that does not exist."""
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^    treason ([a-z-]+)\b", text, re.MULTILINE))
    assert named == set(_COMMANDS)


def test_every_module_of_the_core_stands_in_the_guide() -> None:
    """Where a newcomer finds the place to change; and what the guide names is there."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    core = ROOT / "reconciler"
    modules = {
        path.name for path in core.rglob("*.py") if "commands" not in path.parts
        and "testing" not in path.parts
    } - {"__init__.py", "__main__.py"}  # fmt: skip
    assert {name for name in modules if f"{name}`" not in text} == set()
    named = re.findall(r"`((?:reconciler|sources|backends|tests|bench|docs)/[^`]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_life_of_an_offence_names_what_there_is() -> None:
    """Every function and class on the way exists under the name that is written down."""
    text = (ROOT / "docs" / "explanation" / "the-life-of-an-offence.md").read_text()
    named = re.findall(r"`((?:reconciler|backends|sources)\.[A-Za-z_.]+)`", text)
    assert len(named) > 25
    for name in named:
        parts = name.split(".")
        cut = next(n for n in range(len(parts), 0, -1) if find_spec_of(".".join(parts[:n])))
        thing: object = import_module(".".join(parts[:cut]))
        for part in parts[cut:]:
            thing = getattr(thing, part)


def find_spec_of(name: str) -> bool:
    """Return whether there is a module of this name."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_who_can_cause_what_is_shown_by_tests() -> None:
    """Each cell of the table names a test that there is."""
    page = (ROOT / "docs" / "explanation" / "whom-to-believe.md").read_text()
    table = page.partition("## Who can cause what")[2].partition("## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 5
    cells = [cell for row in rows[1:] for cell in row[1:]]
    files = (ROOT / "tests").rglob("test_*.py")
    there = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    for cell in cells:
        named = re.findall(r"`(test_\w+)`", cell)
        assert named, cell
        assert {*named} <= there, cell


def _tests() -> dict[str, str]:
    """Return the text of each test, with what it is parametrized by."""
    found: dict[str, str] = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        lines = file.read_text().splitlines()
        for node in ast.parse("\n".join(lines)).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                found[node.name] = found.get(node.name, "") + "\n".join(
                    lines[first - 1 : node.end_lineno]
                )
    return found


@pytest.mark.parametrize("page", ["faults-of-the-daemon", "faults-of-feeds", "faults-of-the-fleet"])
def test_faults_are_shown_by_tests(page: str) -> None:
    """Each row names tests that there are, and quotes what they expect to read."""
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) > 25
    there = _tests()
    for row in rows:
        *_, status, _ends, tests = row.strip("|").split("|")
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, row
        assert {*named} <= there.keys(), row
        for words in re.findall(r'"([^"]+)"', status):
            assert any(words in there[name] for name in named), words
    assert {*re.findall(r"`(test_\w+)`", text)} <= there.keys()


def test_links_lead_somewhere() -> None:
    """Every relative link in a document names a file."""
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)


def test_the_limits_of_feeds_are_told_as_they_are() -> None:
    """Each key that limits a feed stands in the table, with its default; so does what is cut."""
    page = (ROOT / "docs" / "explanation" / "what-a-feed-may-do.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    settings = FeedSettings("list")
    plain = {name: str(getattr(settings, name)).lower() for name in told}
    plain["min_prefix"] = f"{settings.min_prefix.ipv4}, {settings.min_prefix.ipv6}"
    plain["max_new"] = str(attrs.fields(FeedPlugin).max_new.default)
    assert told == plain
    others = {"type", "store", "refresh", "publish"}
    assert told.keys() | others == {each.name for each in attrs.fields(FeedSettings)}
    private = re.search(
        r"^Private and reserved is: (.*?)\.(?:\s[A-Z]|$)", page, re.MULTILINE | re.DOTALL
    )
    assert private is not None
    assert {*map(Network.parse, re.split(r",\s+", private[1]))} == {*PRIVATE}


def test_what_is_too_long_for_a_feed_is_told_to_its_author() -> None:
    """Each limit of the feed's own file stands in the how-to."""
    page = (HOW_TO / "write-a-feed.md").read_text()
    for words in (
        f"`member` has at most {MEMBER} characters",
        f"a cursor {CURSOR:,}",
        f"a `reason` is cut behind {REASON}",
        f"at most {GROUPS:,}",
        f"a text of at most {EPOCH} characters",
    ):
        assert words in page.replace("\n", " "), words
