"""Confirming many messages of the kernel at once, beside many sockets."""

import time
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.inputs import addresses
from bench.measure import Failed, Sample
from bench.run import Bench, Subject
from bench.works.sockets import held
from reconciler import Connection, Network, execute
from reconciler.detection.detect import RULES
from reconciler.detection.policy import Policy
from reconciler.host.deadline import Run
from reconciler.host.netns import Namespace
from reconciler.model import Offence
from reconciler.netlink import Sockets
from reconciler.passes.confirming import Confirming
from reconciler.passes.reading import Tally
from reconciler.store.store import open_store
from sources.sockets.source import SocketsSource

WORK: Final = "confirming messages"
MESSAGES: Final = 1_000
TREASON: Final = "treason"
_SOCKETS: Final = 10_000
_RULE: Final = "unexpectedly-shrunk"


def measure(bench: Bench) -> None:
    """Confirm messages of which one half is of strangers, the other of who is connected."""
    namespace = Namespace()
    with namespace.entered():
        execute.run(["ip", "link", "set", "lo", "up"])
        with held(_SOCKETS):
            there = [*islice(Sockets().dump(), MESSAGES // 2)]
            connected = [Connection(one.peer, one.peer_port, one.local_port) for one in there]
            names = addresses(MESSAGES // 2)
            strangers = [Connection(Network.parse(each), 1, 2) for each in names]
            turn = partial(_confirm, bench.directory, [*connected, *strangers])
            bench.compare(WORK, [Subject(TREASON, MESSAGES, turn)])
    namespace.close()


def _confirm(directory: Path, connections: Iterable[Connection]) -> Sample:
    """Hold the messages against the sockets and an empty database, and store what became of them.

    The commit is not measured: a pass makes one for all that it stores.
    """
    now = int(time.time())
    messages = [
        Offence(
            address=each.peer,
            rule=_RULE,
            evidence=f"{each}",
            trusted=True,
            peer_port=each.peer_port,
            local_port=each.local_port,
            time=now,
            micros=number,
        )
        for number, each in enumerate(connections)
    ]
    tally = Tally()
    with (
        TemporaryDirectory(dir=directory) as place,
        open_store(Path(place) / "treason.db", write=True) as store,
        store.transaction(),
    ):
        confirming = Confirming(
            store=store, policy=Policy(), rules=RULES, now=now, live=["kmsg"],
            make_witness=SocketsSource,
        )  # fmt: skip
        started, cpu = time.perf_counter(), time.process_time()
        believed = confirming.sift("kmsg", messages, tally, Run(), first=True)
        sample = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    if believed or (tally.waiting, tally.unconfirmed) != (MESSAGES // 2, MESSAGES // 2):
        raise Failed("the messages were not told apart")
    return sample
