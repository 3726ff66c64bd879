"""Whether passes can have their lock, and nobody else can take it away."""

import os
import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine

_PATIENCE: Final = 0.5
"""Seconds for which the lock is waited for: the daemon has it for moments."""


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what is wrong with the lock."""
    path = machine.setup.config.treason.lock
    with suppress(OSError):
        held = path.parent.stat().st_mode
        if held & stat.S_IWOTH and not held & stat.S_ISVTX:
            yield Finding(
                f"{path.parent}: every user may write to the lock's directory",
                "who takes the lock away lets two passes run at once",
                f"chmod o-w {shlex.quote(str(path.parent))}",
            )
    if machine.is_root and (pid := keeper(path)):
        longest = 2 * machine.setup.config.treason.pass_timeout
        age = age_of(machine, pid)
        how = machine.resident.status()
        if age is not None and age > longest and not (how and how.pid == pid):
            yield Finding(
                f"{path}: process {pid} has the lock, and runs since {age // 60:.0f} minutes",
                "no other pass can begin",
                f"kill {pid}",
            )


def keeper(path: Path) -> int | None:
    """Return the process that has the lock, and does not give it back; none is taken for that."""
    try:
        lock = path.stat()
    except OSError:
        return None
    end = time.monotonic() + _PATIENCE
    while (pid := _locking(lock.st_ino)) and _has_open(pid, lock):
        if time.monotonic() > end:
            return pid
        time.sleep(0.02)
    return None


def _locking(inode: int) -> int | None:
    """Return the process that /proc/locks (proc(5)) names for a file; None if it names none."""
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and words[-3].rpartition(":")[2] == str(inode):
                return int(words[-4])
    return None


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has this very file open: another disk has the same numbers of inodes."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), file):
                    return True
    return False


def age_of(machine: Machine, pid: int) -> float | None:
    """Return for how many seconds a process runs (field 22 of /proc/PID/stat, proc(5))."""
    told = machine.text(f"proc/{pid}/stat").rpartition(") ")[2].split()
    if len(told) < 20:
        return None
    started = int(told[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
