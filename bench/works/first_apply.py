"""First apply: from the database, or from a script of the same addresses, to an empty firewall."""

from functools import partial

from bench.measure import Sample
from bench.run import Bench, Subject
from bench.station import BACKENDS, Station
from bench.tools import TOOLS, Tool

WORK = "first apply"
_LINEAR = 10_000
"""Beyond this, chains with a rule for each address make no sense."""
_QUICK = {"nftables": (100_000,), "ipset": (100_000,), "iptables-nft": (10_000,)}


def measure(bench: Bench) -> None:
    """Each backend beside its tool, in a new namespace each time."""
    for backend in BACKENDS:
        tools = TOOLS[backend][:1] if bench.quick else TOOLS[backend]
        for size in _sizes(bench, backend):
            subjects = [Subject(t.name, size, partial(_tool, bench, t, size)) for t in tools]
            turn = partial(_treason, bench, backend, size)
            subjects.append(Subject("treason", size, turn, (tools[0].name, size)))
            bench.compare(f"{WORK}, {backend}", subjects)


def _sizes(bench: Bench, backend: str) -> tuple[int, ...]:
    if bench.quick:
        return _QUICK.get(backend, ())
    if backend.startswith("iptables"):
        return (10, 1_000, _LINEAR)
    return (10, 1_000, 10_000, 100_000, 1_000_000)


def _treason(bench: Bench, backend: str, size: int) -> Sample:
    with Station(bench.directory, backend, bench.database(size)) as station:
        sample = station.treason("reconcile", "--no-scan")
    bench.settle(size)
    return sample


def _tool(bench: Bench, tool: Tool, size: int) -> Sample:
    with Station(bench.directory) as station:
        sample = station.measure(tool.load(bench.directory, size))
    bench.settle(size)
    return sample
