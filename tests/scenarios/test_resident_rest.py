"""The daemon at rest, held by a command or standing still: a real firewall, real packets."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from harness import Place, Result
from residents import Resident, configure, drops, in_force, running, told, until

from reconciler.execute import run
from reconciler.host.netns import Wire
from reconciler.testing.packets import flood

Nft = Callable[..., str]

HOLDER = """\
import sys
from reconciler.config.setup import Setup
from reconciler.passes import access, resident
setup = Setup(sys.argv[1])
with resident.held(setup, setup.config.treason.backends, 10.0) as hold:
    print("held" if hold else "alone", flush=True)
    sys.stdin.readline()
"""


def tables(nft: Nft) -> str:
    """Return the names of the tables that there are."""
    return nft("list tables")


def listed(place: Place) -> set[str]:
    """Return the banned networks, once a slow disk lets the daemon end its transaction."""
    results: list[Result] = []

    def is_read() -> bool:
        results.append(place.treason("list", "-o", "json"))
        return "locked by another program" not in results[-1].out

    until(is_read)
    return {each["network"] for each in results[-1].json["bans"]}


def looked(place: Place, daemon: Resident, address: str) -> None:
    """Wait until the daemon has recognised, and stored, an offender that comes now."""
    daemon.offend(address)
    until(lambda: address in listed(place), f"{address} is not stored")


@contextmanager
def holding(place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    """Let another process hold the daemon."""
    command = [sys.executable, "-c", HOLDER, str(place.config)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def torn_down(place: Place, nft: Nft) -> Iterator[Resident]:
    """Run a daemon that stands still after a teardown, and knows one ban."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    with running(place) as daemon:
        assert drops("192.0.2.7")
        result = place.treason("teardown")
        stands = f"the daemon (process {daemon.process.pid}) stands still; go on: treason resume"
        assert (result.code, result.out) == (0, f"nftables: removed\n{stands}\n"), result.err
        assert "treason" not in tables(nft)
        daemon.hears("STATUS=stands still")
        assert "dropping" not in daemon.told[-1]
        yield daemon


def reload(daemon: Resident) -> None:
    """Let it read its configuration anew, and wait until it has."""
    daemon.forget()
    daemon.send(signal.SIGHUP)
    daemon.hears("RELOADING=1")
    daemon.hears("READY=1")
    daemon.hears("woken by")


def test_after_a_teardown_nothing_comes_back(place: Place, nft: Nft) -> None:
    """Whoever commits, offends, bans or whitelists, and whatever is reloaded or due."""
    with torn_down(place, nft) as daemon:
        nft("add table inet other; add chain inet other c; delete table inet other")
        looked(place, daemon, "203.0.113.5")
        result = place.treason("ban", "192.0.2.8")
        assert (result.code, result.err) == (0, "")
        assert "stored, not enforced: the daemon stands still since" in result.out
        assert "(teardown, process" in result.out
        assert place.treason("unban", "192.0.2.8").code == 0
        assert place.treason("whitelist", "add", "198.51.100.1").code == 0
        assert "treason" not in tables(nft)
        reload(daemon)
        looked(place, daemon, "203.0.113.6")
        place.treason("ban", "192.0.2.9", "--for", "1s")
        until(lambda: "192.0.2.9" not in listed(place))
        looked(place, daemon, "203.0.113.7")
        assert "treason" not in tables(nft)
        assert place.treason("reconcile", "--check", "--no-scan").code == 2
        status = place.treason("status")
        assert status.code == 1
        assert "stands still since" in status.out
        assert told(place)["still"]
        assert "treason" not in tables(nft)


def test_a_pass_that_nobody_asked_for_lets_it_stand_still(place: Place, nft: Nft) -> None:
    """It says so, reads the sources, and ends with 0."""
    with torn_down(place, nft) as daemon:
        result = place.treason("reconcile", "--scheduled")
        pid = daemon.process.pid
        assert result.code == 0
        assert f"the daemon (process {pid}) stands still since" in result.err
        assert result.err.endswith("; no firewall is changed\n")
        assert "treason" not in tables(nft)
        assert told(place)["rests"]


def by_hand(place: Place, _daemon: Resident) -> None:
    """Make a pass."""
    assert place.treason("reconcile").code == 0
    assert drops("192.0.2.7", "203.0.113.5")


def resumed(place: Place, daemon: Resident) -> None:
    """Resume, though nothing is paused."""
    result = place.treason("resume")
    assert (result.code, result.out) == (0, "nothing is paused\nin force: nftables\n"), daemon.error
    assert drops("192.0.2.7", "203.0.113.5")


