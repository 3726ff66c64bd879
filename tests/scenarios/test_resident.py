"""The daemon as people meet it: what it drops, puts back, lifts, and leaves alone."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from harness import Place
from residents import LINE, configure, drops, in_force, running, until

from reconciler import Network
from reconciler.execute import run
from reconciler.host.netns import Namespace

Nft = Callable[..., str]


def banned(place: Place) -> set[str]:
    """Return what the database bans."""
    with closing(sqlite3.connect(place.database)) as database:
        return {network for (network,) in database.execute("SELECT network FROM bans")}


def test_an_offender_is_dropped_and_stored(place: Place, host: None) -> None:
    """The line is the only thing that happens: no pass is made by hand."""
    configure(place)
    with running(place) as daemon:
        daemon.offend("203.0.113.7", "2001:db8::7")
        until(lambda: drops("203.0.113.7", "2001:db8::7"))
        until(lambda: banned(place) == {"203.0.113.7", "2001:db8::7"})
        assert daemon.stop() == 0
    assert drops("203.0.113.7"), "stopping lifts nothing"


@pytest.mark.parametrize(
    "damage",
    [
        "flush set inet treason banned4",
        "flush chain inet treason prerouting",
        "insert rule inet treason prerouting accept",
        "add table inet treason { flags dormant; }",
        "delete table inet treason",
        "flush ruleset",
        "delete element inet treason banned4 { 203.0.113.7 }",
    ],
)
def test_what_somebody_takes_away_comes_back(place: Place, nft: Nft, damage: str) -> None:
    """Without a pass, and whatever was done to the table."""
    configure(place)
    place.treason("ban", "203.0.113.7", "203.0.113.8", "2001:db8::/48")
    with running(place):
        nft(damage)
        until(lambda: _whole(place))


def _whole(place: Place) -> bool:
    return place.treason("reconcile", "--check", "--no-scan", "--full").code == 0


def test_the_end_of_a_ban_is_kept(place: Place, host: None) -> None:
    """A ban of two seconds is over in about as many, also in the firewall."""
    configure(place, '[policy]\nban_for = "2s"')
    with running(place) as daemon:
        daemon.offend("203.0.113.7")
        until(lambda: drops("203.0.113.7"))
        until(lambda: not drops("203.0.113.7"))
        until(lambda: banned(place) == set())


def test_commands_are_in_force_when_they_return(place: Place, host: None) -> None:
    """Ban and unban need no pass beside a daemon."""
    configure(place)
    with running(place):
        assert place.treason("ban", "198.51.100.1").code == 0
        assert drops("198.51.100.1")
        assert place.treason("unban", "198.51.100.1").code == 0
        assert not drops("198.51.100.1")
        assert place.treason("ban", "198.51.100.1").code == 0
        assert place.treason("whitelist", "add", "198.51.100.1").code == 0
        assert not drops("198.51.100.1")


def test_who_is_whitelisted_is_not_dropped(place: Place, host: None) -> None:
    """Also when the file was written a moment before the offence, by no command."""
    configure(place)
    with running(place) as daemon:
        place.path.joinpath("whitelist.toml").write_text('networks = ["203.0.113.7"]\n')
        daemon.offend("203.0.113.7", "203.0.113.8")
        until(lambda: drops("203.0.113.8"))
        assert not drops("203.0.113.7")


def test_a_new_own_address_is_let_through(place: Place, nft: Nft) -> None:
    """An address that the machine gets is not dropped any more, though it is banned."""
    configure(place)
    place.treason("ban", "203.0.113.7", "203.0.113.8")
    with running(place):
        until(lambda: drops("203.0.113.7"))
        run(["ip", "address", "add", "203.0.113.7/32", "dev", "lo"])
        until(lambda: not drops("203.0.113.7"))
        assert drops("203.0.113.8")
        run(["ip", "address", "delete", "203.0.113.7/32", "dev", "lo"])
        until(lambda: drops("203.0.113.7"))


def test_a_pass_by_hand_is_no_fight(place: Place, nft: Nft) -> None:
    """What a pass lifts, for an unban that the daemon was not told of, stays lifted."""
    configure(place)
    place.treason("ban", "203.0.113.7", "203.0.113.8")
    with running(place) as daemon:
        with closing(sqlite3.connect(place.database)) as database, database:
            database.execute("DELETE FROM bans WHERE network = '203.0.113.7'")
        assert place.treason("reconcile", "--no-scan", "--force").code == 0
        for _ in range(20):
            assert in_force() == {Network.parse("203.0.113.8")}
            time.sleep(0.05)
        nft("flush set inet treason banned4")
        until(lambda: in_force() == {Network.parse("203.0.113.8")})
        assert "again and again" not in daemon.error


def test_a_second_daemon_is_refused(place: Place, host: None) -> None:
    """With the process id of the first one."""
    configure(place)
    with running(place) as daemon:
        second = place.start("run")
        assert second.wait(20) == 1
        assert daemon.process.poll() is None


def test_a_reload_takes_the_new_configuration(place: Place, host: None) -> None:
    """And a wrong one is refused: the old one stays in force."""
    configure(place)
    with running(place) as daemon:
        place.config.write_text(f"{place.config.read_text()}\n[policy]\nthreshold = 0\n")
        daemon.send(signal.SIGHUP)
        until(lambda: f"treason: not reloaded: {place.config}" in daemon.error)
        daemon.offend("203.0.113.7")
        until(lambda: drops("203.0.113.7"))
        configure(place, "[policy]\nthreshold = 2")
        daemon.forget()
        daemon.send(signal.SIGHUP)
        daemon.hears("READY=1")
        daemon.hears("woken by")
        daemon.offend("203.0.113.8", "203.0.113.9", port=1)
        daemon.offend("203.0.113.9", port=2)
        until(lambda: drops("203.0.113.9"))
        assert not drops("203.0.113.8")


def test_daemons_of_two_namespaces_do_not_mix(place: Place, host: None) -> None:
    """A command asks the daemon of its own namespace alone."""
    configure(place)
    with running(place):
        other = Namespace()
        with other.entered():
            result = place.treason("ban", "203.0.113.7", "-vv")
            assert result.code == 0
            assert "namespace" in result.err
        other.close()
        assert not drops("203.0.113.7")


def test_other_backends_follow(place: Place, host: None) -> None:
    """A file is brought in line by a pass, as soon as there is something new."""
    configure(place, main=f'backends = ["nftables", "file:{place.path}/list"]')
    listed = place.path / "list"
    with running(place) as daemon:
        daemon.offend("203.0.113.7")
        until(lambda: drops("203.0.113.7"))
        until(lambda: listed.exists() and "203.0.113.7" in listed.read_text())


def test_an_idle_daemon_makes_no_system_call(place: Place, host: None) -> None:
    """Seen by strace for some seconds, beside a neighbour who changes another table."""
    configure(place)
    trace = place.path.with_name("trace")
    with running(place) as daemon:
        time.sleep(1)
        with stopped(["strace", "-f", "-qq", "-o", str(trace), "-p", str(daemon.process.pid)]):
            time.sleep(1)
            begun = trace.read_text()
            for number in range(50):
                run(["nft", f"add table inet other{number}"])
            time.sleep(2)
            assert trace.read_text() == begun


@contextmanager
def stopped(argv: list[str]) -> Iterator[None]:
    """Run a program for the time of the block."""
    process = subprocess.Popen(argv)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("believed", [True, False])
def test_a_source_that_nothing_wakes_is_read_by_the_clock(
    believed: bool, place: Place, host: None
) -> None:
    """Its first reading comes at once; what nothing confirms drops nobody."""
    place.path.joinpath("dmesg").write_text(
        "#!/bin/sh\necho 'kern  :warn  : [    1.000000] TCP: Treason uncloaked! Peer"
        " 203.0.113.7:1/80 shrinks window 3:4. Repaired.'\n"
    )
    place.path.joinpath("dmesg").chmod(0o755)
    trust = '[trust]\nconfirm = "never"' if believed else ""
    place.configure(trust, main='sources = ["dmesg"]')
    with changed_path(str(place.path)), running(place, awake=False):
        if believed:
            until(lambda: drops("203.0.113.7"))
        else:
            until(lambda: "1 message" in place.treason("status").out)
            assert not in_force()


def test_a_pipe_is_waited_for(place: Place, host: None) -> None:
    """Who writes to it does not end: nothing that reads it waits for that, but the first pass."""
    configure(place, main='pass_timeout = "1s"')
    pipe = place.path / "pipe"
    os.mkfifo(pipe)
    place.config.write_text(place.config.read_text().replace("kern.log", "pipe"))
    with pipe.open("r+b", buffering=0) as writing, running(place) as daemon:
        writing.write(LINE.format("203.0.113.7", 1).encode())
        until(lambda: drops("203.0.113.7"))
        until(lambda: banned(place) == {"203.0.113.7"})
        assert daemon.stop() == 0


@contextmanager
def changed_path(first: str) -> Iterator[None]:
    """Look for programs there first."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{first}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before
