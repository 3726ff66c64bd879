"""What a process that runs on has taken and keeps, as /proc tells it (proc(5))."""

import os
from pathlib import Path

from attrs import frozen


@frozen
class Life:
    """CPU seconds, with those of the children that it waited for; wake-ups; resident bytes."""

    cpu: float
    wakes: int
    memory: int


def life(pid: int) -> Life:
    """Return what a process is found to have taken until now, all its threads together."""
    process = Path(f"/proc/{pid}")
    stat = (process / "stat").read_text().rpartition(")")[2].split()
    cpu = sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")
    threads = (process / "task").iterdir()
    wakes = sum(_told(each / "status", "voluntary_ctxt_switches") for each in threads)
    return Life(cpu, wakes, _told(process / "smaps_rollup", "Rss") * 1024)


def _told(file: Path, name: str) -> int:
    (line,) = (line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