def restored(place: Place, _daemon: Resident) -> None:
    """Let a backup take the place of the database."""
    backup = str(place.path / "backup")
    assert place.treason("backup", backup).code == 0
    result = place.treason("restore", backup)
    assert (result.code, result.err) == (0, "")
    assert not told(place)["still"]


@pytest.mark.parametrize("on", [by_hand, resumed, restored])
def test_it_goes_on(place: Place, nft: Nft, on: Callable[[Place, Resident], None]) -> None:
    """By a pass by hand, told so, or by a restore: all is in force, and is kept so."""
    with torn_down(place, nft) as daemon:
        looked(place, daemon, "203.0.113.5")
        daemon.forget()
        on(place, daemon)
        until(lambda: drops("192.0.2.7", "203.0.113.5"))
        daemon.hears("woken by")
        assert place.treason("status").code == 0
        nft("delete table inet treason")
        until(lambda: drops("192.0.2.7", "203.0.113.5"))
        daemon.offend("203.0.113.9")
        until(lambda: drops("203.0.113.9"))


def test_one_that_is_started_anew_goes_on(place: Place, nft: Nft) -> None:
    """It knows nothing of it."""
    with torn_down(place, nft) as daemon:
        assert daemon.stop() == 0
        assert "treason" not in tables(nft)
    with running(place):
        assert drops("192.0.2.7")


def test_one_that_gets_other_backends_goes_on(place: Place, nft: Nft) -> None:
    """With the same ones it stands still."""
    with torn_down(place, nft) as daemon:
        reload(daemon)
        assert "treason" not in tables(nft)
        path = place.path / "list"
        configure(place, main=f'backends = ["nftables", "file:{path}"]')
        reload(daemon)
        until(lambda: drops("192.0.2.7"))
        until(lambda: path.exists() and "192.0.2.7" in path.read_text())
        assert place.treason("status").code == 0


def test_a_backend_of_nobody_is_torn_down_without_it(place: Place, nft: Nft) -> None:
    """The daemon goes on."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    backend = f"file:{place.path}/list"
    assert place.treason("reconcile", "--no-scan", "--backend", backend).code == 0
    with running(place):
        result = place.treason("teardown", "--backend", backend)
        assert (result.code, result.out) == (0, f"{backend}: removed\n")
        assert told(place)["rests"] is None
        nft("flush ruleset")
        until(lambda: drops("192.0.2.7"))


def test_as_long_as_it_is_held_nothing_is_changed(place: Place, nft: Nft) -> None:
    """Neither repaired nor dropped; once nobody holds it any more, all is put right."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    with running(place) as daemon, ExitStack() as stack:
        first, second = (stack.enter_context(holding(place)) for _ in range(2))
        assert told(place)["held"] == [first.pid, second.pid]
        nft("flush set inet treason banned4")
        looked(place, daemon, "203.0.113.5")
        assert not in_force()
        result = place.treason("ban", "192.0.2.8")
        assert result.code == 0
        assert f"is held by process {first.pid}, {second.pid} since" in result.out
        first.kill()
        first.wait()
        until(lambda: told(place)["held"] == [second.pid])
        looked(place, daemon, "203.0.113.6")
        assert not in_force()
        assert place.treason("status").code == 1
        second.communicate(b"\n")
        until(lambda: drops("192.0.2.7", "192.0.2.8", "203.0.113.5", "203.0.113.6"))
        until(lambda: told(place)["rests"] is None)
        assert place.treason("status").code == 0


