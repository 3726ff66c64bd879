"""The completion, in real shells: what is offered, and that nothing is expanded or run."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
import shells
from harness import ROOT, Place

from reconciler.cli.completion import KINDS
from reconciler.cli.main import cli
from release.__main__ import main
from release.completion import grammar
from release.completion.grammar import Node, node
from release.completion.render import scripts
from release.manual.commands import Known

TREE = node(Known(("treason",), cli))
INTERACTIVE = ("bash", "zsh")
OFFERED = {"bash": shells.offered_by_bash, "fish": shells.offered_by_fish}

HOSTILE = (
    "$(touch ran)", "`touch ran`", "; touch ran;", "192.0.2.3$(touch ran)", "192.0.2.4 x", "*", "~",
    "'", '"', "\\", "192.0.2.5;touch ran", "192.0.2.6\ttouch", "${PWD}", "-rf", "!!", "&touch ran",
)  # fmt: skip

LINES = (
    ("treason unb", "treason unban "),
    ("treason unban 2001:d", "treason unban 2001:db8:7::/48 "),
    ("treason unban 2001:db8:7::/", "treason unban 2001:db8:7::/48 "),
    ("treason unban 192.0.2.1", "treason unban 192.0.2.19 "),
    ("treason unban 192.0.2.7 198", "treason unban 192.0.2.7 198.51.100.1 "),
    ("treason unban '2001", "treason unban '2001:db8:7::/48' "),
    ("treason -v why 198", "treason -v why 198.51.100.1 "),
    ("treason unban --rule=man", "treason unban --rule=manual "),
    ("treason list --rule feed:", "treason list --rule feed:spamhaus "),
    ("treason list --sort=of", "treason list --sort=offences "),
    ("treason feed sh", "treason feed show "),
    ("treason feed show ", "treason feed show spamhaus "),
    ("treason whitelist remove ", "treason whitelist remove 203.0.113.9 "),
    ("treason test-rule --rule tr", "treason test-rule --rule tr"),
    ("treason test-rule --rule tra", "treason test-rule --rule trap "),
    ("treason reconcile --backend nft", "treason reconcile --backend nftables "),
    ("treason reconcile --source fi", "treason reconcile --source file:"),
    ("treason scan --source file:whitelist", "treason scan --source file:whitelist.toml "),
    ("treason unban --file whitelist", "treason unban --file whitelist.toml "),
    ("treason backup whitelist", "treason backup whitelist.toml "),
    ("treason unban nothing", "treason unban nothing"),
    ("treason ban 192.0.2.7", "treason ban 192.0.2.7"),
)
"""What is typed, and what one press of the tabulator makes of it."""


def program(directory: Path, text: str) -> dict[str, str]:
    """Write a program ``treason``, and return an environment in which shells find it."""
    home = directory / "home"
    (home / "bin").mkdir(parents=True)
    file = home / "bin" / "treason"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": str(home), "LC_ALL": "C.UTF-8"}


@pytest.fixture
def environment(place: Place) -> dict[str, str]:
    """An environment with the real program, some bans, a feed, rules and a whitelist."""
    place.configure(
        '[feed.spamhaus]\ntype = "list"\npath = "/srv/x"\n[[rule]]\nname = "trap"\npattern = '
        "'trap (?P<address>.*)'"
    )
    for command in (
        ("ban", "192.0.2.7", "192.0.2.19", "2001:db8:7::/48", "198.51.100.1"),
        ("whitelist", "add", "203.0.113.9"),
    ):
        assert place.treason(*command).code == 0
    made = program(place.path, f'exec "{sys.executable}" -P -m reconciler "$@"')
    return {**made, "TREASON_CONFIG": str(place.config)}


def test_the_scripts_are_what_the_code_renders(tmp_path: Path) -> None:
    """If not: `make generated`."""
    assert main(["completion", str(tmp_path)]) == 0
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == scripts()
    assert {path.name: path.read_text() for path in shells.SCRIPTS.iterdir()} == made


def test_somebody_has_said_what_each_value_may_be() -> None:
    """A new parameter is not forgotten; what is asked of the program, it knows."""
    parameter = click.Option(["--strange"], metavar="TEXT")
    with pytest.raises(KeyError, match="nobody has said what 'ban strange' may be"):
        grammar.value(Known(("treason", "ban"), cli), parameter)
    kinds = {value.live for each in TREE.all for value in values(each)} - {""}
    assert kinds == KINDS


def values(of: Node) -> Iterator[grammar.Value]:
    """Yield what may stand in a command: of its options, and of itself."""
    yield from filter(None, [of.argument, *(option.value for option in of.options)])


@pytest.mark.parametrize("name", INTERACTIVE)
def test_a_shell_goes_on_with_what_is_typed(
    environment: dict[str, str], place: Place, name: str
) -> None:
    """Also behind the colons of an address, and within quotes."""
    with shells.shell(name, environment, place.path) as typing:
        assert [typing.completed(typed) for typed, _ in LINES] == [line for _, line in LINES]


@pytest.mark.parametrize("shell", OFFERED)
@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("treason unban 192", {"192.0.2.7", "192.0.2.19"}),
        ("treason feed ", {"accept", "list", "run", "show"}),
        ("treason why --expect ", {"dropped", "passed"}),
        ("treason list --rule ", {"manual", "feed:spamhaus"}),
        ("treason --config /nowhere unban ", set()),
        ("treason --config=/nowhere unban ", set()),
        ("treason unban --rule x 192", {"192.0.2.7", "192.0.2.19"}),
        ("treason pause --for ", set()),
    ],
)
def test_a_shell_offers(
    environment: dict[str, str], place: Place, shell: str, line: str, offers: set[str]
) -> None:
    """All that may follow, and nothing else."""
    assert {*OFFERED[shell](line, environment, place.path)} == offers


@pytest.mark.parametrize("shell", OFFERED)
def test_each_command_and_option_is_offered(
    environment: dict[str, str], place: Place, shell: str
) -> None:
    """As the program has them."""
    for each in TREE.all:
        within = " ".join(each.words)
        if each.inside:
            commands = {one.words[-1] for one in each.inside}
            assert {*OFFERED[shell](f"{within} ", environment, place.path)} >= commands, within
        names = {name for option in each.options for name in option.names if name[:2] == "--"}
        assert {*OFFERED[shell](f"{within} --", environment, place.path)} == names, within


@pytest.mark.parametrize("name", INTERACTIVE)
def test_an_interactive_shell_runs_nothing_of_what_it_is_told(tmp_path: Path, name: str) -> None:
    """Whatever the program printed: what means anything to a shell is not offered."""
    told = tmp_path / "told"
    environment = program(tmp_path, f'cat "{told}"')
    with shells.shell(name, environment, tmp_path) as typing:
        for hostile in HOSTILE:
            told.write_text(f"{hostile}\n192.0.2.77\n")
            assert typing.completed("treason unban ") == "treason unban 192.0.2.77 ", hostile
        line = "treason --config $(touch ran) unban "
        assert typing.completed(line) == f"{line}192.0.2.77 "
        assert typing.completed("treason list --rule 19") == "treason list --rule 192.0.2.77 "
    assert not [*tmp_path.rglob("ran")]


@pytest.mark.parametrize("shell", OFFERED)
def test_a_shell_offers_nothing_hostile(tmp_path: Path, shell: str) -> None:
    """All of it at once, in the directory where it would be run or expanded."""
    (tmp_path / "told").write_text("\n".join([*HOSTILE, "192.0.2.77", ""]))
    environment = program(tmp_path, f'cat "{tmp_path}/told"')
    offer = OFFERED[shell]
    assert offer("treason unban ", environment, tmp_path) == ["192.0.2.77"]
    assert offer("treason feed show ", environment, tmp_path) == ["192.0.2.77"]
    assert not [*tmp_path.rglob("ran")]


@pytest.mark.parametrize("shell", OFFERED)
def test_a_program_that_fails_is_silent(tmp_path: Path, shell: str) -> None:
    """What it prints to standard error is nobody's, and what it is asked is told exactly."""
    environment = program(
        tmp_path, f'echo oops >&2; printf "%s|" "$@" >>"{tmp_path}/asked"; exit 3'
    )
    offer: Callable[[str, dict[str, str], Path], list[str]] = OFFERED[shell]
    assert offer("treason --config my.toml unban 19", environment, tmp_path) == []
    asked = (tmp_path / "asked").read_text()
    assert asked == "--config|my.toml|complete|--|bans|19|"


