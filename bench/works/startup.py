"""Start-up: the least that a command takes, beside the bare interpreter."""

from functools import partial

from bench.measure import PYTHON
from bench.run import Bench, Subject
from bench.station import Station

WORK = "start-up"
FLOOR = "python3 -c pass"
COMMANDS = {
    "treason --version": ("--version",),
    "treason --help": ("--help",),
    "treason reconcile --check": ("reconcile", "--check", "--no-scan"),
}


def measure(bench: Bench) -> None:
    """Use the same interpreter for all; the check finds ten bans in force."""
    with Station(bench.directory, "nftables", bench.database(10)) as station:
        station.treason("reconcile", "--no-scan")
        subjects = [Subject(FLOOR, 10, partial(station.measure, [PYTHON, "-c", "pass"]))]
        for name, command in COMMANDS.items():
            subjects.append(Subject(name, 10, partial(station.treason, *command), (FLOOR, 10)))
        bench.compare(WORK, subjects, rounds=11 if bench.quick else 41)
