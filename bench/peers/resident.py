"""Those that wait for a log and act at once: the daemon, and the least that one can do."""

import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from bench.logs import syslog
from bench.measure import PYTHON, Failed, Sample
from bench.peers.watch import Watch
from bench.station import Station
from bench.works.resident import Daemon

_PATIENCE: Final = 20.0


class Resident:
    """`treason run`, which watches a log of its own."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._stack = ExitStack()
        self._log = station.path / "kern.log"
        self._pid = 0

    def start(self) -> None:
        """Start it, and wait until it watches the log."""
        self._station.treason("reconcile", "--no-scan")
        daemon = self._stack.enter_context(Daemon(self._station, f"file:{self._log}"))
        daemon.events.close()
        self._pid = daemon.process.pid

    def ban(self, peers: Sequence[str]) -> Sample:
        """Log the peers, and wait until all are in the set."""
        with self._station.entered(), Watch() as watch:
            start = time.perf_counter()
            with self._log.open("a") as file:
                file.write(syslog(peers))
            return {"wall": watch.wait(len(peers), _PATIENCE) - start}

    def pids(self) -> Sequence[int]:
        """Return its process."""
        return [self._pid]

    def close(self) -> None:
        """Stop it."""
        self._stack.close()


class Floor(Resident):
    """`bench.floor`, which does the same without judging, storing or looking again."""

    def start(self) -> None:
        """Start it, and wait until it watches the log."""
        self._log.touch()
        with self._station.entered():
            process = subprocess.Popen(
                [PYTHON, "-m", "bench.floor", str(self._log)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self._stack.callback(process.communicate)
        self._pid = process.pid
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise Failed("the floor does not begin")
