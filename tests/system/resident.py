"""What the booted system tests of the daemon and its units."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

from machine import (
    BELIEVED,
    CONFIGURATION,
    OFFENDER,
    OTHER,
    UNITS,
    accuse,
    banned,
    configure,
    record,
    run,
    say,
    shown,
    stranger,
    until,
    when,
)

from reconciler.host.netns import Wire
from reconciler.host.written import digest

DAEMON = "treason.service"
ONCE = "treason-pass.service"
DATABASE = Path("/var/lib/treason/treason.db")
CGROUP = Path("/sys/fs/cgroup/system.slice") / DAEMON


def install_old_units() -> None:
    """Install what the units were before there was a daemon, as whoever wrote them knows them."""
    run("treason", "init", "--systemd", "--timer-only")
    once, service, timer = (UNITS / name for name in (ONCE, DAEMON, "treason.timer"))
    once.rename(service)
    timer.write_text(timer.read_text().replace(f"Unit={ONCE}\n", ""))
    with closing(sqlite3.connect(DATABASE)) as database, database:
        for path in (service, timer):
            row = (str(path), digest(path.read_text()))
            database.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, '')", row)
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "treason.timer")


@contextmanager
def banned_all_the_while() -> Iterator[None]:
    """Look again and again whether the offender is banned; fail if it was not at some time."""
    looks: list[bool] = []
    done = Event()

    def look() -> None:
        while not done.wait(0.02):
            looks.append(banned())

    looking = Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        done.set()
        looking.join()
    assert len(looks) > 1, looks
    assert all(looks), f"let in at {looks.count(False)} of {len(looks)} looks"


def upgrade() -> None:
    """Let the daemon take the place of the old units, and the timer alone that of the daemon."""
    with banned_all_the_while():
        run("treason", "init", "--systemd", "--timer-only")
        assert not (UNITS / DAEMON).exists()
        install_old_units()
        with subprocess.Popen(["flock", "/run/treason/lock", "sleep", "2"]):
            run("systemctl", "start", "--no-block", DAEMON)
            until("a pass of the old unit waits", lambda: state() == "activating", 15)
            say(run("treason", "init", "--systemd").rstrip())
        assert running()
        assert shown("treason.timer", "ActiveState") == "active"
        assert shown("treason.timer", "Unit") == ONCE
        run("treason", "config", "check", "--units")
        run("treason", "init", "--systemd", "--timer-only")
        assert not (UNITS / DAEMON).exists()
        assert not CGROUP.exists()
        assert shown("treason.timer", "ActiveState") == "active"
        run("treason", "config", "check", "--units")
        run("treason", "init", "--systemd")
        assert running()
    assert "'protocol'" not in run("journalctl", "-b", "-u", DAEMON, "-o", "cat")
    say("the old units, the daemon, the timer alone, the daemon: nobody was let in meanwhile")
    say(f"the daemon takes {resident_memory()} kB of memory")


def state() -> str:
    """Return what systemd believes of the daemon, or of the pass that had its name before."""
    return shown(DAEMON, "ActiveState")


def running() -> bool:
    """Whether systemd believes that the daemon is ready."""
    return state() == "active"


def runs_without(process: str) -> bool:
    """Whether another process than this one is the daemon, and ready."""
    return shown(DAEMON, "MainPID") not in {process, "0"} and running()


def resident_memory() -> int:
    """Return what of the daemon's memory is there, in kB (proc(5), smaps_rollup)."""
    rollup = Path(f"/proc/{shown(DAEMON, 'MainPID')}/smaps_rollup").read_text()
    return int(rollup.split("Rss:")[1].split()[0])


def drop(wire: Wire) -> str:
    """Let it drop whom a record accuses; return who that is."""
    peer = stranger()
    accuse(peer)
    until("the daemon banned an offender", lambda: banned(peer), 15)
    assert wire.arriving([OFFENDER, OTHER]) == {OTHER}
    text = shown(DAEMON, "StatusText")
    assert text, "systemctl status has no line of the daemon's"
    say(f"systemctl status: {text}")
    run("systemctl", "start", ONCE)
    assert banned(peer)
    say("the timer's pass and the daemon agree")
    return peer


