"""Commands beside a daemon: enforced before they return, and nothing of the daemon's is removed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from attrs import define, evolve, field
from daemons import Answers, process, serving, stop
from harness import Place
from residents import until

from reconciler import Network
from reconciler.config.setup import Setup
from reconciler.daemon import control as server
from reconciler.errors import DaemonError
from reconciler.execute import run
from reconciler.host import control
from reconciler.host.control import DaemonStatus, Enforced, Identity
from reconciler.model import Ban
from reconciler.networks import Networks
from reconciler.passes import resident
from reconciler.store.store import open_store

Nft = Callable[..., str]
LATE = Networks.of([Network.parse("192.0.2.99")])
"""In force, and not stored yet."""


@pytest.fixture
def guarded(place: Place, nft: Nft) -> Place:
    """A place whose firewall drops one stored ban."""
    place.configure(main="sources = []")
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    return place


@pytest.fixture
def answers(guarded: Place) -> Answers:
    """What the daemon says; it enforces by a pass of its own."""

    def act() -> Enforced:
        done = run([*command(guarded), "reconcile", "--no-scan"])
        return Enforced(("nftables",), done.error)

    return Answers(Identity.of(guarded.config, guarded.database), act=act)


@pytest.fixture
def daemon(guarded: Place, answers: Answers) -> Iterator[Answers]:
    """A daemon."""
    with serving(socket_of(guarded), answers):
        yield answers


def command(place: Place) -> list[str]:
    """Return the command line of a process of its own."""
    return [sys.executable, "-m", "reconciler", "--config", str(place.config)]


def socket_of(place: Place) -> Path:
    """Return where the daemon of a place is asked."""
    return place.path / "control"


def drop(nft: Nft, *networks: str) -> None:
    """Let the firewall drop more, as a daemon does at once."""
    nft(f"add element inet treason banned4 {{ {', '.join(networks)} }}")


def dropped(nft: Nft) -> set[str]:
    """Return what the firewall drops."""
    held = json.loads(nft("list set inet treason banned4", "-j"))["nftables"]
    return {each for thing in held for each in thing.get("set", {}).get("elem", ())}


def test_a_ban_is_in_force_before_the_command_returns(
    guarded: Place, daemon: Answers, nft: Nft
) -> None:
    """So is what follows: unban, import, and both ways of the whitelist; and each says so."""
    listed = guarded.path / "listed.txt"
    listed.write_text("192.0.2.9\n")
    steps: tuple[tuple[tuple[str, ...], set[str]], ...] = (
        (("ban", "192.0.2.8"), {"192.0.2.7", "192.0.2.8"}),
        (("unban", "192.0.2.8"), {"192.0.2.7"}),
        (("import", str(listed)), {"192.0.2.7", "192.0.2.9"}),
        (("unban", "192.0.2.9"), {"192.0.2.7"}),
        (("whitelist", "add", "192.0.2.7"), set()),
        (("whitelist", "remove", "192.0.2.7"), {"192.0.2.7"}),
    )
    for words, expected in steps:
        result = guarded.treason(*words)
        assert (result.code, result.out.splitlines()[-1]) == (0, "in force: nftables"), words
        assert dropped(nft) == expected, words


def test_without_a_daemon_nothing_is_said_of_it(guarded: Place, nft: Nft) -> None:
    """The output is what it was, and the next pass enforces."""
    result = guarded.treason("ban", "192.0.2.8")
    assert result.out == "192.0.2.8: banned permanently\n"
    assert dropped(nft) == {"192.0.2.7"}
    assert "running since" not in guarded.treason("status").out
    assert guarded.treason("status", "-o", "json").json["daemon"] is None


def test_what_could_not_be_enforced_is_an_error(guarded: Place, daemon: Answers) -> None:
    """The ban is stored all the same, and the daemon's reason is told."""
    daemon.act = lambda: Enforced((), "nftables: the set is full")
    result = guarded.treason("ban", "192.0.2.8")
    assert result.code == 1
    assert "stored, but not in force yet: nftables: the set is full" in result.err
    assert "192.0.2.8" in guarded.treason("list").out


