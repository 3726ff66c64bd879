"""Run a program and write what it cost: ``launch.py REPORT PROGRAM [ARGUMENT]...``.

It is a process of its own, and a small one, because Linux carries the peak memory of whoever
starts a program over into that program's own (``exec_mmap`` in fs/exec.c keeps ``maxrss``).
"""

import os
import sys
import time
from pathlib import Path


def main(report: str, *argv: str) -> int:
    """Write wall seconds, CPU seconds and peak bytes; give the program's exit code.

    CPU is that of all its processes; the peak is that of the greatest among them.
    """
    start = time.perf_counter()
    child = os.posix_spawn(argv[0], argv, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    cpu = usage.ru_utime + usage.ru_stime
    Path(report).write_text(f"{wall:.6f} {cpu:.6f} {usage.ru_maxrss * 1024}\n")
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
