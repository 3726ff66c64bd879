"""The daemon in trouble: what goes on, what `status` says, and what happens when it is over.

docs/reference/faults-of-the-daemon.md names these tests, and quotes what they expect to read.
"""

import fcntl
import os
import resource
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count, islice
from pathlib import Path

import pytest
from harness import REAL_ROOT, Place
from residents import Resident, configure, drops, exchange, in_force, running, until

from reconciler import Network
from reconciler.errors import TreasonError
from reconciler.execute import run, search_path

Nft = Callable[..., str]
KEPT = "198.51.100.1"
"""Who is banned before anything happens."""


def says(place: Place, words: str, code: int) -> bool:
    """Whether `status` says this, and ends with that code."""
    result = place.treason("status")
    return words in result.out + result.err and result.code == code


def spent(daemon: Resident) -> float:
    """Return the seconds of CPU time that it has used."""
    text = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def resting(daemon: Resident) -> Iterator[None]:
    """Hold it to what may be spent on a fault: a tenth of the time, the block's included."""
    begun, before = time.monotonic(), spent(daemon)
    yield
    time.sleep(1)
    assert spent(daemon) - before < 0.5 + 0.1 * (time.monotonic() - begun)


def goes_on(daemon: Resident, nft: Nft, offender: str) -> None:
    """Drop who offends, and put back what somebody takes away."""
    daemon.offend(offender)
    until(lambda: drops(offender))
    nft("flush set inet treason banned4")
    until(lambda: drops(KEPT, offender), daemon.error)


# The database.


def test_a_newer_database_refuses_the_start(place: Place, host: None) -> None:
    """In one error, and before anybody is told that it is ready; what is in force stays."""
    configure(place)
    place.treason("ban", KEPT)
    place.treason("reconcile")
    with closing(sqlite3.connect(place.database)) as database:
        database.execute("PRAGMA user_version = 1000")
    address = place.path / "manager"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(address))
        manager.setblocking(False)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "reconciler", "--config", str(place.config), "run"],
            env={**os.environ, "NOTIFY_SOCKET": os.fspath(address)},
            capture_output=True,
            text=True,
            check=False,
        )
        with pytest.raises(BlockingIOError):
            manager.recv(8192)
    assert done.returncode == 1
    assert done.stderr.count("the database has schema 1000") == 1
    assert says(place, "the database has schema", 1)
    assert drops(KEPT)


def gone(place: Place) -> None:
    """Take the database away."""
    place.database.unlink()


def damaged(place: Place) -> None:
    """Let it be none any more."""
    place.database.write_bytes(b"\xff" * place.database.stat().st_size)


