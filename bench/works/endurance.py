"""What a daemon's memory and descriptors are after much has happened, to after little.

The offenders are a thousand, who offend again and again, and what is undone is one element each
time: so it holds the same at the end as at the beginning. The daemon is a whole one, but for its
brake, which would let it repair a few times a second: it never pauses.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Final

from backends.nftables import layout
from backends.nftables import statements as nft
from bench.inputs import addresses, hosts
from bench.logs import syslog
from bench.measure import Failed, Sample
from bench.peers.watch import Watch
from bench.run import Bench, Subject
from bench.works.resident import Daemon, running
from reconciler.model import Desired
from reconciler.netlink import Connection, Message

WORK: Final = "a daemon that goes on"
LITTLE: Final = 1_000
_BRAKELESS: Final = """\
import sys
if "reconciler.daemon" in sys.orig_argv:
    from reconciler.daemon.brake import Brake
    Brake.wait = lambda self, now: 0.0
"""
"""A module that Python imports at its start (sitecustomize in the documentation of `site`)."""

_OFFENDERS: Final = 1_000
_CHUNK: Final = 1_000
"""Lines that are written at once; the next are when these are stored."""

_RESTED: Final = 1.0
_PATIENCE: Final = 60.0


def measure(bench: Bench) -> None:
    """Measure after a thousand offences and repairs, then after many more."""
    offences, repairs = (20_000, 2_000) if bench.quick else (1_000_000, 100_000)
    with ExitStack() as stack:
        daemon = stack.enter_context(running(bench, 10, "file", **_without_brake(bench)))
        life = stack.enter_context(closing(_Life(daemon)))
        for size, repaired in ((LITTLE, LITTLE), (offences, repairs)):
            turn = partial(life.until, size, repaired)
            against = None if size == LITTLE else ("treason", LITTLE)
            bench.compare(WORK, [Subject("treason", size, turn, against)], rounds=1)


class _Life:
    """What has happened to a daemon so far."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._offences = self._repairs = 0
        self._damages = _deletions()
        with daemon.station.entered():
            self._somebody = Connection()
        daemon.events.close()

    def close(self) -> None:
        """Change nothing more."""
        self._somebody.close()

    def until(self, offences: int, repairs: int) -> Sample:
        """Offend and undo until it were so many; measure the rate, and what it keeps then."""
        begun, before = time.perf_counter(), self._offences
        while self._offences < offences:
            self._offend()
        offended = time.perf_counter()
        rate = (self._offences - before) / (offended - begun)
        before = self._repairs
        with self._daemon.station.entered(), Watch() as watch:
            for _ in range(repairs - before):
                self._undo(watch)
        told = {"offences a second": rate, "repairs": float(self._repairs)}
        told["repairs a second"] = (repairs - before) / (time.perf_counter() - offended)
        return {**told, **self._kept()}

    def _offend(self) -> None:
        self._daemon.append(syslog(addresses(_OFFENDERS)[:_CHUNK]).encode())
        self._offences += _CHUNK
        end = time.monotonic() + _PATIENCE
        while self._stored() < self._offences:
            if time.monotonic() > end:
                raise Failed(f"{self._stored():,} of {self._offences:,} offences are stored")
            time.sleep(0.002)

    def _stored(self) -> int:
        place = f"file:{self._daemon.station.database}?mode=ro"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(place, uri=True)) as store:
            return int(store.execute("SELECT coalesce(max(rowid), 0) FROM offences").fetchone()[0])
        return 0

    def _undo(self, watch: Watch) -> None:
        """Delete an element, and wait until it is back."""
        self._somebody.commit(next(self._damages))
        watch.wait(1, _PATIENCE)
        self._repairs += 1

    def _kept(self) -> Sample:
        """Return what it keeps, once no pass is under way."""
        process = Path(f"/proc/{self._daemon.process.pid}")
        children = process / "task" / process.name / "children"
        time.sleep(_RESTED)
        while children.read_text():
            time.sleep(_RESTED)
        return {
            "memory": self._daemon.memory(),
            "descriptors": len([*process.joinpath("fd").iterdir()]),
            "threads": len([*process.joinpath("task").iterdir()]),
        }


def _deletions() -> Iterator[list[Message]]:
    """Yield, for ever, what deletes one element of ours after the other."""
    desired = Desired(hosts(10))
    (hashed,) = layout.shape_for(desired).hosts(4)
    packed = desired.banned.hosts(4)
    parts = [packed[at : at + hashed.width] for at in range(0, len(packed), hashed.width)]
    while True:
        for each in parts:
            yield [*nft.Hosts(hashed, each, delete=True).messages()]


def _without_brake(bench: Bench) -> dict[str, str]:
    """Return the environment of a daemon whose brake never pauses."""
    place = bench.directory / "brakeless"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(_BRAKELESS)
    return {"PYTHONPATH": str(place)}
