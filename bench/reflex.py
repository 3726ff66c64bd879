"""A resident process of nothing but reflexes: ``python -m bench.reflex BANS``.

It tells each repair by the moment of its end, of the clock that all processes share. On request it
tells how often it was woken and how many seconds of the processor it took (``cost``), or how long
it takes to add an address, the median of a hundred (``add``).
"""

import select
import sys
import time
from statistics import median

from backends.nftables.backend import Nftables
from bench.inputs import hosts
from reconciler.model import Desired
from reconciler.network import Network
from reconciler.networks import Networks

_ADDED = Network.of(4, 0x0A000000, 32)


def main(size: int) -> None:
    """Hold so many bans until the end of the input."""
    reflexes = Nftables().reflexes()
    reflexes.hold(Desired(hosts(size)), "")
    reflexes.changed()
    reflexes.repair()
    poll = select.poll()
    poll.register(reflexes.fileno(), select.POLLIN)
    poll.register(sys.stdin.fileno(), select.POLLIN)
    print("ready", flush=True)
    wakes, added, cpu = 0, 0, time.process_time()
    while True:
        woken = {descriptor for descriptor, _ in poll.poll()}
        if reflexes.fileno() in woken:
            wakes += 1
            if reflexes.changed() and (told := reflexes.repair()):
                print(time.perf_counter(), *map(str, told), flush=True)
        if sys.stdin.fileno() in woken:
            match sys.stdin.readline():
                case "cost\n":
                    print(wakes, time.process_time() - cpu, flush=True)
                    wakes, cpu = 0, time.process_time()
                case "add\n":
                    seconds = []
                    for _ in range(100):
                        one = Networks.of([Network(_ADDED + (added << 8))])
                        started = time.perf_counter()
                        reflexes.add(one)
                        seconds.append(time.perf_counter() - started)
                        added += 1
                    print(median(seconds), flush=True)
                case _:
                    return


if __name__ == "__main__":
    main(int(sys.argv[1]))
