"""Those that run, do their work and end: treason itself, and the script that it replaces."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.logs import lines, message, syslog
from bench.measure import Sample
from bench.station import Station

_SCRIPT: Final = str(Path(__file__).with_name("original.sh"))


class Treason:
    """Reads the lines that are new in a log, and enforces."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._log = station.path / "kern.log"

    def start(self) -> None:
        """Nothing is to be prepared."""

    def ban(self, peers: Sequence[str]) -> Sample:
        """Log the peers, and measure the pass."""
        with self._log.open("a") as file:
            file.write(syslog(peers))
        return self.again()

    def pids(self) -> Sequence[int]:
        """Return no process: it runs when it is told to."""
        return ()

    def again(self) -> Sample:
        """Measure a pass over the log as it is."""
        return self._station.treason("reconcile", "--source", f"file:{self._log}")

    def close(self) -> None:
        """Nothing runs on."""


class Original:
    """Reads the whole log, and makes its chain anew, a process for each address."""

    def __init__(self, station: Station, variant: str) -> None:
        self._station = station
        self._log = station.path / "dmesg"
        self._variant = variant

    def start(self) -> None:
        """Nothing is to be prepared."""

    def ban(self, peers: Sequence[str]) -> Sample:
        """Log the peers, without the stamps that it cannot read, and measure the script."""
        with self._log.open("a") as file:
            file.write(lines(map(message, peers)))
        return self.again()

    def pids(self) -> Sequence[int]:
        """Return no process: it runs when it is told to."""
        return ()

    def again(self) -> Sample:
        """Measure the script over the log as it is."""
        database = str(self._station.path / "original.db")
        argv = ["sh", _SCRIPT, str(self._log), database, f"iptables-{self._variant}"]
        return self._station.measure(argv)

    def close(self) -> None:
        """Nothing runs on."""
