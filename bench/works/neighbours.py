"""One ban more while others use the machine's firewall: their many rules, and their commits.

And how long our own structure takes to read, beside the least that ``nft`` takes to list all.
"""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from backends.nftables import layout, structure
from bench.inputs import more, store_bans
from bench.measure import PYTHON, Failed, Sample
from bench.run import Bench, Subject
from bench.station import Station
from reconciler.netlink import Connection

ONE: Final = "one ban beside others"
ALONE: Final = "treason, alone"
QUIET: Final = "treason, beside 20,000 rules"
BUSY: Final = "treason, beside a commit every 0.3 s"
STRUCTURE: Final = "reading the structure"
LISTING: Final = "nft -t list ruleset"
_SHARDED: Final = 150_000
"""Bans that are spread over 16 sets."""

_RULES: Final = 20_000
_PERIOD: Final = 0.3
_COMMITS: Final = f"""
import subprocess, time
for turn in range(1000):
    subprocess.run(["nft", "add rule ip other c counter accept"], check=True)
    time.sleep({_PERIOD})
"""


def measure(bench: Bench) -> None:
    """Each station stands by itself, and they take turns."""
    one_ban(bench)
    reading(bench)


def one_ban(bench: Bench) -> None:
    """Store a ban and bring it into force, as often as not in the middle of a commit."""
    with (
        Station(bench.directory) as alone,
        Station(bench.directory) as quiet,
        Station(bench.directory) as busy,
    ):
        rules = "".join(
            f"add rule ip6 many c ip6 daddr 2001:db8::{place:x} tcp dport {1 + place} accept\n"
            for place in range(_RULES)
        )
        script = quiet.path / "rules"
        script.write_text(f"add table ip6 many\nadd chain ip6 many c\n{rules}")
        quiet.run(["nft", "-f", str(script)])
        stations = {ALONE: alone, QUIET: quiet, BUSY: busy}
        for station in stations.values():
            station.treason("reconcile", "--no-scan")
        fresh = iter(more(0, 1000))
        with _committing(busy):
            bench.compare(
                ONE,
                [
                    Subject(
                        name, 1, partial(_ban, station, fresh),
                        (ALONE, 1) if name != ALONE else None,
                    )
                    for name, station in stations.items()
                ],
                rounds=7 if bench.quick else 31,
            )  # fmt: skip


def reading(bench: Bench) -> None:
    """Read tables, chains, rules and set headers, decoded; nft lists the same, of all tables."""
    with Station(bench.directory, database=bench.database(_SHARDED)) as station:
        station.treason("reconcile", "--no-scan")
        bench.compare(
            STRUCTURE,
            [
                Subject(
                    LISTING, _SHARDED, partial(station.measure, ["nft", "-t", "list", "ruleset"])
                ),
                Subject("treason", _SHARDED, partial(_read, station), (LISTING, _SHARDED)),
            ],
            rounds=7 if bench.quick else 31,
        )


def _ban(station: Station, fresh: Iterator[str]) -> Sample:
    store_bans(station.database, [next(fresh)])
    time.sleep(random.uniform(0, _PERIOD))  # noqa: S311 - so that commits come at any moment
    return station.treason("reconcile", "--no-scan")


def _read(station: Station) -> Sample:
    with station.entered():
        connection = Connection()
        started, cpu = time.perf_counter(), time.process_time()
        found = structure.read(connection, layout.CHAIN)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    if found is None or len(found.chains) <= layout.SHARDS:
        raise Failed("the table has no shards")
    return {"wall": wall, "cpu": cpu}


@contextmanager
def _committing(station: Station) -> Iterator[None]:
    """Let another program add a rule to a table of its own, again and again."""
    station.run(["nft", "add table ip other; add chain ip other c"])
    with station.entered():
        process = subprocess.Popen([PYTHON, "-c", _COMMITS])
    try:
        yield
        if process.poll() is not None:
            raise Failed("the other program ended before its time")
    finally:
        process.kill()
        process.wait()
