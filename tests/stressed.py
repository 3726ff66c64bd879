"""A machine under stress: the real daemon on a small disk, commands beside it, and packets.

The kernel, the disk, the processes and the packets are real. Only the wall clock is not the
machine's: every process of ours goes by one that the test sets.
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from residents import LINE
from troubled import Disk

from backends.nftables.backend import Nftables
from reconciler import Network, Networks
from reconciler.execute import CommandFailed, run
from reconciler.host.netns import HOST4, Namespace, Wire

PATIENCE: Final = 120.0
"""Seconds after which something that does not happen will never happen: a command waits a minute
for a daemon that has begun to enforce, and is stopped then."""

_PORT: Final = 4000
_GAP: Final = 0.004
"""Seconds between two packets of a steady customer."""

_CLOCK: Final = """\
import os
import time

_time = time.time


def _wrong():
    with open(os.environ["WRONG_CLOCK"]) as told:
        return float(told.read() or 0)


time.time = lambda: _time() + _wrong()
time.time_ns = lambda: int(time.time() * 1e9)
"""
"""What Python imports first in each of our processes (sitecustomize in its module `site`)."""


class Customer:
    """Sends packets from one address, all the time, and counts which of them arrive."""

    def __init__(self, wire: Wire, address: str) -> None:
        self._address = address
        self._arrived: set[int] = set()
        self._sent = 0
        self._ended = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((HOST4, _PORT))
        self._socket.settimeout(0.1)
        self._threads = [
            threading.Thread(target=self._send, args=(wire.peers,)),
            threading.Thread(target=self._receive),
        ]
        for each in self._threads:
            each.start()

    def lost(self) -> int:
        """Return how many of those sent before now have not arrived."""
        sent, end = self._sent, time.monotonic() + 2.0
        while self._missing(sent) and time.monotonic() < end:
            time.sleep(0.01)
        return self._missing(sent)

    def close(self) -> None:
        """Send no more."""
        self._ended = True
        for each in self._threads:
            each.join()
        self._socket.close()

    def _receive(self) -> None:
        while not self._ended:
            with suppress(TimeoutError):
                self._arrived.add(int(self._socket.recv(64)))

    def _missing(self, sent: int) -> int:
        return sum(1 for each in range(sent) if each not in self._arrived)

    def _send(self, namespace: Namespace) -> None:
        with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as speaker:
            speaker.bind((self._address, 0))
            while not self._ended:
                speaker.sendto(b"%d" % self._sent, (HOST4, _PORT))
                self._sent += 1
                time.sleep(_GAP)


@define(eq=False)
class Command:
    """A command that somebody has begun, and what is to follow where it ends with 0, or not."""

    process: "subprocess.Popen[str]"
    arguments: tuple[str, ...]
    done: Callable[[], object]
    failed: Callable[[], object]
    err: str = field(default="", init=False)

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        _out, self.err = self.process.communicate(timeout=PATIENCE)
        (self.failed if self.process.returncode else self.done)()
        return self.process.returncode


class Stressed:
    """The machine: its directories, its disk, its packets, the daemon, and commands that run."""

    def __init__(self, directory: Path, customer: str, peers: Sequence[str]) -> None:
        self._stack = ExitStack()
        self._stack.callback(Disk(directory).close)
        self.etc = directory / "etc"
        self.etc.mkdir()
        self.disk = Disk(directory / "disk")
        self._stack.callback(self.disk.close)
        self.database = self.disk.path / "treason.db"
        self.log = self.etc / "kern.log"
        self.log.touch()
        self._clock = self.etc / "clock"
        self.set_clock(0)
        (self.etc / "sitecustomize.py").write_text(_CLOCK)
        namespace = Namespace()
        self._stack.callback(namespace.close)
        self._stack.enter_context(namespace.entered())
        self.wire = Wire([customer, *peers])
        self._stack.callback(self.wire.close)
        self.customer = Customer(self.wire, customer)
        self._stack.callback(self.customer.close)
        self.commands: list[Command] = []
        self.daemon: subprocess.Popen[bytes] | None = None
        self._stack.callback(self._kill_all)

    def close(self) -> None:
        """Leave it."""
        self._stack.close()

    # The files.

    def configure(self, text: str) -> None:
        """Write the configuration as a careful editor does."""
        fresh = self.etc / "treason.toml.new"
        fresh.write_text(text)
        fresh.rename(self.etc / "treason.toml")

    def set_clock(self, wrong: float) -> None:
        """Let the wall clock be wrong by so many seconds."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(wrong))
        fresh.rename(self._clock)

    def offend(self, address: str, number: int) -> None:
        """Let the kernel name a peer in the log."""
        with self.log.open("a") as log:
            log.write(LINE.format(address, number % 60_000))

    def stored(self) -> set[str]:
        """Return the stored bans."""
        with closing(sqlite3.connect(self.database, timeout=20)) as database:
            return {text for (text,) in database.execute("SELECT network FROM bans")}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the database for somebody else."""
        with closing(sqlite3.connect(self.database, isolation_level=None, timeout=20)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    # The firewall.

    def in_force(self) -> Networks:
        """Return what the kernel drops."""
        held = Nftables().observe()
        return Networks() if held.damage else held.banned - Networks.of(held.passed or ())

    def drops(self, address: str) -> bool:
        """Whether the kernel holds an address to be dropped."""
        return Network.parse(address) in self.in_force()

    def arriving(self, addresses: Sequence[str]) -> set[str]:
        """Return whose packets arrive."""
        return self.wire.arriving(addresses)

    def damage(self, command: str) -> None:
        """Change the firewall as somebody else does, if there is something to change."""
        with suppress(CommandFailed):
            run(["nft", command])

    # The processes.

    def start(self) -> None:
        """Start the daemon, as the service manager does, and wait until it is ready."""
        address = self.etc / "manager"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(os.fspath(address))
            manager.settimeout(PATIENCE)
            with (self.etc / "errors").open("ab") as errors:
                self.daemon = self._begun(["run"], manager=str(address), stderr=errors)
            while "READY=1" not in manager.recv(8192).decode():
                assert self.daemon.poll() is None, self.said
        address.unlink()

    def kill(self) -> None:
        """Kill the daemon."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait(PATIENCE)
            self.daemon = None

    def send(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        if self.daemon is not None:
            self.daemon.send_signal(number)

    @property
    def said(self) -> str:
        """What the daemon has printed."""
        return (self.etc / "errors").read_text()

    def begin(
        self,
        *arguments: str,
        done: Callable[[], object] = lambda: None,
        failed: Callable[[], object] = lambda: None,
    ) -> Command:
        """Begin a command, and wait for nothing."""
        process = self._begun(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        command = Command(process, arguments, done, failed)
        self.commands.append(command)
        return command

    def join(self) -> list[Command]:
        """Wait for all commands; return them."""
        ended, self.commands = self.commands, []
        for each in ended:
            each.end()
        return ended

    def treason(self, *arguments: str) -> Command:
        """Run a command to its end."""
        command = self.begin(*arguments)
        self.commands.remove(command)
        command.end()
        return command

    def _begun(
        self, arguments: Sequence[str], *, manager: str = "", **options: Any
    ) -> "subprocess.Popen[Any]":
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        environment |= {"PYTHONPATH": str(self.etc), "WRONG_CLOCK": str(self._clock)}
        if manager:
            environment["NOTIFY_SOCKET"] = manager
        program = [sys.executable, "-P", "-m", "reconciler"]
        return subprocess.Popen(
            [*program, "--config", str(self.etc / "treason.toml"), *arguments],
            env=environment,
            **options,
        )

    def _kill_all(self) -> None:
        self.send(signal.SIGCONT)
        self.kill()
        for each in self.commands:
            each.process.kill()
            each.process.communicate()
