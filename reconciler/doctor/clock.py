"""Whether the wall clock is believed."""

from collections.abc import Iterator

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine


def check(machine: Machine) -> Iterator[Finding]:
    """Yield why it is not."""
    if machine.clock.doubt:
        what, _, why = machine.clock.doubt.partition("; ")
        yield Finding(
            what,
            why,
            "set the clock (timedatectl set-ntp true); if it is right, let ten minutes go by",
        )
