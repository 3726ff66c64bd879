"""A daemon without a firewall: it answers by the control socket what a test tells it to."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import define, field

from reconciler import Network
from reconciler.daemon import loop
from reconciler.daemon.control import Control, claimed
from reconciler.daemon.rest import Rest
from reconciler.host.control import DaemonStatus, Enforced, Identity
from reconciler.networks import Networks


class Loop(loop.Loop):
    """The daemon's, run in a thread of its own; ``turns`` counts how often it was woken."""

    def __init__(self) -> None:
        super().__init__()
        self._bell = os.eventfd(0)
        weakref.finalize(self, os.close, self._bell)
        self._later: list[Callable[[], object]] = []
        self.turns = 0
        self.watch(self._bell, select.POLLIN, self._called)

    def watch(self, descriptor: int, events: int, call: Callable[[], object]) -> None:
        """Wait for it, and count."""

        def counted() -> None:
            self.turns += 1
            call()

        super().watch(descriptor, events, counted)

    def call(self, work: Callable[[], object]) -> None:
        """Let the loop's thread do this, whichever thread asks for it."""
        self._later.append(work)
        os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """End `run`."""
        self.call(super().stop)

    def _called(self) -> None:
        for _ in range(os.eventfd_read(self._bell)):
            self._later.pop(0)()


@define
class Answers:
    """What the daemon says. To enforce, a thread does ``act``, or ``waiting`` keeps who waits."""

    guarded: Identity
    held: Networks = field(factory=Networks)
    how: DaemonStatus = field(factory=lambda: DaemonStatus(1, 0.0))
    act: Callable[[], Enforced] = lambda: Enforced(("nftables",))
    waiting: list[Callable[[Enforced], None]] = field(factory=list)
    patient: bool = False
    loop: Loop = field(factory=Loop)
    rest: Rest = field(factory=lambda: Rest(lambda: None, lambda: None))

    def identity(self) -> Identity:
        """Return what it guards."""
        return self.guarded

    def pending(self) -> Networks:
        """Return what is not stored yet."""
        return self.held

    def enforce(self, done: Callable[[Enforced], None]) -> None:
        """Act at once, or let the test say when."""
        if self.patient:
            self.waiting.append(done)
        else:
            threading.Thread(target=self._done, args=(done,)).start()

    def _done(self, done: Callable[[Enforced], None]) -> None:
        outcome = self.act()
        self.loop.call(lambda: done(outcome))

    def status(self) -> DaemonStatus:
        """Return how it is."""
        return self.how


@contextmanager
def serving(path: Path, answers: Answers) -> Iterator[Loop]:
    """Let a thread of this process be the daemon."""
    waits = answers.loop
    with claimed(path) as listener, closing(Control(listener, waits, answers)):
        thread = threading.Thread(target=waits.run)
        thread.start()
        try:
            yield waits
        finally:
            waits.stop()
            thread.join()


@contextmanager
def process(configuration: Path, database: Path, path: Path, *held: str) -> Iterator[int]:
    """Let another process be the daemon, with these networks in force and not stored yet."""
    command = [sys.executable, __file__, str(configuration), str(database), str(path), *held]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        try:
            yield child.pid
        finally:
            child.kill()
            os.kill(child.pid, signal.SIGCONT)


def stop(pid: int) -> None:
    """Stop a child process, and wait until it does nothing any more."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)


def connect(path: Path) -> socket.socket:
    """Connect as anybody may."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.settimeout(10)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made


def _main(configuration: str, database: str, path: str, *held: str) -> None:
    identity = Identity.of(Path(configuration), Path(database))
    networks = Networks.of(map(Network.parse, held))
    status = DaemonStatus(os.getpid(), time.time(), ("kmsg",), ("sockets",), len(networks))
    with serving(Path(path), Answers(identity, networks, status)):
        print("ready", flush=True)
        signal.pause()


if __name__ == "__main__":
    _main(*sys.argv[1:])