@pytest.mark.parametrize("words", [("--check",), ("--check", "-o", "json"), (), ("-o", "json")])
def test_a_pass_leaves_what_is_not_stored_yet(
    words: tuple[str, ...], guarded: Place, answers: Answers, nft: Nft
) -> None:
    """Output and exit code are those of a pass where nothing is late, without a daemon."""
    expected = guarded.treason("reconcile", "--no-scan", "--full", *words)
    answers.held = LATE
    drop(nft, "192.0.2.99")
    with serving(socket_of(guarded), answers):
        assert guarded.treason("reconcile", "--no-scan", "--full", *words) == expected
    assert dropped(nft) == {"192.0.2.7", "192.0.2.99"}


def test_a_pass_enforces_what_is_not_stored_yet(guarded: Place, answers: Answers, nft: Nft) -> None:
    """Also where the daemon has just lost it: somebody has flushed the set."""
    answers.held = LATE
    nft("flush set inet treason banned4")
    with serving(socket_of(guarded), answers):
        assert guarded.treason("reconcile", "--no-scan").code == 0
    assert dropped(nft) == {"192.0.2.7", "192.0.2.99"}


def test_what_a_daemon_is_just_adding_is_no_drift(guarded: Place, answers: Answers) -> None:
    """Where it keeps it in force by itself; a list is written by passes alone."""
    answers.held = LATE
    listed = f"file:{guarded.path}/list"
    guarded.configure(main=f'sources = []\nbackends = ["nftables", "{listed}"]')
    assert guarded.treason("reconcile", "--no-scan").code == 0
    with serving(socket_of(guarded), answers):
        result = guarded.treason("reconcile", "--no-scan", "--check")
        assert result.code == 2
        assert result.out == f"nftables: in sync\n{listed}: drift: 1 to add\n  + 192.0.2.99\n"


def test_the_whitelist_comes_before_what_a_daemon_holds(
    guarded: Place, answers: Answers, nft: Nft
) -> None:
    """Who is whitelisted is not dropped, stored or not."""
    guarded.treason("whitelist", "add", "192.0.2.99")
    answers.held = LATE
    drop(nft, "192.0.2.99")
    with serving(socket_of(guarded), answers):
        assert guarded.treason("reconcile", "--no-scan").code == 0
    assert dropped(nft) == {"192.0.2.7"}


def test_what_was_never_stored_is_not_remembered(
    guarded: Place, answers: Answers, nft: Nft
) -> None:
    """A pass beside the daemon does not vouch for it: without one, the next removes it."""
    answers.held = LATE
    drop(nft, "192.0.2.99")
    with serving(socket_of(guarded), answers):
        assert guarded.treason("reconcile", "--no-scan").code == 0
    assert guarded.treason("reconcile", "--no-scan").code == 0
    assert dropped(nft) == {"192.0.2.7"}


@define
class Moving(Answers):
    """A daemon with which something happens at each question."""

    steps: list[Callable[[], Networks]] = field(kw_only=True)

    def pending(self) -> Networks:
        """Do the next step, and tell what it gives; at the end nothing more happens."""
        return self.steps.pop(0)() if self.steps else self.held


def test_what_is_stored_while_a_pass_reads_stays(
    guarded: Place, answers: Answers, nft: Nft
) -> None:
    """It is late when the first backend is read, and stored when the second one is."""
    listed = guarded.path / "list"
    guarded.configure(main=f'sources = []\nbackends = ["nftables", "file:{listed}"]')

    def come() -> Networks:
        drop(nft, "192.0.2.99")
        return LATE

    def stored() -> Networks:
        with open_store(guarded.database, write=True) as store:
            store.bans.add(Ban(each, 0, None, "manual", "") for each in LATE)
        return Networks()

    moving = Moving(answers.guarded, steps=[Networks, come, stored])
    with serving(socket_of(guarded), moving):
        assert guarded.treason("reconcile", "--no-scan", "--full").code == 0
    assert moving.steps == []
    assert dropped(nft) == {"192.0.2.7", "192.0.2.99"}
    assert listed.read_text().split()[-2:] == ["192.0.2.7", "192.0.2.99"]


