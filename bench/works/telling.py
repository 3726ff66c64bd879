"""The kernel that tells of suspects by itself: how soon, at which cost, and in a flood.

The peers are a program of their own (nibble.c) behind a TUN device, in the server's namespace.
"""

import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Final

from backends.nftables.backend import Nftables
from bench.life import life
from bench.measure import PYTHON, Failed, Sample, program
from bench.run import Bench, Subject
from bench.station import Station
from bench.works.resident import Daemon
from reconciler.execute import run
from reconciler.host.netns import HOST4, WITNESS4, Namespace, Wire
from reconciler.network import Network
from sources.sockets.tracepoint import Retransmissions

TOLD: Final = "from the kernel's timer to the suspect"
HEALTHY: Final = "healthy traffic of 1 Gbit/s"
FLOOD: Final = "10,000 events a second"
LOADED: Final = "loading, BTF included"
TREASON: Final = "treason"
WITHOUT: Final = "nothing attached"
LASTING: Final = 10.0
"""Seconds for which an attack must be seen: the default of the source."""

_EVENTS: Final = 10_000
_PEERS: Final = 21
_MANY: Final = 60
"""Peers that are looked at for the time: each has some timers."""

_ATTACKER: Final = Network.parse("10.9.1.1")
_PATIENCE: Final = 20.0
_SPEED: Final = 125_000_000
"""Bytes a second."""

_PACING: Final = 47  # SO_MAX_PACING_RATE, asm-generic/socket.h
_PIECE: Final = 1 << 18
_PORT: Final = 9999
_SOURCE: Final = Path(__file__).parent.parent / "nibble.c"


def measure(bench: Bench) -> None:
    """Measure all four; of a quick run not the healthy traffic."""
    nibble = str(bench.directory / "nibble")
    run([program("gcc"), "-O2", "-o", nibble, str(_SOURCE)])
    bench.compare(LOADED, [Subject(TREASON, 1, _loaded)])
    rounds, seconds = (1, 2.0) if bench.quick else (5, 4.0)
    with _tunnel() as namespace, namespace.entered():
        bench.compare(
            TOLD, [Subject(TREASON, _MANY, partial(_told, nibble, seconds))], rounds=rounds
        )
    if not bench.quick:
        _healthy(bench)
    turn = partial(_flooded, bench, nibble)
    bench.compare(FLOOD, [Subject(TREASON, _EVENTS, turn)], rounds=1 if bench.quick else 3)


def _loaded() -> Sample:
    wall, cpu, memory = run([PYTHON, "-m", "bench.loaded"]).output.split()
    return {"wall": float(wall), "cpu": float(cpu), "memory": float(memory)}


def _told(nibble: str, seconds: float) -> Sample:
    """Let many shrink their windows; the sample is the median from timer to user space."""
    waits: list[int] = []
    with closing(Retransmissions()) as told, _nibbling(nibble, _MANY, 0, seconds) as peers:
        poll = select.poll()
        poll.register(told.fileno(), select.POLLIN)
        while peers.poll() is None:
            if poll.poll(100):
                found = told.read()
                now = time.monotonic_ns()
                waits += [now - each.at for each in found]
    if len(waits) < _MANY:
        raise Failed(f"of {_MANY} peers the kernel told {len(waits)} times")
    return {"wall": median(waits) / 1e9, "events": len(waits)}


def _healthy(bench: Bench) -> None:
    """Send through a cable, at a limited speed, with the program attached and without."""
    host = Namespace()
    with host.entered():
        wire = Wire([])
        subjects = [
            Subject(WITHOUT, _SPEED, partial(_sent, wire, attached=False)),
            Subject(TREASON, _SPEED, partial(_sent, wire, attached=True), (WITHOUT, _SPEED)),
        ]
        bench.compare(HEALTHY, subjects, rounds=9)
        wire.close()
    host.close()


