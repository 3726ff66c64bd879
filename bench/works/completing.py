"""The values that shells complete: what a press of a key takes, beside the least of a command."""

from functools import partial

from bench.run import Bench, Subject
from bench.station import Station

WORK = "completing"
FLOOR = "treason --version"
BANS = 100_000


def measure(bench: Bench) -> None:
    """Ask for the bans that begin with a digit: more than are told of so many."""
    with Station(bench.directory, "nftables", bench.database(BANS)) as station:
        asked = partial(station.treason, "complete", "bans", "1")
        subjects = [
            Subject(FLOOR, BANS, partial(station.treason, "--version")),
            Subject("treason complete", BANS, asked, (FLOOR, BANS)),
        ]
        bench.compare(WORK, subjects, rounds=11 if bench.quick else 41)