@pytest.mark.parametrize(
    ("happens", "words"),
    [(gone, "the database is missing"), (damaged, "this is not an SQLite database")],
)
def test_a_database_that_cannot_be_read_delays_no_drop(
    happens: Callable[[Place], None], words: str, place: Place, nft: Nft
) -> None:
    """What is lost of it is known: all goes on, and is stored once it is back."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place) as daemon:
        content = place.database.read_bytes()
        happens(place)
        with resting(daemon):
            goes_on(daemon, nft, "203.0.113.7")
            until(lambda: says(place, words, 1))
            assert "1 network in force and not stored yet" in place.treason("status").out
            assert place.treason("ban", "192.0.2.1").code == 1
            assert place.treason("reconcile", "--no-scan").code == 1
        daemon.hears(words)
        place.database.write_bytes(content)
        until(lambda: says(place, "0 networks in force and not stored yet", 0))
        assert drops(KEPT, "203.0.113.7")


@pytest.mark.parametrize(
    ("happens", "words"),
    [(gone, "the database is missing"), (damaged, "this is not an SQLite database")],
)
def test_a_database_that_cannot_be_read_at_the_start_is_waited_for(
    happens: Callable[[Place], None], words: str, place: Place, nft: Nft
) -> None:
    """Nobody knows what is to be in force: what was, stays; then it goes on by itself."""
    configure(place)
    place.treason("ban", KEPT)
    place.treason("reconcile", "--no-scan")
    content = place.database.read_bytes()
    happens(place)
    with running(place, awake=False) as daemon:
        daemon.hears(words)
        with resting(daemon):
            until(lambda: says(place, words, 1))
            assert "running since" in place.treason("status").out
            assert in_force() == {Network.parse(KEPT)}
        place.database.write_bytes(content)
        daemon.hears("woken by")
        goes_on(daemon, nft, "203.0.113.7")
        until(lambda: says(place, "0 networks in force and not stored yet", 0))


HOLDER = """\
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Let another program have the database for itself."""
    command = [sys.executable, "-c", HOLDER, str(place.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.communicate()


def test_a_database_that_is_locked_at_the_start_is_read_all_the_same(
    place: Place, nft: Nft
) -> None:
    """What was committed last is enforced and kept so; the waiting for the lock takes a while."""
    configure(place)
    place.treason("ban", KEPT)
    with locked(place), running(place, awake=False) as daemon:
        daemon.hears("dropping 1 network")
        nft("flush set inet treason banned4")
        until(lambda: drops(KEPT))
        assert says(place, "the database is locked by another program", 1)
        daemon.offend("203.0.113.7")
        until(lambda: drops("203.0.113.7"), daemon.error)


def test_a_database_that_is_locked_delays_nothing(place: Place, nft: Nft) -> None:
    """Nor does one whose disk is as slow."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place) as daemon:
        with locked(place), resting(daemon):
            goes_on(daemon, nft, "203.0.113.7")
            until(lambda: says(place, "the database is locked by another program", 1))
            assert "1 network in force and not stored yet" in place.treason("status").out
        until(lambda: says(place, "0 networks in force and not stored yet", 0))


def test_a_read_only_disk_delays_no_drop(place: Place, nft: Nft) -> None:
    """Nor does it at the start, and for a source that was never read."""
    configure(place)
    data = place.path / "data"
    data.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=9m,mode=700", "tmpfs", str(data)])
    text = place.config.read_text().replace("/treason.db", "/data/treason.db")
    place.config.write_text(text)
    place.treason("ban", KEPT)
    run(["mount", "-o", "remount,ro", str(data)])
    with running(place) as daemon:
        with resting(daemon):
            goes_on(daemon, nft, "203.0.113.7")
            until(lambda: says(place, "the database is read-only", 1))
            assert place.treason("ban", "192.0.2.1").code == 1
            place.treason("reconcile", "--no-scan", "--full")
            assert drops(KEPT, "203.0.113.7")
        run(["mount", "-o", "remount,rw", str(data)])
        until(lambda: says(place, "0 networks in force and not stored yet", 0))


# The lock of the passes.


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Let a pass that hangs have it."""
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def unusable(lock: Path) -> Iterator[None]:
    """Let something else have its place."""
    other = lock.with_name("directory")
    other.mkdir()
    exchange(lock, other)
    yield
    lock.rmdir()


@pytest.mark.parametrize(
    ("fault", "words"),
    [(held, "another pass of treason is running"), (unusable, "cannot create the lock")],
)
def test_a_lock_that_is_not_to_be_had_delays_no_drop(
    fault: Callable[[Path], Iterator[None]], words: str, place: Place, nft: Nft
) -> None:
    """It is told once that lasts: a pass of some seconds is nothing to speak of."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place) as daemon:
        with fault(place.path / "lock"), resting(daemon):  # type: ignore[attr-defined]
            goes_on(daemon, nft, "203.0.113.7")
            assert place.treason("ban", "192.0.2.1").out.endswith("in force: nftables\n")
            until(lambda: says(place, words, 1))
            assert place.treason("reconcile", "--no-scan", "--lock-timeout", "0").code == 1
        until(lambda: says(place, "0 networks in force and not stored yet", 0))
        assert drops(KEPT, "203.0.113.7", "192.0.2.1")


# The sources.