def _sent(wire: Wire, *, attached: bool) -> Sample:
    """Send for three seconds' worth; ``wakes`` are what the kernel told meanwhile."""
    with ExitStack() as stack:
        with wire.peers.entered():
            listener = stack.enter_context(socket.create_server((WITNESS4, _PORT)))
        receiver = Thread(target=_receive, args=(listener,))
        receiver.start()
        told = stack.enter_context(closing(Retransmissions())) if attached else None
        one = stack.enter_context(socket.create_connection((WITNESS4, _PORT), 5, (HOST4, 0)))
        one.setsockopt(socket.SOL_SOCKET, _PACING, _SPEED)
        piece, left, begun = bytes(_PIECE), 3 * _SPEED, time.perf_counter()
        while left > 0:
            one.sendall(piece)
            left -= _PIECE
        one.shutdown(socket.SHUT_WR)
        receiver.join(_PATIENCE)
        wall = time.perf_counter() - begun
        wakes = len(told.read()) if told else 0
    return {"wall": wall, "rate": 3 * _SPEED / wall, "wakes": wakes}


def _receive(listener: socket.socket) -> None:
    one, _ = listener.accept()
    room = bytearray(_PIECE)
    with one:
        while one.recv_into(room):
            pass


def _flooded(bench: Bench, nibble: str) -> Sample:
    """Let a daemon find an attacker while others keep the kernel telling; measure its share.

    The time is what passes from the end of ``lasting`` until the attacker is dropped.
    """
    with ExitStack() as stack:
        station = stack.enter_context(Station(bench.directory, "nftables", bench.database(10)))
        station.treason("reconcile", "--no-scan")
        elsewhere = stack.enter_context(_tunnel())
        with station.entered():
            _attach()
        daemon = stack.enter_context(Daemon(station, "sockets"))
        cpu = _settled(daemon)
        begun = time.perf_counter()
        seconds = LASTING + _PATIENCE
        with elsewhere.entered():
            other = stack.enter_context(_nibbling(nibble, _PEERS, _EVENTS, seconds))
        with station.entered():
            peers = stack.enter_context(_nibbling(nibble, _PEERS, _EVENTS, seconds))
            shut = _moment(peers)
            backend = Nftables()
            while _ATTACKER not in backend.observe().banned:
                if time.monotonic() > shut + seconds:
                    raise Failed("the attacker is not dropped")
                time.sleep(0.05)
        dropped = time.monotonic()
        share = (life(daemon.process.pid).cpu - cpu) / (time.perf_counter() - begun)
        events = min(_events(each) for each in (peers, other))
    return {"wall": max(dropped - shut - LASTING, 0.0), "cpu": share, "events": events}


def _settled(daemon: Daemon) -> float:
    """Return what the daemon has taken of the processor, once its first passes are over."""
    cpu, end = -1.0, time.monotonic() + _PATIENCE
    while (now := life(daemon.process.pid).cpu) > cpu and time.monotonic() < end:
        cpu = now
        time.sleep(2)
    return now


@contextmanager
def _tunnel() -> Iterator[Namespace]:
    """Have a namespace of its own with the device of the peers."""
    namespace = Namespace()
    with namespace.entered():
        _attach()
    yield namespace
    namespace.close()


def _attach() -> None:
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "tuntap", "add", "dev", "nibble", "mode", "tun"])
    run(["ip", "address", "add", "10.9.0.1/16", "dev", "nibble"])
    run(["ip", "link", "set", "nibble", "txqueuelen", "10000", "up"])


@contextmanager
def _nibbling(
    nibble: str, flows: int, rate: int, seconds: float
) -> Iterator["subprocess.Popen[str]"]:
    """Let peers shrink their windows, for as long as the block, or for so many seconds."""
    command = [nibble, "nibble", str(flows), str(rate), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _moment(peers: "subprocess.Popen[str]") -> float:
    """Return when the first of them had shrunk its window."""
    word, _, moment = _line(peers).partition(" ")
    if word != "shut":
        raise Failed("the peers do not come through")
    return float(moment)


def _events(peers: "subprocess.Popen[str]") -> float:
    """End them; return how often in a second the server has sent again."""
    peers.terminate()
    line = _line(peers)
    if line.startswith("shut"):
        line = _line(peers)
    number, _, seconds = line.partition(" ")
    return float(number) / float(seconds)


def _line(peers: "subprocess.Popen[str]") -> str:
    return peers.stdout.readline() if peers.stdout else ""
