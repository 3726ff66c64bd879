"""The command line: ``python -m bench [--quick] [--only WORK...]``, run from the checkout."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench import bars, machine, report
from bench.run import Bench
from bench.works import (
    confirming,
    first_apply,
    from_log,
    listeners,
    lists,
    neighbours,
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
)
from reconciler.errors import TreasonError
from reconciler.execute import search_path

ROOT: Final = Path(__file__).parent
SCRATCH: Final = ROOT.parent / ".cache" / "bench"
_ROOT_OF_ALL: Final = Path("/proc/self/uid_map").read_text().split()[2] != "1"
"""Whether this is no user namespace that holds one user alone, as `unshare -Ur` makes."""
WORKS: Final[dict[str, Callable[[Bench], None]]] = {
    "start-up": startup.measure,
    "scan": scanning.measure,
    "sources": sources.measure,
    "sockets": sockets.measure,
    "confirming": confirming.measure,
    "first-apply": first_apply.measure,
    "passes": passes.measure,
    "resident": resident.measure,
    "neighbours": neighbours.measure,
    "reflexes": reflexes.measure,
    "listeners": listeners.measure,
    "routes": routes.measure,
    "lists": lists.measure,
    "from-log": from_log.measure,
    "size": size.measure,
    "packets": packets.measure,
    "profile": profiling.measure,
}
QUICK: Final = (
    *("start-up", "scan", "first-apply", "passes", "neighbours", "routes", "lists", "size"),
    *("sockets", "reflexes", "resident", "confirming"),
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
        for name in arguments.only or (QUICK if arguments.quick else WORKS):
            try:
                WORKS[name](bench)
            except TreasonError as error:  # the others are worth their time
                bench.note(f"{name}: {error}")
    if arguments.quick:
        lines, code = bars.verdict(bench.results, complete=_ROOT_OF_ALL)
        print("\n".join(lines))
        return code
    report.write(bench.results, SCRATCH if arguments.only else ROOT)
    return 0


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
