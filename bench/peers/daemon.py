"""Processes that go on running: what they cost, and their end."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.measure import Failed

_PATIENCE: Final = 30.0


class Daemon:
    """A process in the background. It runs in the namespace of the calling thread."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._log = log

    def ready(self, answers: Callable[[], bool]) -> None:
        """Wait until it answers; raise `Failed` when it ends before, or does not in time."""
        end = time.monotonic() + _PATIENCE
        while not answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Failed(f"does not start: {self._log.read_text()[-300:].strip()}")
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def cpu(self) -> float:
        """Return the CPU seconds of it and of the children that it waited for (proc(5))."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return the bytes of its peak so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (line,) = (line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
