"""What processes spend, as the kernel counts it: processor time, memory, packets on loopback."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path


def cpu(processes: Iterable[int]) -> float:
    """Return the seconds on a processor of all their threads that live (/proc/PID/schedstat)."""
    return sum(int(each.split()[0]) for each in _read(processes, "task/*/schedstat")) / 1e9


def memory(processes: Iterable[int]) -> int:
    """Return the bytes that they hold, shared pages once (Pss, proc_pid_smaps_rollup(5))."""
    shares = (
        re.search(r"^Pss: +([0-9]+) kB", each, re.MULTILINE)
        for each in _read(processes, "smaps_rollup")
    )
    return sum(int(share[1]) << 10 for share in shares if share)


def wire() -> tuple[int, int]:
    """Return the packets and bytes that loopback of this thread's namespace has carried."""
    devices = Path("/proc/thread-self/net/dev").read_text()
    octets, packets = map(int, devices.partition("lo:")[2].split()[:2])
    return packets, octets


def _read(processes: Iterable[int], pattern: str) -> Iterator[str]:
    """Yield what /proc says of each, but of one that has just ended."""
    for each in processes:
        with suppress(OSError):
            for path in Path(f"/proc/{each}").glob(pattern):
                yield path.read_text()