def put_back() -> None:
    """Let it put back what others remove."""
    run("nft", "flush", "set", "inet", "treason", "banned4")
    until("flushed: restored", banned, 15)
    run("nft", "delete", "table", "inet", "treason")
    until("deleted: restored", banned, 15)
    run("systemctl", "start", "nftables.service")
    until("started nftables: restored", banned, 15)
    run("systemctl", "restart", "nftables.service")
    until("restarted nftables: restored", banned, 15)
    run("systemctl", "reload", "nftables.service")
    until("reloaded nftables: restored", banned, 15)
    run("systemctl", "restart", "--no-block", "nftables.service")
    for _ in range(3):  # also while the restoration of the one before is still going on
        run("systemctl", "reload-or-restart", "nftables.service")
    until("restarted and reloaded at once: restored", banned, 20)


def obey(peer: str) -> None:
    """Let commands by hand and a reload be in force at once; the peer is banned."""
    say(run("treason", "ban", "198.51.100.0/24").rstrip())
    assert banned("198.51.100.0/24")
    run("treason", "unban", "198.51.100.0/24")
    assert not banned("198.51.100.0/24")
    say("root's commands are in force before they return")
    CONFIGURATION.write_text(f'{BELIEVED}[whitelist]\nnetworks = ["{peer}"]\n')
    before = shown(DAEMON, "MainPID")
    run("systemctl", "reload", DAEMON)
    until("reloaded: the whitelist is in force", lambda: not dropped(peer), 15)
    until("and it is ready again", running, 15)
    assert shown(DAEMON, "MainPID") == before
    CONFIGURATION.write_text(BELIEVED)
    run("systemctl", "reload", DAEMON)
    until("reloaded: it is banned again", lambda: dropped(peer), 15)


def dropped(peer: str) -> bool:
    """Whether it is in the set of those who are dropped; the whitelist is there, too."""
    return peer in run("nft", "list", "set", "inet", "treason", "banned4")


def survive() -> None:
    """Let the daemon hang, be killed, and be unable to start."""
    hang()
    survived("killed: another runs", signal.SIGKILL, 15)
    CONFIGURATION.write_text("nonsense")
    failed = subprocess.run(["systemctl", "restart", DAEMON], capture_output=True, check=False)
    assert (failed.returncode != 0, banned()) == (True, True)
    until("misconfigured: tried again", lambda: when(DAEMON, "NRestarts") > 0, 30)
    CONFIGURATION.write_text(BELIEVED)
    until("configured again: it runs", running, 15)
    for _ in range(8):
        run("systemctl", "restart", DAEMON)
    assert running()
    say("restarted eight times at once: it runs, no limit stops it")


def hang() -> None:
    """Let it hang: other units enforce meanwhile, and the watchdog puts another in its place."""
    process = int(shown(DAEMON, "MainPID"))
    os.kill(process, signal.SIGSTOP)
    run("systemctl", "restart", "nftables.service")
    until("the daemon hangs: restarted nftables: restored", banned, 20)
    survived("hung: the watchdog put another in its place", signal.SIGSTOP, 60)
    log = run("journalctl", "-b", "-u", DAEMON, "-o", "cat")
    assert "Watchdog timeout" in log
    assert "Fatal Python error: Aborted" in log, "where it hung is not told"


def survived(what: str, how: int, seconds: int) -> None:
    """Send a signal, and accuse a peer; another daemon is to be there in time, and to ban it."""
    peer, before = stranger(), shown(DAEMON, "MainPID")
    os.kill(int(before), how)
    accuse(peer)
    until(what, lambda: runs_without(before), seconds)
    until("it read what came meanwhile", lambda: banned(peer), 15)
    assert banned()


