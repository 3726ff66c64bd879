"""The least that it takes: ``python -m bench.floor LOG`` waits for a file, and drops whom it names.

Nothing is judged, nothing stored, nothing looked at again: a line's address goes into the table's
set. It tells on standard output that it is ready, and ends with its input.
"""

import os
import re
import select
import sys
from pathlib import Path
from typing import Final

from backends.nftables import layout
from backends.nftables import statements as nft
from backends.nftables.backend import Nftables
from reconciler.inotify import Watch
from reconciler.model import Change, Desired, Plan
from reconciler.netlink import Connection
from reconciler.network import Network
from reconciler.networks import Networks

_PEER: Final = re.compile(rb"Treason uncloaked! Peer ([0-9.]+):")


def main(path: str) -> None:
    """Make the table, then wait for lines."""
    backend, nothing = Nftables(), Desired(Networks())
    backend.apply(Plan(Change(), Change(), backend.observe().damage, nothing))
    hashed = layout.shape_for(nothing).hosts(4)[0]
    kernel, watch = Connection(), Watch(path)
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    poll.register(sys.stdin.fileno(), select.POLLIN)
    with Path(path).open("rb", buffering=0) as log:
        watch.also(log.fileno())
        watch.take()
        print("ready", flush=True)
        while sys.stdin.fileno() not in {descriptor for descriptor, _ in poll.poll()}:
            watch.take()
            peers = _PEER.findall(os.read(log.fileno(), 1 << 20))
            if peers:
                packed = Networks.of(Network.parse(each.decode()) for each in peers).hosts(4)
                kernel.commit([*nft.Hosts(hashed, packed).messages()])


if __name__ == "__main__":
    main(sys.argv[1])
