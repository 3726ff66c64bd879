"""Whether anything is to be enforced at all."""

from collections.abc import Iterator

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine


def check(machine: Machine) -> Iterator[Finding]:
    """Yield that nothing is, for the time being."""
    if machine.stored(lambda store: store.pauses.active(machine.clock.now), None):
        yield Finding("everything is paused", "nobody is dropped", machine.command("resume"))