def test_a_log_that_is_gone_is_read_once_it_is_back(place: Place, nft: Nft) -> None:
    """The source waits for its name; nothing else does."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place) as daemon:
        with resting(daemon):
            daemon.log.unlink()
            until(lambda: says(place, "cannot read", 1))
            nft("flush set inet treason banned4")
            until(lambda: drops(KEPT))
        goes_on(daemon, nft, "203.0.113.7")
        until(lambda: says(place, "running since", 0))


def test_without_the_kernels_messages_all_else_goes_on(place: Place, nft: Nft) -> None:
    """As in a container that is not given /dev/kmsg; it is tried again each minute."""
    place.configure(main='sources = ["kmsg"]')
    place.treason("ban", KEPT)
    run(["mount", "--bind", os.devnull, "/dev/kmsg"])
    try:
        with running(place, awake=False) as daemon:
            daemon.hears("/dev/kmsg is not")
            with resting(daemon):
                assert says(place, "/dev/kmsg is not the kernel's message buffer", 1)
                assert place.treason("ban", "192.0.2.1").out.endswith("in force: nftables\n")
                nft("flush set inet treason banned4")
                until(lambda: drops(KEPT, "192.0.2.1"))
    finally:
        run(["umount", "/dev/kmsg"])


LIMITED = 'echo 0 > /proc/sys/user/max_inotify_instances && ip link set lo up && exec "$@"'


@pytest.mark.skipif(not REAL_ROOT, reason="needs root: sets a limit in a namespace")
def test_without_inotify_a_log_is_read_each_minute(place: Place) -> None:
    """Nor is the control socket missed: that is looked at every ten seconds."""
    configure(place)
    place.treason("ban", KEPT)
    limited = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", LIMITED, "sh"]
    with running(place, awake=False, by=limited) as daemon:
        daemon.hears("cannot watch")

        def inside(*command: str) -> subprocess.CompletedProcess[str]:
            there = ("nsenter", "-t", str(daemon.process.pid), "-U", "-n", "--preserve-credentials")
            return subprocess.run([*there, *command], capture_output=True, text=True, check=False)

        def treason(*arguments: str) -> subprocess.CompletedProcess[str]:
            program = (sys.executable, "-P", "-m", "reconciler", "--config", str(place.config))
            return inside(*program, *arguments)

        with resting(daemon):
            found = treason("status")
            assert "too many inotify instances" in found.stdout
            assert "reads by a timer: file" in found.stdout
            assert found.returncode == 1
            inside("nft", "flush set inet treason banned4")
            until(lambda: KEPT in inside("nft", "list table inet treason").stdout)
        place.path.joinpath("control").unlink()
        until(lambda: "in force: nftables" in treason("ban", "192.0.2.1").stdout)


# The backends.


def test_a_backend_whose_program_is_missing_holds_no_other_up(place: Place, nft: Nft) -> None:
    """What it lacks is brought in by the next pass that can be made."""
    configure(place, main='backends = ["nftables", "ipset"]')
    place.treason("ban", KEPT)
    program = shutil.which("ipset", path=search_path())
    assert program
    run(["mount", "--bind", os.devnull, program])
    try:
        with running(place) as daemon:
            with resting(daemon):
                goes_on(daemon, nft, "203.0.113.7")
                until(lambda: says(place, "ipset: cannot be run", 1))
                result = place.treason("ban", "192.0.2.1")
                assert result.code == 1
                assert "stored, but not in force yet: ipset" in result.err
                assert drops("192.0.2.1")
            run(["umount", program])
            assert place.treason("ban", "192.0.2.2").code == 0
            assert "203.0.113.7" in run(["ipset", "save"]).output
            until(lambda: says(place, "running since", 0))
    finally:
        with suppress(TreasonError):
            run(["umount", program])


def test_a_kernel_that_refuses_is_told(place: Place, host: None) -> None:
    """What is in force stays; what offenders are banned for is stored, for when it does not."""
    configure(place)
    place.treason("ban", KEPT)
    place.treason("reconcile", "--no-scan")
    powerless = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    with running(place, by=powerless) as daemon:
        assert "READY=1" in daemon.told[0]
        with resting(daemon):
            daemon.offend("203.0.113.7")
            until(lambda: "203.0.113.7" in place.treason("list").out)
            assert says(place, "nftables: Operation not permitted", 1)
            assert place.treason("ban", "192.0.2.1").code == 1
        assert in_force() == {Network.parse(KEPT)}
        assert place.treason("reconcile", "--no-scan").code == 0
        assert drops("203.0.113.7", "192.0.2.1")


def test_a_fight_is_named_and_costs_little(place: Place, nft: Nft) -> None:
    """Somebody takes away again and again what is put back, for three seconds."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place) as daemon:
        with resting(daemon):
            end = time.monotonic() + 3
            while time.monotonic() < end:
                nft("flush set inet treason banned4")
        assert says(place, "undoes again and again", 1)
        until(lambda: drops(KEPT))
        daemon.offend("203.0.113.7")
        until(lambda: drops("203.0.113.7"))


