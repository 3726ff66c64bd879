"""Looking at many healthy sockets, as a pass of the source `sockets` does, beside `ss -tinH`."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Final

from bench.measure import PYTHON, Failed, Sample
from bench.measure import measure as run
from bench.run import Bench, Subject
from reconciler import execute
from reconciler.host.netns import Namespace
from reconciler.netlink import Sockets
from sources.sockets.source import SocketsSource

LOOKING: Final = "looking at sockets"
ASKING: Final = "asking for one socket"
SS: Final = "ss -tinH"
TREASON: Final = "treason"
_EACH: Final = 5_000
"""Sockets that one process holds: no limit on open files is so low."""

_QUERIES: Final = 2_000
_HOLDER: Final = """
import resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
listener = socket.socket()
listener.bind((sys.argv[2], 0))
listener.listen()
held = []
for _ in range(int(sys.argv[1]) // 2):
    held += [socket.create_connection(listener.getsockname()), listener.accept()[0]]
print("ready", flush=True)
sys.stdin.read()
"""


def measure(bench: Bench) -> None:
    """Compare in a namespace of its own, both ends of each connection in it."""
    namespace = Namespace()
    with namespace.entered():
        execute.run(["ip", "link", "set", "lo", "up"])
        for size in (10_000,) if bench.quick else (10_000, 50_000):
            with held(size):
                tool = Subject(SS, size, partial(run, ["ss", "-tinH"]))
                bench.compare(LOOKING, [tool, Subject(TREASON, size, _look, (SS, size))])
                if size == 10_000:
                    bench.compare(ASKING, [Subject(TREASON, 1, _ask)])
    namespace.close()


@contextmanager
def held(size: int) -> Iterator[None]:
    """Hold so many sockets for the time of the block."""
    holders = []
    try:
        for number in range(size // _EACH):
            holder = subprocess.Popen(
                [PYTHON, "-c", _HOLDER, str(_EACH), f"127.0.1.{number + 1}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            holders.append(holder)
            if holder.stdout is None or holder.stdout.readline() != b"ready\n":
                raise Failed("the sockets could not be made")
        yield
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def _look() -> Sample:
    """Dump and judge all, the proof on an own socket included."""
    source = SocketsSource()
    started, cpu = time.perf_counter(), time.process_time()
    found = len([*source.read(None, ())])
    sample = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    if found or [*source.suspects()]:
        raise Failed("healthy sockets were suspected")
    return sample


def _ask() -> Sample:
    """Ask for one socket often; the sample is the median of one query."""
    sockets = Sockets()
    one, *_ = sockets.dump()
    seconds = []
    for _ in range(_QUERIES):
        started = time.perf_counter()
        found = sockets.exact(one)
        seconds.append(time.perf_counter() - started)
        if found is None:
            raise Failed("the socket is gone")
    return {"wall": median(seconds)}
