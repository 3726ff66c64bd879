"""The real daemon as a process, in the network namespace of the test, and what it has in force."""

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from attrs import define, field
from feedfiles import nets, write
from harness import Place

from backends.nftables.backend import Nftables
from reconciler import Network, Networks
from reconciler.feeding import FeedGroup

PATIENCE = 60.0
"""Seconds for which anything is waited for: a machine may be very busy."""

NOTHING_MORE: Mapping[str, str] = {}

LINE = "TCP: Treason uncloaked! Peer {}:{}/80 shrinks window 3:4. Repaired.\n"

HOLDER = """\
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def until(true: Callable[[], object], what: str = "", patience: float = PATIENCE) -> None:
    """Wait until something is true."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, what or true
        time.sleep(0.01)


def in_force() -> Networks:
    """Return what the kernel drops."""
    return Nftables().observe().banned


def drops(*addresses: str) -> bool:
    """Whether the kernel drops all of these."""
    held = in_force()
    return all(Network.parse(address) in held for address in addresses)


def told(place: Place) -> dict[str, Any]:
    """Return what the status tells of the daemon, once it answers, which may take a while."""
    found: dict[str, Any] = {}

    def answers() -> bool:
        found.update(place.treason("status", "-o", "json").json.get("daemon") or {})
        return bool(found)

    until(answers)
    return found


@define(eq=False)
class Resident:
    """A running ``treason run``, and what it has told the service manager and on standard error."""

    place: Place
    process: "subprocess.Popen[bytes]"
    manager: socket.socket
    errors: Path
    told: list[str] = field(factory=list)

    @property
    def log(self) -> Path:
        """The log that it watches."""
        return self.place.path / "kern.log"

    def offend(self, *addresses: str, port: int = 1) -> None:
        """Let the kernel name these peers in the log."""
        with self.log.open("a") as log:
            full = (ip_address(each).exploded for each in addresses)  # as the kernel prints them
            log.write("".join(LINE.format(each, port) for each in full))

    def hears(self, text: str) -> None:
        """Wait until it has told the service manager this."""
        poll = select.poll()
        poll.register(self.manager, select.POLLIN)
        end = time.monotonic() + PATIENCE
        while not any(text in each for each in self.told):
            left = end - time.monotonic()
            assert left > 0, (text, self.told, self.error)
            assert self.process.poll() is None, self.error
            if poll.poll(min(left, 0.2) * 1000):
                self.told.append(self.manager.recv(8192).decode())

    def forget(self) -> None:
        """Forget what was told."""
        self.manager.setblocking(False)
        try:
            while True:
                self.manager.recv(8192)
        except BlockingIOError:
            self.told.clear()
        self.manager.setblocking(True)

    @property
    def error(self) -> str:
        """What it printed on standard error."""
        return self.errors.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Let it end by SIGTERM; return its exit code."""
        self.send(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill it, and wait until no pass of its own runs any more."""
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def running(
    place: Place,
    *options: str,
    awake: bool = True,
    by: Sequence[str] = (),
    stderr: int | None = None,
    more: Mapping[str, str] = NOTHING_MORE,
) -> Iterator[Resident]:
    """Run it, from when it is ready and, if ``awake``, waits for its sources.

    A program may run it (``by``), with ``more`` in its environment.
    """
    (place.path / "kern.log").touch()
    address = place.path / "manager"
    address.unlink(missing_ok=True)
    errors = place.path.with_name(f"{place.path.name}.err")  # whose disk may be full
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, errors.open("ab") as sink:
        manager.bind(os.fspath(address))
        process = subprocess.Popen(
            [
                *by,
                *(sys.executable, "-P", "-m", "reconciler", "--config", str(place.config)),
                *("run", *options),
            ],
            stderr=sink if stderr is None else stderr,
            env={**os.environ, "NOTIFY_SOCKET": os.fspath(address), **more},
        )
        resident = Resident(place, process, manager, errors)
        try:
            resident.hears("READY=1")
            if awake:
                resident.hears("woken by")
            yield resident
        finally:
            process.kill()
            process.wait()


def configure(place: Place, text: str = "", main: str = "") -> None:
    """Let it watch a log of the test's own."""
    place.configure(
        f"[source.file]\ntrusted = true\n{text}",
        main=f'sources = ["file:{place.path}/kern.log"]\n{main}',
    )


def with_feeds(place: Place, *names: str, text: str = "") -> None:
    """Configure these feeds, too, each with a directory of its own, which need not be there."""
    tables = (
        f'[feed.{name}]\ntype = "list"\npath = "/nowhere"\nstore = "{place.path}/{name}/feed.db"\n'
        for name in names
    )
    configure(place, f"{''.join(tables)}{text}")


def feed_says(
    place: Place, *networks: str, name: str = "a", until: int | None = None, epoch: str = "first"
) -> None:
    """Let a feed say this until then, and nothing else any more."""
    publish(place.path / name / "feed.db", nets(*networks), until, epoch)


def publish(path: Path, networks: Networks, until: int | None = None, epoch: str = "first") -> None:
    """Put the whole own file of a feed in place, by one rename."""
    path.parent.mkdir(exist_ok=True)
    group = FeedGroup(networks, reason="scans", until=until)
    write(path.with_name("fresh"), [group], epoch=epoch).rename(path)


def listed(place: Place) -> set[str]:
    """Return the banned networks."""
    return {each["network"] for each in place.treason("list", "-o", "json").json["bans"]}


def exchange(one: Path, other: Path) -> None:
    """Let two names change places at one moment, so that neither is ever missing."""
    library = ctypes.CDLL(None, use_errno=True)
    here, exchanging = -100, 2  # AT_FDCWD, linux/fcntl.h; RENAME_EXCHANGE, linux/fs.h
    failed = library.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchanging)
    assert not failed, os.strerror(ctypes.get_errno())


@contextmanager
def busy(place: Place) -> Iterator[None]:
    """Let nobody write to the database, as a disk does that is full or slow."""
    command = [sys.executable, "-c", HOLDER, str(place.database)]  # a lock is its process's own
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.communicate()


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Let a file system be full."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    filler.unlink()