def test_who_adds_again_and_again_is_named_and_costs_little(place: Place, nft: Nft) -> None:
    """Only a pass takes out what is too much: six are made within the minute, then few."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place) as daemon:

        def is_named() -> bool:
            nft("add element inet treason banned4 { 203.0.113.9 }")
            return "somebody undoes" in daemon.error or says(place, "undoes again and again", 1)

        until(is_named)
        until(lambda: in_force() == {Network.parse(KEPT)})


# This machine.


def test_without_descriptors_what_is_in_force_stays_so(place: Place, nft: Nft) -> None:
    """No child can be begun, and nothing be read; then all that was left is done."""
    configure(place, main=f'backends = ["nftables", "file:{place.path}/list"]')
    place.treason("ban", KEPT)
    with running(place) as daemon:
        pid = daemon.process.pid
        until(lambda: says(place, "running since", 0))
        most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        taken = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
        free = (number for number in range(1024) if number not in taken)
        limit = [*islice(free, 3)][-1]  # two are left: for the log or the database, for no child
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, most[1]))
        ports = count(1)
        with resting(daemon):
            while not drops("203.0.113.7"):  # one that cannot be read is read with the next
                daemon.offend("203.0.113.7", port=next(ports))
                time.sleep(0.1)
            nft("delete table inet treason")
            until(lambda: drops(KEPT, "203.0.113.7"))
            run(["ip", "address", "add", "203.0.113.99/32", "dev", "lo"])
            place.path.joinpath("control").unlink()
            until(lambda: "Too many open files" in daemon.error)
            daemon.hears("Too many open files")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, most)
        until(lambda: place.treason("ban", "192.0.2.1").out.endswith("list\n"))
        stored = "0 networks in force and not stored yet"  # what is read anew, within a minute
        until(lambda: says(place, stored, 0), patience=90.0)
        assert "203.0.113.7" in place.path.joinpath("list").read_text()


WALL = """\
import time
wall, wall_ns = time.time, time.time_ns
def wrong():
    with open({0!r}) as file:
        return int(file.read() or 0)
time.time = lambda: wall() + wrong()
time.time_ns = lambda: wall_ns() + wrong() * 10**9
"""


def test_a_clock_that_jumps_ends_no_ban(
    place: Place, nft: Nft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forth and back, while it runs: bans go by the time since boot."""
    configure(place, '[policy]\nban_for = "1h"')
    place.treason("ban", KEPT, "--for", "1h")
    wrong = place.path / "wrong"
    wrong.write_text("0")
    place.path.joinpath("sitecustomize.py").write_text(WALL.format(str(wrong)))
    monkeypatch.setenv("PYTHONPATH", os.fspath(place.path))

    def status() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "reconciler", "--config", str(place.config)]
        return subprocess.run([*command, "status"], capture_output=True, text=True, check=False)

    with running(place) as daemon:
        for number, jump in enumerate((5 * 3600, -5 * 3600, 400 * 86400, -9000 * 86400)):
            wrong.write_text(str(jump))
            with resting(daemon):
                goes_on(daemon, nft, f"203.0.113.{number}")
            found = status()
            assert "the wall clock is" in found.stdout
            assert found.returncode == 0
        assert drops(KEPT, *(f"203.0.113.{number}" for number in range(4)))
        wrong.write_text("0")
        goes_on(daemon, nft, "203.0.113.9")
        assert "the wall clock is" not in status().stdout


