"""Whether each source can be read, and hears the kernel."""

from collections.abc import Iterator
from typing import Final

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.passes.silence import silent

_SECONDS: Final = 1.0
"""For which a source is waited for."""


def check(machine: Machine) -> Iterator[Finding]:
    """Yield which of them do not."""
    setup = machine.setup
    makers = setup.sources()
    for name, reason in silent(makers, min(_SECONDS, setup.config.treason.pass_timeout)).items():
        what, _, remedy = reason.partition("; ")
        yield Finding(
            f"{name} sees no message of the kernel: {what}",
            "offenders that only this source could show are not seen",
            remedy or f"see what it says: {machine.command('scan', '-v')}",
        )
