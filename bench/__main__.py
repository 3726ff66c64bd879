"""The command line: ``python -m bench [--quick] [--only WORK...]``, run from the checkout."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import bars, machine, report
from bench.results import load
from bench.run import Bench
from bench.works import (
    completing,
    confirming,
    endurance,
    feeds,
    first_apply,
    fleet,
    from_log,
    listeners,
    lists,
    neighbours,
    offender,
    packets,
    passes,
    profiling,
    reflexes,
    resident,
    routes,
    scanning,
    size,
    sockets,
    sources,
    startup,
    telling,
)
from reconciler.errors import TreasonError
from reconciler.execute import search_path

ROOT: Final = Path(__file__).parent
SCRATCH: Final = ROOT.parent / ".cache" / "bench"
_ROOT_OF_ALL: Final = Path("/proc/self/uid_map").read_text().split()[2] != "1"
"""Whether this is no user namespace that holds one user alone, as `unshare -Ur` makes."""
WORKS: Final[dict[str, Callable[[Bench], None]]] = {
    "start-up": startup.measure,
    "completing": completing.measure,
    "scan": scanning.measure,
    "sources": sources.measure,
    "sockets": sockets.measure,
    "telling": telling.measure,
    "confirming": confirming.measure,
    "first-apply": first_apply.measure,
    "passes": passes.measure,
    "resident": resident.measure,
    "neighbours": neighbours.measure,
    "reflexes": reflexes.measure,
    "offender": offender.measure,
    "endurance": endurance.measure,
    "listeners": listeners.measure,
    "routes": routes.measure,
    "lists": lists.measure,
    "feeds": feeds.measure,
    "fleet": fleet.measure,
    "from-log": from_log.measure,
    "size": size.measure,
    "packets": packets.measure,
    "profile": profiling.measure,
}
QUICK: Final = (
    *("start-up", "scan", "first-apply", "passes", "neighbours", "routes", "lists", "size"),
    *("sockets", "reflexes", "resident", "offender", "endurance", "listeners", "confirming"),
    "feeds",
    "fleet",
    "telling",
    "completing",
)


def main() -> int:
    """Measure; write the results, or of a quick run tell only which guards are broken."""
    arguments = _arguments()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=SCRATCH) as directory:
        lock = Path(directory) / "xtables.lock"
        lock.touch()
        os.environ["PATH"] = search_path()
        os.environ["XTABLES_LOCKFILE"] = str(lock)  # that of the machine is not ours to hold
        bench = Bench(Path(directory), arguments.quick)
        bench.results.machine = machine.describe()
        _measure(bench, arguments.only or (QUICK if arguments.quick else tuple(WORKS)))
    if arguments.quick:
        lines, code = bars.verdict(bench.results, complete=_ROOT_OF_ALL)
        print("\n".join(lines))
        return code
    if not arguments.only:
        report.write(bench.results, ROOT)
    return 0


def _measure(bench: Bench, works: Sequence[str]) -> None:
    """Do these works, and write after each what was measured so far, which an end would lose."""
    known = load(ROOT / "results.json").took
    bench.tell(f"{len(works)} works: {', '.join(_planned(name, known) for name in works)}")
    if not bench.quick:
        bench.tell(f"written after each of them to {SCRATCH}")
    for name in works:
        begun = time.monotonic()
        try:
            WORKS[name](bench)
        except (TreasonError, OSError) as error:  # the others are worth their time
            bench.note(f"{name}: {error}")
        bench.results.took[name] = round(time.monotonic() - begun, 1)
        if not bench.quick:
            report.write(bench.results, SCRATCH)


def _planned(name: str, known: Mapping[str, float]) -> str:
    return f"{name} (took {known[name]:.0f} s last time)" if name in known else name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only what the guards need")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=WORKS,
        metavar="WORK",
        help=f"some of {', '.join(WORKS)}; the results go to {SCRATCH.relative_to(ROOT.parent)}",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
