"""The checks that cost next to nothing, of what `treason status` does not tell anyway."""

from collections.abc import Iterator

from reconciler.config.setup import Setup
from reconciler.doctor import database, disk
from reconciler.doctor.machine import Machine


def warnings(setup: Setup) -> Iterator[str]:
    """Yield in a line each what is wrong; what mends it is the doctor's to tell."""
    machine = Machine(setup)
    for check in (database.permissions, disk.check):
        yield from (f"{each.what}; what mends it: treason doctor" for each in check(machine))