@pytest.mark.parametrize("shell", OFFERED)
def test_without_the_program_nothing_is_said(tmp_path: Path, shell: str) -> None:
    """A completion may outlive it."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    assert OFFERED[shell]("treason unban 19", environment, tmp_path) == []


@pytest.mark.parametrize("shell", OFFERED)
def test_what_attackers_chose_is_never_offered(
    environment: dict[str, str], place: Place, shell: str
) -> None:
    """Names of feeds and rules, origins and rows of the database, by the real program."""
    place.configure('[feed."$(touch ran)"]\n[feed."a b"]\n[feed.good]\n[[rule]]\nname = "`x`"')
    with closing(sqlite3.connect(place.database)) as database, database:
        for text in ("192.0.2.99$(touch ran)", "192.0.2.98 x"):
            database.execute("INSERT INTO badips (addedtime, ip) VALUES (0, ?)", (text,))
        database.execute("UPDATE bans SET origin = ? WHERE network LIKE '198%'", ("x;touch ran",))
    offer = OFFERED[shell]
    assert offer("treason feed show ", environment, place.path) == ["good"]
    assert {*offer("treason unban 192.0.2.", environment, place.path)} == {
        "192.0.2.7",
        "192.0.2.19",
    }
    assert {*offer("treason unban --rule ", environment, place.path)} == {"manual", "badips"}
    assert not [*place.path.rglob("ran")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_can_read_its_script(shell: str) -> None:
    """Without running it."""
    names = {"bash": "treason.bash", "zsh": "_treason", "fish": "treason.fish"}
    subprocess.run([shell, "-n", ROOT / "conf" / "completions" / names[shell]], check=True)