def stop() -> None:
    """Stop it: its children end, and what is enforced stays."""
    run("systemctl", "stop", "treason.timer", DAEMON, "treason-restore.service")
    assert not CGROUP.exists()
    assert banned()
    assert shown(DAEMON, "Result") == "success"
    say("stopped: what is enforced stays")
    run("treason", "ban", "198.51.100.0/24")
    run("systemctl", "start", ONCE)
    assert banned("198.51.100.0/24")
    say("root's command and the service share the database")


def pause(wire: Wire) -> None:
    """Pause everything by root's command, before the machine is booted anew."""
    told = run("treason", "pause")
    assert told.endswith("paused until treason resume: nothing is enforced\n"), told
    assert not banned()
    assert wire.arriving([OFFENDER, OTHER]) == {OFFENDER, OTHER}
    say("paused: the packets of who was dropped arrive")


def stay_paused(wire: Wire) -> None:
    """Enforce nothing: not early at boot, nor by the daemon, nor by the timer's pass."""
    assert when("treason-restore.service", "ActiveEnterTimestampMonotonic") > 0
    until("rebooted while paused: the daemon is ready", running, 60)
    assert not banned()
    until("and tells the pause", lambda: "paused until" in shown(DAEMON, "StatusText"), 15)
    peer = stranger()
    accuse(peer)
    until("an offender is stored", lambda: f"{peer}\t" in run("treason", "list"), 30)
    run("systemctl", "start", ONCE)
    run("nft", "delete", "table", "inet", "treason")
    run("systemctl", "restart", "treason-restore.service", DAEMON)
    assert not banned(peer)
    assert not banned()
    assert wire.arriving([OFFENDER, OTHER]) == {OFFENDER, OTHER}
    say("and nobody is dropped: not early at boot, nor by the daemon, nor by the timer's pass")
    told = run("treason", "resume")
    assert told == "resumed\nin force: nftables\n", told
    assert banned(peer)
    assert wire.arriving([OFFENDER, OTHER]) == {OTHER}
    say("resumed: who was banned before, and meanwhile, is dropped")
    assert "removed" in run("treason", "pause", "--for", "3s")
    until("a pause of three seconds has ended by itself", banned, 15)


def read_other_sources() -> None:
    """Let the daemon wait for the journal, and for a log of root's."""
    configure(f'[treason]\nsources = ["journal"]\n{BELIEVED}', resident=True)
    heard = stranger()
    accuse(heard)
    until("the daemon reads the journal", lambda: banned(heard), 15)
    run("systemctl", "stop", DAEMON)
    assert not CGROUP.exists()
    say("its journalctl ended with it")
    log = Path("/var/log/watched")
    log.touch(0o600)
    reading = f'[treason]\nsources = ["file:{log}"]\n[source.file]\ntrusted = true\n'
    configure(reading, resident=True)
    for peer in (stranger(), stranger()):
        with log.open("a") as file:
            file.write(record(peer))
        until("the daemon reads a log", lambda: banned(peer), 15)  # noqa: B023 - called at once
        log.rename(f"{log}.1")
        log.touch(0o600)
        time.sleep(0.1)


def enforce_otherwise() -> None:
    """Let the daemon enforce by a backend that tells of no changes, as root and as its own user."""
    configure(f'[treason]\nbackends = ["ipset"]\n{BELIEVED}', resident=True)
    first, second, third = stranger(), stranger(), stranger()
    accuse(first)
    until("the daemon bans with ipset", lambda: first in run("ipset", "save"), 20)
    where = Path("/srv/resident")
    where.mkdir()
    listed = f'[backend.file]\npath = "{where}/blocked"\n'
    both = '[treason]\nbackends = ["nftables", "file"]\n'
    configure(f"{both}{BELIEVED}{listed}", resident=True)
    run("treason", "teardown", "--backend", "ipset")  # which is none of the daemon's any more
    assert shown(DAEMON, "User") == "root"
    accuse(second)
    until("the daemon bans with nftables, as root", lambda: banned(second), 15)
    until("and writes a list", lambda: second in (where / "blocked").read_text(), 20)
    configure(BELIEVED, resident=True)
    assert shown(DAEMON, "User") == "treason"
    accuse(third)
    until("it has its own user again", lambda: banned(third), 15)
