"""A pass that has nothing to do, on a machine with few routes and on one with many.

Every next hop is protected, so all routes are looked at.
"""

from typing import Final

from attrs import define, field

from bench.measure import Sample
from bench.run import Bench, Subject
from bench.station import Station

WORK: Final = "beside routes"
FEW, MANY = 10, 50_000
_GATEWAYS: Final = 3


@define
class _Pair:
    """Two machines that take turns; ``more`` are the second's further CPU seconds."""

    few: Station
    many: Station
    last: Sample = field(factory=dict)

    def first(self) -> Sample:
        """Measure the pass beside few routes."""
        self.last = self.few.treason("reconcile", "--no-scan")
        return self.last

    def second(self) -> Sample:
        """Measure the pass beside many routes."""
        sample = self.many.treason("reconcile", "--no-scan")
        return {**sample, "more": sample["cpu"] - self.last["cpu"]}


def measure(bench: Bench) -> None:
    """Each machine has as many routes by three gateways, and ten bans in force."""
    with (
        Station(bench.directory, database=bench.database(10)) as few,
        Station(bench.directory, database=bench.database(10)) as many,
    ):
        for station, count in ((few, FEW), (many, MANY)):
            bench.tell(f"adding {count:,} routes")
            _furnish(station, count)
            station.treason("reconcile", "--no-scan")
        pair = _Pair(few, many)
        subjects = [
            Subject("treason", FEW, pair.first),
            Subject("treason", MANY, pair.second, ("treason", FEW)),
        ]
        bench.compare(WORK, subjects, rounds=11 if bench.quick else 41)


def _furnish(station: Station, count: int) -> None:
    """Add routes to the machine, and protect what they tell."""
    text = station.config.read_text()
    for key in ("gateways", "own_addresses"):
        text = text.replace(f"{key} = false", f"{key} = true")
    station.config.write_text(text)
    lines = [
        f"route add 20.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 via 192.0.2.{n % _GATEWAYS + 1}\n"
        for n in range(count)
    ]
    batch = station.path / "routes"
    batch.write_text(
        "link add v0 type veth peer name v1\nlink set v0 up\nlink set v1 up\n"
        f"address add 192.0.2.10/24 dev v0\n{''.join(lines)}"
    )
    station.run(["ip", "-batch", str(batch)])
