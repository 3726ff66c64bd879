"""Passes over what is enforced already: unchanged, ``--check``, ``--full``, and ten more bans.

The stations of all sizes stand at the same time and take turns, so that sizes can be compared.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from attrs import define, field

from bench.inputs import more, store_bans
from bench.measure import Failed, Sample
from bench.run import Bench, Subject
from bench.station import BACKENDS, Station
from bench.tools import TOOLS, Tool
from reconciler.errors import TreasonError

COMMANDS = {
    "unchanged": ("reconcile", "--no-scan"),
    "check": ("reconcile", "--no-scan", "--check"),
    "full": ("reconcile", "--no-scan", "--check", "--full"),
}
TEN = "ten more"
ONE = "one more rule"
_QUICK = {
    "nftables": ("unchanged, nftables", "full, nftables", "ten more, nftables"),
    "iptables-nft": (ONE,),
}


@define
class _Stage:
    """What stands: stations of treason and of its tool, by size; and how many bans were added."""

    bench: Bench
    backend: str
    stack: ExitStack
    tool: Tool
    treason: dict[int, Station] = field(factory=dict)
    others: dict[int, Station] = field(factory=dict)
    added: int = 0

    def build(self, sizes: Sequence[int]) -> None:
        """Apply the bans of every size, once with treason and once with the tool."""
        directory = self.bench.directory
        for size in sizes:
            self.bench.tell(f"passes, {self.backend}: applying {size:,}")
            own = Station(directory, self.backend, self.bench.database(size))
            self.treason[size] = self.stack.enter_context(own)
            own.treason("reconcile", "--no-scan")
            if self.tool.read:
                other = self.stack.enter_context(Station(directory))
                other.run(self.tool.load(directory, size))
                self.others[size] = other
            self.bench.settle(size)

    def fresh(self, count: int) -> list[str]:
        """Return addresses that nobody was given before."""
        self.added += count
        return more(self.added - count, count)

    def add_with_treason(self, size: int, count: int) -> Sample:
        """Store bans, and measure the pass that brings them into force."""
        station = self.treason[size]
        store_bans(station.database, self.fresh(count))
        return station.treason("reconcile", "--no-scan")

    def add_with_tool(self, size: int, count: int) -> Sample:
        """Measure the tool that adds as many."""
        station = self.others[size]
        script = station.path / "more"
        script.write_text(self.tool.more(self.fresh(count)))
        return station.measure([*self.tool.argv, str(script)])

    def read_with_tool(self, size: int) -> Sample:
        """Measure the tool that lists all."""
        return self.others[size].measure(self.tool.read)


def measure(bench: Bench) -> None:
    """Every backend, at all sizes that its first apply has."""
    for backend in _QUICK if bench.quick else BACKENDS:
        try:
            _measure(bench, backend)
        except TreasonError as error:
            bench.note(f"passes, {backend}: {error}")


def _measure(bench: Bench, backend: str) -> None:
    sizes = _sizes(bench, backend)
    with ExitStack() as stack:
        stage = _Stage(bench, backend, stack, TOOLS[backend][0])
        stage.build(sizes)
        for work, subjects in _works(stage).items():
            if not bench.quick or work in _QUICK[backend]:
                bench.compare(work, list(subjects))
    bench.settle(max(sizes))


def _sizes(bench: Bench, backend: str) -> list[int]:
    if backend.startswith("iptables"):
        return [10_000] if bench.quick else [10, 1_000, 10_000]
    return bench.sizes(10, 1_000, 10_000, 100_000, 1_000_000)


def _works(stage: _Stage) -> dict[str, Iterator[Subject]]:
    works = {
        f"{work}, {stage.backend}": _reads(stage, work, command)
        for work, command in COMMANDS.items()
    }
    works[f"{TEN}, {stage.backend}"] = _ten(stage)
    if stage.backend == "iptables-nft":
        works[ONE] = _one(stage)
    return works


def _reads(stage: _Stage, work: str, command: Sequence[str]) -> Iterator[Subject]:
    """Compare a full read with the tool that lists all, other passes with that of few bans."""
    few = min(stage.treason)
    for size, station in stage.treason.items():
        against: tuple[str, int] | None = ("treason", few) if size != few else None
        if work == "full" and stage.others:
            against = (stage.tool.reader, size)
            yield Subject(stage.tool.reader, size, partial(stage.read_with_tool, size))
        yield Subject("treason", size, partial(station.treason, *command), against)


def _ten(stage: _Stage) -> Iterator[Subject]:
    few = min(stage.treason)
    for size in stage.others:
        yield Subject(stage.tool.name, size, partial(stage.add_with_tool, size, 10))
    for size in stage.treason:
        against = ("treason", few) if size != few else None
        yield Subject("treason", size, partial(stage.add_with_treason, size, 10), against)


def _one(stage: _Stage) -> Iterator[Subject]:
    """Add one ban on top; ``kept`` is the share of rules that the kernel kept as they were."""
    size = max(stage.treason)

    def turn() -> Sample:
        before = _handles(stage.treason[size])
        sample = stage.add_with_treason(size, 1)
        return {**sample, "kept": len(before & _handles(stage.treason[size])) / len(before)}

    yield Subject("treason", size, turn)


def _handles(station: Station) -> set[str]:
    """Return the rules' handles; a rule that is replaced by an equal one gets another."""
    listing = station.run(["nft", "-a", "list", "chain", "ip", "filter", "TREASON"])
    found = set(re.findall(r"ip saddr .* # handle (\d+)", listing))
    if not found:
        raise Failed("the chain TREASON has no rules")
    return found
