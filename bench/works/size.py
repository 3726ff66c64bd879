"""The database's size, once the bans have ended and their history is over."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from bench.measure import Sample
from bench.run import Bench, Subject
from bench.station import Station

WORK = "came and went"
BANS = 60_000
_YEARS = 5 * 366 * 86_400
"""Seconds; longer than anything is kept."""

_PASTS = (
    "UPDATE bans SET since = since - :years, until = since + 3600 - :years",
    "UPDATE history SET time = time - :years",
    "UPDATE closings SET since = since - :years",
)
_PASSES = 3


def measure(bench: Bench) -> None:
    """Of one that holds bans enforced by a list; ``size`` is the share that is left in the end."""
    bench.compare(WORK, [Subject("treason", BANS, partial(_turn, bench))], rounds=3)


def _turn(bench: Bench) -> Sample:
    """Let the bans come and go; the passes after that, one a day, are what is measured."""
    with Station(bench.directory, "file", bench.database(BANS)) as station:
        station.treason("reconcile", "--no-scan")
        _store(station.database, *_PASTS)
        greatest = station.database.stat().st_size
        samples = []
        for _ in range(_PASSES):
            _store(station.database, "DELETE FROM prunings")
            samples.append(station.treason("reconcile", "--no-scan", "--force"))
            greatest = max(greatest, station.database.stat().st_size)
        left = station.database.stat().st_size
        slowest = max(samples, key=lambda sample: sample["wall"])
        return {**slowest, "size": left / greatest}


def _store(database: Path, *statements: str) -> None:
    """Let all that is stored be of long ago, and the bans have ended; or let a day go by."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement, {"years": _YEARS})
