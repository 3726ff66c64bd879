"""What it costs a process that the kernel tells it of suspects: ``python -m bench.loaded``.

It prints seconds, seconds of the processor, and bytes of resident memory that it has more then; the
modules that are read for it are in all of them, as a daemon reads them at its start.
"""

import gc
import os
import time

from bench.life import life
from sources.sockets.source import SocketsSource


def main() -> None:
    """Load, and tell."""
    gc.collect()
    before = life(os.getpid()).memory
    started, cpu = time.perf_counter(), time.process_time()
    source = SocketsSource()
    source.fileno()
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    gc.collect()
    print(wall, cpu, life(os.getpid()).memory - before)
    source.close()


if __name__ == "__main__":
    main()
