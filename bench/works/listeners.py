"""What a daemon costs others who load sets of their own, and what it costs when others fight it.

A load goes into a table of somebody else's: by ``nft -f``, and by the same messages without nft.
The kernel makes an event of each element as soon as anybody listens in any network namespace, so
nobody else may listen on the machine meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve

from backends.nftables import layout, structure
from backends.nftables.ruleset import NAME
from backends.nftables.statements import DELETE_ELEMENT, Hosts, Set, message
from bench.inputs import addresses, hosts
from bench.life import life
from bench.measure import TREASON, Failed, Sample
from bench.run import Bench, Subject
from bench.station import Station
from bench.works.resident import Daemon
from reconciler.execute import run
from reconciler.netlink import NFTABLES_EVENTS, Connection, text

LOAD: Final = "bulk load beside a daemon"
PLAIN: Final = "plain netlink load beside a daemon"
NONE, LISTENING, ASKING = "no daemon", "listening", "events = false"
FIGHT: Final = "a fight for ten seconds"
_SIZE: Final = 100_000
_FLUSHES, _PERIOD = 1_000, 0.01
_PATIENCE: Final = 30.0
_GROUP: Final = 1 << NFTABLES_EVENTS - 1


def measure(bench: Bench) -> None:
    """Load beside each kind of daemon in turn; then fight, with few bans and with many.

    A quick run only fights, with few.
    """
    if not bench.quick:
        loads(bench)
    fights(bench)


def loads(bench: Bench) -> None:
    """Load 100,000 elements where there is no daemon, one that listens, and one that asks."""
    for work, load in (LOAD, _load), (PLAIN, _plain):
        bench.compare(
            work,
            [
                Subject(name, _SIZE, partial(_beside_it, load, beside), (NONE, _SIZE))
                for name, beside in {
                    NONE: partial(_alone, bench),
                    LISTENING: partial(_station, bench, events=True),
                    ASKING: partial(_station, bench, events=False),
                }.items()
            ],
            rounds=31,
            seconds=300,
        )


def fights(bench: Bench) -> None:
    """Let somebody flush our set 100 times a second."""
    for size in (100,) if bench.quick else (100, 10_000):
        with _beside(bench, size) as daemon:
            turn = partial(_fight, daemon, size)
            bench.compare(FIGHT, [Subject("treason", size, turn)], rounds=1 if bench.quick else 3)


@contextmanager
def _alone(bench: Bench) -> Iterator[Station]:
    """Have the same table in force, and no daemon."""
    with Station(bench.directory, "nftables", bench.database(10)) as station:
        station.treason("reconcile", "--no-scan")
        _script(station)
        yield station


@contextmanager
def _station(bench: Bench, *, events: bool) -> Iterator[Station]:
    with _beside(bench, 10, events=events) as daemon:
        yield daemon.station


@contextmanager
def _beside(bench: Bench, size: int, *, events: bool = True) -> Iterator[Daemon]:
    """Run a daemon, beside which the bench itself listens to nothing."""
    with Station(bench.directory, "nftables", bench.database(size)) as station:
        station.treason("reconcile", "--no-scan")
        _script(station)
        daemon = Daemon(station, f"file:{station.path}/kern.log")
        if not events:
            told = station.config.read_text().replace("[run]\n", "[run]\nevents = false\n")
            station.config.write_text(told)
        with daemon:
            daemon.events.close()
            yield daemon


def _script(station: Station) -> None:
    elements = ",\n".join(addresses(_SIZE))
    lines = "add table inet foreign\nadd set inet foreign many { type ipv4_addr; }\n"
    _path(station).write_text(f"{lines}add element inet foreign many {{ {elements} }}\n")


def _path(station: Station) -> Path:
    return station.path / "foreign.nft"


def _beside_it(
    load: Callable[[Station], Sample], beside: Callable[[], AbstractContextManager[Station]]
) -> Sample:
    """Load where nobody listens but, perhaps, the daemon."""
    end = time.monotonic() + _PATIENCE
    while listeners():
        if time.monotonic() > end:
            raise Failed("somebody else on this machine listens to nf_tables")
        time.sleep(0.01)
    with beside() as station:
        return load(station)


def listeners() -> int:
    """Return how many sockets listen to nf_tables, in all namespaces that have processes."""
    found, seen = 0, set[str]()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            namespace = str(process.joinpath("ns/net").readlink())
            if namespace not in seen:
                seen.add(namespace)
                lines = process.joinpath("net/netlink").read_text().splitlines()[1:]
                words = [line.split() for line in lines]
                found += sum(each[1] == "12" and bool(int(each[3], 16) & _GROUP) for each in words)
    return found


def _load(station: Station) -> Sample:
    sample = station.measure(["nft", "-f", str(_path(station))])
    _forget(station)
    return sample


def _plain(station: Station) -> Sample:
    station.run(["nft", "add table inet foreign; add set inet foreign banned4 {type ipv4_addr;}"])
    with station.entered():
        somebody = Connection()
    load = Hosts(Set("banned4", 4, interval=False), hosts(_SIZE).hosts(4)).messages()
    ours, theirs = text(1, NAME), text(1, "foreign")
    messages = [evolve(each, body=each.body.replace(ours, theirs, 1)) for each in load]
    started, cpu = time.perf_counter(), time.process_time()
    somebody.commit(messages)
    sample = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    _forget(station)
    return sample


def _forget(station: Station) -> None:
    station.run(["nft", "delete table inet foreign"])
    time.sleep(0.2)  # the kernel frees the elements


def _fight(daemon: Daemon, size: int) -> Sample:
    """Flush for ten seconds; measure the daemon's share of a core, and when all is restored."""
    with daemon.station.entered():
        somebody = Connection()
    flush = [message(DELETE_ELEMENT, text(2, "banned4"))]
    begun, cpu = time.perf_counter(), life(daemon.process.pid).cpu
    for turn in range(_FLUSHES):
        somebody.commit(flush)
        time.sleep(max(0.0, begun + (turn + 1) * _PERIOD - time.perf_counter()))
    ended = time.perf_counter()
    share = (life(daemon.process.pid).cpu - cpu) / (ended - begun)
    while _held(somebody) < size:
        if time.perf_counter() > ended + _PATIENCE:
            raise Failed("what was flushed is not restored")
        time.sleep(0.002)
    restored = time.perf_counter() - ended
    return {"wall": restored, "cpu": share, "named": _is_named(daemon)}


def _is_named(daemon: Daemon) -> bool:
    """Return whether `status` tells that somebody undoes what is repaired."""
    with daemon.station.entered():
        asked = [TREASON, "--config", str(daemon.station.config), "status"]
        said = run(asked, codes=range(256)).output
    return "again and again" in said


def _held(connection: Connection) -> int:
    found = structure.read(connection, layout.CHAIN)
    return found.sets["banned4"].count or 0 if found else 0