def test_what_offends_while_the_lock_is_held_too_is_stored_and_dropped_later(
    place: Place, nft: Nft
) -> None:
    """Nobody is forgotten: the writer waits for the lock, the offender for the end of the hold."""
    configure(place)
    with running(place) as daemon:
        holder = HOLDER.replace(
            "    print", "    stack = access.locked(setup, 10.0, str); stack.__enter__()\n    print"
        )
        command = [sys.executable, "-c", holder, str(place.config)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"held\n"
            daemon.offend("203.0.113.5")
            until(lambda: told(place)["pending"] == 1)
            assert not in_force()
            process.kill()
        until(lambda: drops("203.0.113.5"))
        until(lambda: listed(place) == {"203.0.113.5"})
        until(lambda: told(place)["pending"] == 0)


def test_a_pass_of_its_own_is_waited_for(place: Place, nft: Nft) -> None:
    """It waits for the lock of somebody else; who holds the daemon then finds it at rest."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    lock = (
        "import sys; from pathlib import Path; from reconciler.host import lock\n"
        "with lock.held(Path(sys.argv[1]), 10.0):\n"
        "    print('locked', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", lock, str(place.path / "lock")]
    with running(place) as daemon:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout
            assert other.stdout.readline() == b"locked\n"
            unbanning = place.start("unban", "192.0.2.7")
            until(lambda: children(daemon), "no pass of its own")
            result = place.treason("teardown", "--lock-timeout", "0.5")
            assert result.code == 1
            assert "nothing was changed" in result.err
            assert drops("192.0.2.7")
            tearing = place.start("teardown", "--lock-timeout", "30")
            until(lambda: told(place)["held"] == [tearing.pid])
            other.communicate(b"\n")
        assert tearing.wait(30) == 0
        unbanning.wait(30)
        looked(place, daemon, "203.0.113.5")
        assert "treason" not in tables(nft)


def children(daemon: Resident) -> str:
    """Return the process ids of a daemon's child processes."""
    pid = daemon.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def test_one_that_hangs_is_not_worked_against(place: Place, nft: Nft) -> None:
    """Nothing is changed, and it is said what to do."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    with running(place) as daemon:
        daemon.send(signal.SIGSTOP)
        for words in (("teardown",), ("migrate", "--from", "nftables", "--to", "ipset")):
            result = place.treason(*words)
            assert (result.code, result.out) == (1, "")
            assert f"the daemon (process {daemon.process.pid}) does not answer" in result.err
            assert "nothing was changed; stop the daemon first: systemctl stop" in result.err
            assert drops("192.0.2.7")
        daemon.send(signal.SIGCONT)
        until(lambda: told(place)["rests"] is None)
        nft("flush ruleset")
        until(lambda: drops("192.0.2.7"))


def test_a_move_lets_no_packet_through(place: Place, nft: Nft, wire: Callable[..., Wire]) -> None:
    """From backend to backend and back, beside the daemon; and it keeps the new one in force."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    cable = wire("192.0.2.7", "192.0.2.8")
    with running(place) as daemon, flood(cable, "192.0.2.7", "192.0.2.8") as traffic:
        for old, new in pairwise(("nftables", "ipset", "iptables", "nftables")):
            result = place.treason("migrate", "--from", old, "--to", new)
            assert result.code == 0, result.err
            assert "stands still until you set backends" in result.err
            assert told(place)["still"]
            assert place.treason("reconcile", "--no-scan", "--check", "--backend", new).code == 0
            configure(place, main=f'backends = ["{new}"]')
            reload(daemon)
            assert told(place)["rests"] is None
            time.sleep(0.2)
        daemon.offend("192.0.2.8")
        until(lambda: drops("192.0.2.7", "192.0.2.8"))
    assert traffic.sent["192.0.2.7"] > 100
    assert traffic.arrived["192.0.2.7"] == 0
    assert run(["ipset", "list", "-n"]).output == ""
    assert "TREASON" not in run(["iptables", "-S"]).output


def test_a_move_to_what_is_configured_already_needs_no_reload_by_hand(
    place: Place, nft: Nft
) -> None:
    """The daemon begins anew by what the file says, and leaves the old one alone."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    path = place.path / "list"
    with running(place) as daemon:
        configure(place, main=f'backends = ["file:{path}"]')
        result = place.treason("migrate", "--from", "nftables", "--to", f"file:{path}")
        assert (result.code, result.err) == (0, "")
        until(lambda: told(place)["rests"] is None)
        daemon.offend("203.0.113.5")
        until(lambda: "203.0.113.5" in path.read_text())
        assert "treason" not in tables(nft)


@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.4, 0.6])
def test_a_move_that_is_killed_leaves_all_as_it_was(place: Place, nft: Nft, after: float) -> None:
    """Wherever that happens, the daemon goes on, and what was banned is dropped."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    with running(place) as daemon:
        moving = place.start("migrate", "--from", "nftables", "--to", "ipset")
        time.sleep(after)
        os.killpg(moving.pid, signal.SIGKILL)
        moving.wait()
        if told(place)["still"]:  # it was done already
            assert place.treason("reconcile", "--no-scan").code == 0
        until(lambda: told(place)["rests"] is None)
        until(lambda: drops("192.0.2.7"))
        daemon.offend("203.0.113.5")
        until(lambda: drops("203.0.113.5"))
        check = place.treason("reconcile", "--no-scan", "--check", "--full")
        assert (check.code, check.out) == (0, "nftables: in sync\n")


def test_a_database_that_is_replaced_while_it_is_held_is_the_one_it_goes_by(
    place: Place, nft: Nft
) -> None:
    """As a restore does it: what only the old one knew is lifted."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    saved = place.path / "saved"
    saved.write_bytes(place.database.read_bytes())
    with running(place) as daemon:
        assert place.treason("ban", "192.0.2.8").code == 0
        with holding(place) as holder:
            saved.replace(place.database)
            holder.communicate(b"\n")
        until(lambda: not drops("192.0.2.8"))
        assert drops("192.0.2.7")
        looked(place, daemon, "203.0.113.5")
        until(lambda: drops("203.0.113.5"))