def test_what_comes_right_after_the_answer_stays(
    guarded: Place, answers: Answers, nft: Nft
) -> None:
    """The firewall is read before the daemon is asked, not after."""
    moving = Moving(answers.guarded, LATE, steps=[])

    def come() -> Networks:
        drop(nft, "192.0.2.99")  # once the answer has been made
        return Networks()

    moving.steps = [Networks, come]
    with serving(socket_of(guarded), moving):
        result = guarded.treason("reconcile", "--no-scan", "--full")
        assert (result.code, result.out) == (0, "nftables: in sync\n")
    assert dropped(nft) == {"192.0.2.7", "192.0.2.99"}


def test_a_check_looks_again_before_it_tells_of_drift(
    guarded: Place, answers: Answers, nft: Nft
) -> None:
    """What the daemon was just about to remove is none; what it leaves as it is, is."""
    drop(nft, "192.0.2.99")

    def gone() -> Networks:
        nft("delete element inet treason banned4 { 192.0.2.99 }")
        return Networks()

    moving = Moving(answers.guarded, steps=[Networks, Networks, gone])
    with serving(socket_of(guarded), moving):
        assert guarded.treason("reconcile", "--no-scan", "--check").code == 0
        assert moving.steps == []
        drop(nft, "192.0.2.99")
        result = guarded.treason("reconcile", "--no-scan", "--check")
        assert (result.code, result.out.count("to remove")) == (2, 1)


