"""Where the time goes: the first apply of the greatest set, under Python's own profiler."""

import pstats
from collections import defaultdict
from pathlib import Path
from typing import Final

from bench.measure import PYTHON
from bench.run import Bench
from bench.station import Station

SIZE: Final = 1_000_000
_TOLD: Final = 8
_PARTS: Final = (
    ("send' of '_socket.socket", "the kernel takes the transaction"),
    ("fetchmany", "rows come from SQLite"),
    ("'join' of 'bytes'", "bytes are put together"),
    ("spread", "addresses are told apart by their last bits"),
    ("_laid_out", "elements are laid out for netlink"),
    ("marshal.loads", "modules are loaded"),
)


def measure(bench: Bench) -> None:
    """Run once, and keep the functions that took most by themselves."""
    bench.tell(f"profile: first apply of {SIZE:,}")
    with Station(bench.directory, "nftables", bench.database(SIZE)) as station:
        path = station.path / "profile"
        station.run(
            [PYTHON, "-m", "cProfile", "-o", str(path), "-m", "reconciler",
             "--config", str(station.config), "reconcile", "--no-scan"]
        )  # fmt: skip
        bench.results.profile = _shares(path)


def _shares(path: Path) -> dict[str, float]:
    """Give the seconds of each function that took most, and of all others together."""
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]  # typeshed does not name it
    seconds: defaultdict[str, float] = defaultdict(float)
    for (file, _, function), (_, _, own, _, _) in stats.items():
        name = f"{Path(file).name}: {function}" if file != "~" else function.strip("<>")
        part = next((what for word, what in _PARTS if word in name), "")
        seconds[f"{part} (`{name}`)" if part else f"`{name}`"] += own
    greatest = sorted(seconds, key=lambda name: -seconds[name])
    told = {name: seconds[name] for name in greatest[:_TOLD]}
    return told | {"all other functions": sum(seconds[name] for name in greatest[_TOLD:])}
