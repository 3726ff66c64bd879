"""Log scanning: a kernel's log of which one line in a hundred is about a peer."""

from functools import partial
from pathlib import Path

from bench.logs import kernel_log
from bench.measure import Sample
from bench.run import Bench, Subject
from bench.station import Station

WORK = "scan"
LINES = 1_000_000
GREP = "grep -oP"
IMPORT = "grep -oP, sqlite3 .import"
_SCRIPT = Path(__file__).parents[1] / "peers" / "import.sh"
_PATTERN = r"Treason uncloaked! Peer \K[0-9.]+"


def measure(bench: Bench) -> None:
    """To bans in an empty database, beside a search for addresses, and one that stores them."""
    log = bench.directory / "kern.log"
    bench.tell(f"writing a log of {LINES:,} lines")
    kernel_log(log, LINES)
    subjects = [
        Subject(GREP, LINES, partial(_grep, bench, log, "C.UTF-8")),
        Subject(f"LC_ALL=C {GREP}", LINES, partial(_grep, bench, log, "C")),
        Subject(IMPORT, LINES, partial(_import, bench, log)),
        Subject("treason scan", LINES, partial(_treason, bench, log), (IMPORT, LINES)),
    ]
    bench.compare(WORK, subjects, rounds=3 if bench.quick else 11)
    log.unlink()


def _grep(bench: Bench, log: Path, locale: str) -> Sample:
    argv = ["env", f"LC_ALL={locale}", "grep", "-oP", _PATTERN, str(log)]
    with Station(bench.directory) as station:
        # Where its output is /dev/null, GNU grep stops at the first match.
        return station.measure(argv, output=station.path / "found")


def _import(bench: Bench, log: Path) -> Sample:
    with Station(bench.directory) as station:
        argv = ["sh", str(_SCRIPT), _PATTERN, str(log), str(station.path / "found.db")]
        return station.measure(argv, codes=(0, 1, 19))  # 19: SQLITE_CONSTRAINT


def _treason(bench: Bench, log: Path) -> Sample:
    with Station(bench.directory) as station:
        return station.treason("scan", "--source", f"file:{log}")
