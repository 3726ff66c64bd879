"""The daemon as a whole: from a line to the element in force, its start and its memory.

What is in force is told by the kernel: a listener hears of the commit that adds the element.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, Self

from backends.nftables.backend import Nftables
from bench.life import life
from bench.measure import TREASON, Failed, Sample, program
from bench.run import Bench, Subject
from bench.station import Station
from reconciler.execute import run
from reconciler.netlink import NFTABLES_EVENTS, Connection

APPENDED: Final = "from a line appended to an element in force"
MESSAGE: Final = "from a kernel message to an element in force"
FLOOD: Final = "10,000 offenders in a second"
START: Final = "ready after start"
SLOW: Final = "each commit 500 ms slower"
_LINE: Final = "TCP: Treason uncloaked! Peer {}:4638/8080 shrinks window 320752:320781. Repaired.\n"
_SLOW: Final = Path(__file__).parent.parent / "slow.c"
_MANY: Final = 10_000
_PATIENCE: Final = 60.0
_APART: Final = 0.02
"""Seconds between two lines; `_SPACED` between two messages, of which a process may write ten in
five seconds (the kernel's printk_devkmsg)."""
_SPACED: Final = 0.55


class Daemon:
    """A running daemon on a station, which is closed at the end of ``with``.

    ``environment`` is what its environment says besides.
    """

    def __init__(self, station: Station, source: str, **environment: str) -> None:
        self.station, self._environment = station, environment
        self.log = station.path / "kern.log"
        self.log.touch()
        text = station.config.read_text().replace("sources = []", f'sources = ["{source}"]')
        trust = "[trust]\nuserspace = true\n" if source == "kmsg" else ""
        station.config.write_text(
            f"{text}[source.file]\ntrusted = true\n{trust}"
            f'[run]\nsocket = "{station.path}/control"\n'
        )
        self.ready = 0.0
        self._numbers = count(int(time.time() * 20))  # the kernel's buffer holds earlier runs

    def __enter__(self) -> Self:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self.station.path / "manager"
        manager.bind(os.fspath(address))
        with self.station.entered():
            begun = time.perf_counter()
            self.process = subprocess.Popen(
                [TREASON, "--config", str(self.station.config), "run"],
                env={**os.environ, **self._environment, "NOTIFY_SOCKET": os.fspath(address)},
                stderr=subprocess.DEVNULL,
            )
            self.events = Connection([NFTABLES_EVENTS])
        manager.settimeout(_PATIENCE)
        while b"READY=1" not in manager.recv(8192):
            pass
        self.ready = time.perf_counter() - begun
        while b"woken by" not in manager.recv(8192):
            pass
        manager.close()
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_PATIENCE)

    def told(self, write: Callable[[bytes], object], apart: float) -> Sample:
        """Write a line about a new peer, and measure until its element is in force."""
        time.sleep(apart)
        self._drain()
        number = next(self._numbers) & 0x1FFFF
        line = _LINE.format(
            f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        ).encode()
        started = time.perf_counter()
        write(line)
        self.events.wait(_PATIENCE)
        return {"wall": time.perf_counter() - started}

    def append(self, data: bytes) -> None:
        """Write to the watched log."""
        with self.log.open("ab", buffering=0) as log:
            log.write(data)

    def memory(self) -> int:
        """Return the resident memory (bytes)."""
        return life(self.process.pid).memory

    def flood(self) -> Sample:
        """Write ten thousand offenders within a second; measure from the last line on."""
        lines = [_LINE.format(f"11.1.{n >> 8}.{n & 255}").encode() for n in range(_MANY)]
        with self.station.entered():
            before, backend = len(Nftables().observe().banned), Nftables()
        started = time.perf_counter()
        for at in range(0, _MANY, 100):
            self.append(b"".join(lines[at : at + 100]))
            time.sleep(max(0.0, started + (at + 100) / _MANY - time.perf_counter()))
        last = time.perf_counter()
        with self.station.entered():
            while len(backend.observe().banned) < before + _MANY:
                if time.perf_counter() > last + _PATIENCE:
                    raise Failed("not all offenders are dropped")
        return {"wall": time.perf_counter() - last}

    def _drain(self) -> None:
        for _ in self.events.events():
            pass


def slow(bench: Bench) -> dict[str, str]:
    """Return the environment of a daemon whose writing reaches the disk half a second later."""
    library = bench.directory / "slow.so"
    run([program("gcc"), "-shared", "-fPIC", "-o", str(library), str(_SLOW)])
    return {"LD_PRELOAD": str(library)}


def measure(bench: Bench) -> None:
    """Measure lines, the start and the memory; of a quick run beside few bans alone."""
    rounds = 15 if bench.quick else 101
    with ExitStack() as stack:
        kinds: list[tuple[str, int, dict[str, str]]] = [("treason", 10, {})]
        if not bench.quick:
            kinds += [("treason", 1_000_000, {}), (SLOW, 10, slow(bench))]
        subjects = []
        for name, size, environment in kinds:
            daemon = stack.enter_context(running(bench, size, "file", **environment))
            turn = partial(daemon.told, daemon.append, _APART)
            subjects.append(Subject(name, size, turn, ("treason", 10)))
        bench.compare(APPENDED, subjects, rounds=rounds)
    if not bench.quick:
        _long(bench, rounds)
    for size in (10, 100_000) if bench.quick else (10, 100_000, 1_000_000):
        turn = partial(_started, bench, size)
        bench.compare(START, [Subject("treason", size, turn)], rounds=3)


def _long(bench: Bench, rounds: int) -> None:
    """Measure many offenders at once, and what needs the kernel's buffer."""
    with running(bench, 10, "file") as daemon:
        bench.compare(FLOOD, [Subject("treason", _MANY, daemon.flood)], rounds=1)
    if os.access("/dev/kmsg", os.W_OK):
        with running(bench, 10, "kmsg") as daemon, Path("/dev/kmsg").open("wb", 0) as device:
            turn = partial(daemon.told, device.write, _SPACED)
            bench.compare(MESSAGE, [Subject("treason", 10, turn)], rounds=rounds, seconds=120)


def _started(bench: Bench, size: int) -> Sample:
    with running(bench, size, "kmsg") as daemon:
        time.sleep(1)
        return {"wall": daemon.ready, "memory": daemon.memory()}


@contextmanager
def running(bench: Bench, size: int, source: str, **environment: str) -> Iterator[Daemon]:
    """Run the daemon where so many bans are in force already."""
    with Station(bench.directory, "nftables", bench.database(size)) as station:
        station.treason("reconcile", "--no-scan")
        name = f"file:{station.path}/kern.log" if source == "file" else source
        with Daemon(station, name, **environment) as daemon:
            yield daemon
