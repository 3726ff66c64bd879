"""The bars of the kernel that tells of suspects by itself, and their guards of the quick run."""

from typing import Final

from attrs import evolve

from bench.bar import Bar
from bench.results import Key

_TREASON: Final = "treason"
_LOADED: Final = Key("loading, BTF included", _TREASON, 1)
_FLOOD: Final = Key("10,000 events a second", _TREASON, 10_000)
_HEALTHY: Final = Key("healthy traffic of 1 Gbit/s", _TREASON, 125_000_000)
_FLOODED: Final = "peers that make 10,000 events a second, as many in another namespace"

_TOLD: Final = Bar(
    "from the kernel's retransmission timer to the suspect in user space",
    1,
    Key("from the kernel's timer to the suspect", _TREASON, 60),
    unit=1e-3,
    suffix=" ms",
)
_SHARE: Final = Bar(
    f"{_FLOODED}: share of a core", 1, _FLOOD, measure="cpu", unit=0.01, suffix=" %"
)
_JUDGED: Final = Bar(
    f"{_FLOODED}: a real attacker dropped, after `lasting`", 1, _FLOOD, suffix=" s"
)
_TIME: Final = Bar("loading the program, BTF included", 80, _LOADED, unit=1e-3, suffix=" ms")
_MEMORY: Final = Bar("its resident memory", 1.5, _LOADED, measure="memory", unit=1e6, suffix=" MB")

BARS: Final = (
    _TOLD,
    Bar("healthy traffic of 1 Gbit/s: wake-ups", 0, _HEALTHY, measure="wakes"),
    Bar(
        "its throughput, to that with nothing attached",
        0.98,
        _HEALTHY,
        Key("healthy traffic of 1 Gbit/s", "nothing attached", 125_000_000),
        measure="rate",
        least=True,
    ),
    _SHARE,
    _JUDGED,
    _TIME,
    _MEMORY,
)

GUARDS: Final = (
    evolve(_TOLD, limit=20),
    evolve(_SHARE, limit=5),
    evolve(_JUDGED, limit=5),
    evolve(_TIME, limit=5 * _TIME.limit, measure="cpu"),
    evolve(_MEMORY, limit=1.3 * _MEMORY.limit),
)