def test_who_was_stopped_goes_on_where_it_was(place: Place, nft: Nft) -> None:
    """For longer than commands wait, and than half of what the watchdog does."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place, more={"WATCHDOG_USEC": "4000000"}) as daemon:
        daemon.hears("WATCHDOG=1")
        daemon.send(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)
        daemon.forget()
        nft("flush set inet treason banned4")
        daemon.offend("203.0.113.7")
        assert says(place, "does not answer: nothing came within 2 s", 1)
        assert place.treason("ban", "192.0.2.1").code == 1
        assert not select.select([daemon.manager], [], [], 0)[0], "it gave a sign of life"
        daemon.send(signal.SIGCONT)
        until(lambda: drops(KEPT, "203.0.113.7", "192.0.2.1"))
        daemon.hears("WATCHDOG=1")
        until(lambda: says(place, "running since", 0))


def test_where_it_hung_is_told(place: Place, host: None) -> None:
    """By the watchdog's SIGABRT; what is in force stays."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place) as daemon:
        daemon.send(signal.SIGABRT)
        assert daemon.process.wait(20) == -signal.SIGABRT
        assert "Fatal Python error: Aborted" in daemon.error
        assert drops(KEPT)


# Who listens to it.


@pytest.mark.parametrize("how", ["unlinked", "the directory"])
def test_a_control_socket_that_somebody_removes_is_made_again(
    how: str, place: Place, host: None
) -> None:
    """Also with all that was beside it; where that cannot be, it is told, and tried again."""
    configure(place)
    place.config.write_text(place.config.read_text().replace("/control", "/at/control"))
    directory = place.path / "at"
    path = directory / "control"
    with running(place) as daemon:
        before = path.stat().st_ctime_ns
        if how == "unlinked":
            path.unlink()
        else:  # at one moment: else it may be made again while its content is taken out
            shutil.rmtree(directory.rename(place.path / "away"))
        until(lambda: path.exists() and path.stat().st_ctime_ns != before)
        assert place.treason("ban", "192.0.2.1").out.endswith("in force: nftables\n")
        assert says(place, "running since", 0)
        second = place.start("run")
        assert second.wait(20) == 1
        other = place.path / "file"
        other.touch()
        exchange(directory, other)
        shutil.rmtree(other)
        daemon.hears("the control socket is gone, and cannot be made again")
        directory.unlink()
        until(lambda: says(place, "running since", 0))
        assert daemon.stop() == 0
    assert not path.exists()


def test_who_does_not_read_what_it_prints_holds_nothing_up(place: Place, nft: Nft) -> None:
    """As a journal that hangs; how much was not printed is told then."""
    configure(place)
    place.treason("ban", KEPT)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", buffering=0) as end, running(place, stderr=writing) as daemon:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while os.write(writing, bytes(4096)):
                pass
        os.set_blocking(writing, True)
        with resting(daemon):
            goes_on(daemon, nft, "203.0.113.7")
            assert says(place, "put back", 0) or says(place, "repaired the firewall last", 0)
        os.set_blocking(reading, False)
        while end.read(1 << 16):
            pass
        nft("flush set inet treason banned4")
        until(lambda: drops(KEPT))
        os.set_blocking(reading, True)
        assert end.read(1 << 16).startswith(b"treason: warning: 1 message could not be printed")
        assert daemon.stop() == 0
    os.close(writing)


def test_without_standard_error_it_runs(place: Place, nft: Nft) -> None:
    """Nothing else gets its number; nor does it matter when it is closed later."""
    configure(place)
    place.treason("ban", KEPT)
    with running(place, by=["sh", "-c", 'exec "$@" 2>&-', "sh"]) as daemon:
        assert Path(f"/proc/{daemon.process.pid}/fd/2").readlink() == Path(os.devnull)
        goes_on(daemon, nft, "203.0.113.7")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with running(place, stderr=writing) as daemon:
        os.close(reading)
        goes_on(daemon, nft, "203.0.113.8")
        daemon.send(signal.SIGTERM)
        assert daemon.process.wait(60) == 0  # the kernel may take seconds to close an inotify
    os.close(writing)
