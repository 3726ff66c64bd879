"""Many bans given at once by hand, with a long whitelist, and with none."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from bench.inputs import addresses
from bench.measure import Sample
from bench.run import Bench, Subject
from bench.station import Station
from reconciler.network import Network

WORK: Final = "many bans by hand"
NONE: Final = "treason, no whitelist"
LONG: Final = "treason, 2,000 whitelisted"
BANS: Final = 1_000
_EXEMPT: Final = 2_000


def measure(bench: Bench) -> None:
    """Each turn has a database of its own, so that every ban is new."""
    bench.compare(
        WORK,
        [
            Subject(NONE, BANS, partial(_turn, bench, ())),
            Subject(LONG, BANS, partial(_turn, bench, _networks()), (NONE, BANS)),
        ],
        rounds=7 if bench.quick else 15,
    )


def _networks() -> list[str]:
    """Return networks that hold none of the addresses."""
    return [str(Network.of(6, (0x20010DB8 << 96) | number << 64, 64)) for number in range(_EXEMPT)]


def _turn(bench: Bench, exempt: Sequence[str]) -> Sample:
    """Ban them in one command."""
    with Station(bench.directory) as station:
        if exempt:
            listed = ", ".join(f'"{network}"' for network in exempt)
            (station.path / "whitelist.toml").write_text(f"networks = [{listed}]\n")
        return station.treason("ban", *addresses(BANS))
