"""Where the time goes: three works under Python's own profiler, once each."""

import pstats
from collections import defaultdict
from pathlib import Path
from typing import Final

from bench.logs import kernel_log
from bench.measure import PYTHON
from bench.run import Bench
from bench.station import Station
from bench.works.scanning import LINES

_SIZES: Final = {"nftables": 1_000_000, "iptables-nft": 10_000}
_TOLD: Final = 8
_PARTS: Final = {
    "sendmsg' of '_socket.socket": "the kernel takes the transaction",
    "fetchmany": "rows come from SQLite",
    "executemany": "rows go to SQLite",
    "poll' of 'select.poll": "a program is waited for",
    "spread": "addresses are told apart by four of their bits",
    "_laid_out": "elements are laid out for netlink",
    "marshal.loads": "modules are loaded",
    "builtins.compile": "modules are compiled",
    "read' of '_io.BufferedReader": "files are read",
}


def measure(bench: Bench) -> None:
    """Keep the functions that took most by themselves."""
    for backend, size in _SIZES.items():
        with Station(bench.directory, backend, bench.database(size)) as station:
            name = f"first apply, {backend}, {size:,}"
            _profile(bench, station, name, ["reconcile", "--no-scan"])
    log = bench.directory / "kern.log"
    kernel_log(log, LINES)
    with Station(bench.directory) as station:
        _profile(bench, station, f"scan, {LINES:,} lines", ["scan", "--source", f"file:{log}"])
    log.unlink()


def _profile(bench: Bench, station: Station, name: str, arguments: list[str]) -> None:
    bench.tell(f"profile: {name}")
    path = station.path / "profile"
    station.run(
        [PYTHON, "-m", "cProfile", "-o", str(path), "-m", "reconciler",
         "--config", str(station.config), *arguments]
    )  # fmt: skip
    bench.results.profiles[name] = _shares(path)


def _shares(path: Path) -> dict[str, float]:
    """Return the seconds of each function that took most, and of all others together."""
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]  # typeshed does not name it
    seconds: defaultdict[str, float] = defaultdict(float)
    for (file, _, function), (_, _, own, _, _) in stats.items():
        name = f"{Path(file).name}: {function}" if file != "~" else function.strip("<>")
        part = next((what for word, what in _PARTS.items() if word in name), "")
        seconds[f"{part} (`{name}`)" if part else f"`{name}`"] += own
    greatest = sorted(seconds, key=lambda name: -seconds[name])
    told = {name: seconds[name] for name in greatest[:_TOLD]}
    return told | {"all other functions": sum(seconds[name] for name in greatest[_TOLD:])}
