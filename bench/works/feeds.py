"""Feeds: a long list beside an unchanged pass, a little of it changed, and all of it to the kernel.

What ``feed run`` costs belongs to the way from a list to the kernel; a pass that finds the feed's
own file changed is measured by itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from attrs import define

from bench.inputs import addresses, more
from bench.measure import Sample
from bench.run import Bench, Subject
from bench.station import Station
from bench.tools import TOOLS

UNCHANGED: Final = "unchanged beside a list"
CHANGED: Final = "100 of a list changed"
WHOLE: Final = "from a list to the kernel"
ALONE: Final = "treason, bans of its own"

_FEED: Final = """
[feed.long]
type = "list"
path = "{path}/list.txt"
store = "{path}/feed/feed.db"
"""
_SOME: Final = 100


@define
class _Listing:
    """A station with a feed, and what its list says."""

    station: Station
    entries: list[str]
    changed: int = 0

    @property
    def path(self) -> Path:
        """The list."""
        return self.station.path / "list.txt"

    def write(self) -> None:
        """Let the list say it."""
        self.path.write_text("\n".join(self.entries) + "\n")

    def change(self, count: int) -> None:
        """Let as many entries be others, which nobody had before."""
        self.entries[:count] = []
        self.entries += more(self.changed, count)
        self.changed += count
        self.write()

    def refresh(self) -> Sample:
        """Let the feed's process take what the list says."""
        return self.station.treason("feed", "run", "long")

    def reconcile(self) -> Sample:
        """Make a pass, which takes what the process wrote."""
        return self.station.treason("reconcile", "--no-scan")


@contextmanager
def _listing(bench: Bench, size: int) -> Iterator[_Listing]:
    with Station(bench.directory) as station:
        with station.config.open("a") as config:
            config.write(_FEED.format(path=station.path))
        made = _Listing(station, list(addresses(size)))
        made.write()
        yield made
    bench.settle(size)


def measure(bench: Bench) -> None:
    """Each beside what it is compared to."""
    size = bench.sizes(100_000)[-1]
    with (
        _listing(bench, size) as listing,
        Station(bench.directory, database=bench.database(size)) as own,
    ):
        bench.tell(f"feeds: applying {size:,}, twice")
        listing.refresh()
        listing.reconcile()
        own.treason("reconcile", "--no-scan")
        bench.settle(size)
        alone = Subject(ALONE, size, partial(own.treason, "reconcile", "--no-scan"))
        beside = Subject("treason", size, listing.reconcile, (ALONE, size))
        bench.compare(UNCHANGED, [alone, beside])
        bench.compare(CHANGED, [Subject("treason", size, partial(_changed, listing))])
    for each in (100_000,) if bench.quick else (100_000, 1_000_000):
        _whole(bench, each)


def _whole(bench: Bench, size: int) -> None:
    tool = TOOLS["nftables"][0]
    subjects = [
        Subject(tool.name, size, partial(_tool, bench, tool.load(bench.directory, size), size)),
        Subject("treason", size, partial(_from_list, bench, size), (tool.name, size)),
    ]
    bench.compare(WHOLE, subjects)


def _changed(listing: _Listing) -> Sample:
    """Let a little of the list change, and measure the pass that brings it into force."""
    listing.change(_SOME)
    listing.refresh()
    return listing.reconcile()


def _from_list(bench: Bench, size: int) -> Sample:
    with _listing(bench, size) as listing:
        return _together([listing.refresh(), listing.reconcile()])


def _tool(bench: Bench, argv: Sequence[str], size: int) -> Sample:
    with Station(bench.directory) as station:
        sample = station.measure(argv)
    bench.settle(size)
    return sample


def _together(samples: Sequence[Sample]) -> Sample:
    """Return what processes cost that run one after another."""
    return {
        "wall": sum(each["wall"] for each in samples),
        "cpu": sum(each["cpu"] for each in samples),
        "memory": max(each["memory"] for each in samples),
    }