def test_beside_a_daemon_that_does_not_answer_nothing_is_removed(
    guarded: Place, nft: Nft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what was unbanned: a pass, a check, a ban and the status end with 1, in time."""
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    drop(nft, "192.0.2.99")
    with process(guarded.config, guarded.database, socket_of(guarded)) as pid:
        stop(pid)
        begun = time.monotonic()
        for words in (("ban", "192.0.2.8"), ("unban", "192.0.2.7")):
            result = guarded.treason(*words)
            assert (result.code, result.err.count("stored, but not in force yet")) == (1, 1)
        for option in ("--check", "--force"):
            result = guarded.treason("reconcile", "--no-scan", option)
            assert result.code == 1
            assert "nftables: keeping 2 of 2 enforced bans while the daemon" in result.err
            assert f"removing nothing: the daemon (process {pid}) does not answer" in result.err
        status = guarded.treason("status", "-o", "json")
        assert (status.code, status.json["daemon"]) == (1, None)
        assert "does not answer" in status.json["unasked"]
        assert time.monotonic() - begun < 10
        assert dropped(nft) == {"192.0.2.7", "192.0.2.8", "192.0.2.99"}
        os.kill(pid, signal.SIGCONT)
        assert guarded.treason("reconcile", "--no-scan").code == 0
        assert dropped(nft) == {"192.0.2.8"}


def test_a_pass_without_removals_fails_too_beside_a_silent_daemon(
    guarded: Place, nft: Nft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It adds what is to be added, and says that it could not ask."""
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    with process(guarded.config, guarded.database, socket_of(guarded)) as pid:
        stop(pid)
        guarded.treason("ban", "192.0.2.8")
        result = guarded.treason("reconcile", "--no-scan", "-o", "json")
        assert (result.code, result.json["result"]) == (1, "error")
        assert f"process {pid}" in result.json["unasked"]
    assert dropped(nft) == {"192.0.2.7", "192.0.2.8"}


def test_other_backends_are_none_of_the_daemons_business(guarded: Place) -> None:
    """A list that is named on the command line is written, whatever becomes of the daemon."""
    with process(guarded.config, guarded.database, socket_of(guarded)) as pid:
        stop(pid)
        named = ("--backend", f"file:{guarded.path}/list")
        assert guarded.treason("reconcile", "--no-scan", *named).code == 0
        snapshot = guarded.path / "observed.json"
        snapshot.write_text(guarded.treason("export", "--observed").out)
        checked = ("reconcile", "--no-scan", "--check", "--observed", str(snapshot))
        assert guarded.treason(*checked).code == 0


@pytest.mark.parametrize("other", ["configuration", "database"])
def test_a_daemon_that_guards_something_else_is_not_asked(
    other: str, guarded: Place, answers: Answers, nft: Nft
) -> None:
    """The command works as if there were none; -v says why."""
    answers.guarded = evolve(answers.guarded, **{other: "/another"})
    answers.held = LATE
    with serving(socket_of(guarded), answers):
        result = guarded.treason("-v", "ban", "192.0.2.8")
        assert result.code == 0
        assert f"it has another {other}" in result.err
        assert "in force" not in result.out
        assert guarded.treason("status", "-o", "json").json["daemon"] is None
        assert guarded.treason("reconcile", "--no-scan").code == 0
    assert dropped(nft) == {"192.0.2.7", "192.0.2.8"}


def test_a_daemon_in_another_namespace_is_not_asked(guarded: Place, daemon: Answers) -> None:
    """Its firewall is another one."""
    alone = ["unshare", "--net", "--", *command(guarded), "-v"]
    done = subprocess.run([*alone, "ban", "192.0.2.8"], capture_output=True, check=True)
    assert b"it is in another network namespace" in done.stderr
    assert done.stdout == b"192.0.2.8: banned permanently\n"


def test_the_status_shows_the_daemon(guarded: Place, daemon: Answers) -> None:
    """For people and for programs."""
    daemon.how = DaemonStatus(
        pid=12,
        since=1_800_000_000,
        awake=("kmsg", "file"),
        timed=("sockets",),
        ways={"sockets": "dump, because BTF is missing"},
        pending=1234,
        repaired=1_800_000_060.5,
        repair="the set banned4 was empty",
        troubles=("the disk is full\x1b[2J",),
    )
    result = guarded.treason("status")
    assert result.code == 1  # something is wrong
    shown = result.out.partition("daemon")[2]
    for words in (
        "running since 2027-01-15T08:00:00Z (process 12); 1,234 networks in force and not stored",
        "woken by kmsg, file",
        "reads by a timer: sockets",
        "sockets sees by dump, because BTF is missing",
        "repaired the firewall last at 2027-01-15T08:01:00Z: the set banned4 was empty",
        "the disk is full\\x1b[2J",
    ):
        assert words in shown
    told = guarded.treason("status", "-o", "json").json["daemon"]
    assert told == {
        "pid": 12,
        "since": "2027-01-15T08:00:00Z",
        "awake": ["kmsg", "file"],
        "timed": ["sockets"],
        "ways": {"sockets": "dump, because BTF is missing"},
        "pending": 1234,
        "repaired": "2027-01-15T08:01:00Z",
        "repair": "the set banned4 was empty",
        "troubles": ["the disk is full\x1b[2J"],
        "paused": False,
        "rests": None,
        "held": [],
        "still": None,
    }


def test_a_move_takes_along_what_is_not_stored_yet(
    guarded: Place, answers: Answers, nft: Nft
) -> None:
    """What the daemon has in force in the new backend stays; the old one is not its own."""
    answers.held = LATE
    drop(nft, "192.0.2.99")
    old = f"file:{guarded.path}/list"
    assert guarded.treason("reconcile", "--no-scan", "--backend", old).code == 0
    with serving(socket_of(guarded), answers):
        assert guarded.treason("migrate", "--from", old, "--to", "nftables").code == 0
    assert dropped(nft) == {"192.0.2.7", "192.0.2.99"}


def test_what_is_moved_away_from_a_daemon_is_not_put_back(
    guarded: Place, daemon: Answers, nft: Nft
) -> None:
    """It is held meanwhile, and stands still as long as its configuration names the old backend."""
    new = f"file:{guarded.path}/list"
    result = guarded.treason("migrate", "--from", "nftables", "--to", new)
    assert result.code == 0
    assert f"(process {os.getpid()}) stands still until you set backends = [" in result.err
    assert "treason" not in nft("list tables")
    assert "stands still since" in daemon.rest.text
    assert "(migrate, process" in daemon.rest.text


def test_a_move_that_fails_lets_the_daemon_go_on(guarded: Place, daemon: Answers, nft: Nft) -> None:
    """The old backend is still there, and the daemon's."""
    new = f"file:{guarded.path}/missing/list"
    assert guarded.treason("migrate", "--from", "nftables", "--to", new).code == 1
    until(lambda: daemon.rest.text == "")  # once it has seen that the command is gone
    assert dropped(nft) == {"192.0.2.7"}


def test_what_is_torn_down_beside_a_daemon_is_not_put_back(
    guarded: Place, daemon: Answers, nft: Nft
) -> None:
    """It stands still; backends that it does not have are none of its business."""
    listed = guarded.path / "list"
    assert guarded.treason("reconcile", "--no-scan", "--backend", f"file:{listed}").code == 0
    assert guarded.treason("teardown", "--backend", f"file:{listed}").code == 0
    assert not listed.exists()
    assert not daemon.rest.closed
    result = guarded.treason("teardown")
    assert (result.code, result.out.splitlines()[0]) == (0, "nftables: removed")
    assert f"the daemon (process {os.getpid()}) stands still" in result.out
    assert daemon.rest.closed


def test_a_daemon_that_cannot_be_held_is_not_worked_against(
    guarded: Place, daemon: Answers, nft: Nft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of an older version, which does not know the question."""
    monkeypatch.setattr(server, "_HOLDERS", 0)
    result = guarded.treason("teardown")
    assert (result.code, result.out) == (1, "")
    assert "refused: 0 processes hold it already" in result.err
    assert "nothing was changed; stop the daemon first" in result.err
    assert dropped(nft) == {"192.0.2.7"}


def test_only_a_pass_by_hand_lets_it_go_on(guarded: Place, daemon: Answers, nft: Nft) -> None:
    """A check does not, and neither does a pass that nobody asked for, or of other backends."""
    daemon.rest.stand_still(1, "teardown")
    daemon.how = evolve(daemon.how, rests="stands still")
    nft("flush set inet treason banned4")
    assert guarded.treason("reconcile", "--check", "--full").code == 2
    other = f"file:{guarded.path}/list"
    assert guarded.treason("reconcile", "--backend", other).code == 0
    result = guarded.treason("reconcile", "--scheduled", "--full", "-o", "json")
    assert (result.code, result.json["backends"]) == (0, [])
    assert "stands still; no firewall is changed" in result.err
    assert daemon.rest.text
    assert dropped(nft) == set()
    assert guarded.treason("reconcile", "--full").code == 0
    assert daemon.rest.text == ""
    assert dropped(nft) == {"192.0.2.7"}


def test_one_that_cannot_be_told_to_go_on_is_an_error(
    guarded: Place, daemon: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since it may stand still; the pass itself is done."""

    def silent(_setup: Setup) -> NoReturn:
        raise DaemonError("the daemon does not answer")

    monkeypatch.setattr(resident, "go_on", silent)
    result = guarded.treason("reconcile", "--no-scan")
    assert (result.code, "the daemon does not answer" in result.err) == (1, True)
    assert "nftables" in result.out
    assert guarded.treason("reconcile", "--no-scan", "--scheduled").code == 0


def test_without_a_socket_nothing_of_it_is_imported(guarded: Place) -> None:
    """A check on most machines costs nothing for a daemon that is not there."""
    code = (
        "import sys; sys.argv[1:] = sys.argv[2:]\n"
        "from reconciler.cli.main import main\n"
        "try: main()\nfinally: print('reconciler.host.control' in sys.modules)"
    )
    words = ["--config", str(guarded.config), "reconcile", "--no-scan", "--check"]
    done = run([sys.executable, "-c", code, "--", *words])
    assert (done.output, done.error) == ("nftables: in sync\n", "False\n")


def test_a_daemon_that_has_not_answered_is_not_asked_again(
    guarded: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass waits for it once, however many backends there are."""
    monkeypatch.setattr(control, "PATIENCE", 0.05)
    from reconciler.config.setup import Setup  # noqa: PLC0415 - only this test needs it

    with process(guarded.config, guarded.database, socket_of(guarded)) as pid:
        stop(pid)
        asked = resident.Resident(Setup(str(guarded.config)))
        assert not asked.pending()
        os.kill(pid, signal.SIGCONT)
        assert not asked.pending()
        assert asked.status() is None
        assert f"process {pid}" in asked.silence
