"""Whether we stand where the machine's packets come in, and where its kernel speaks."""

from collections.abc import Iterator

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine


def check(machine: Machine) -> Iterator[Finding]:
    """Yield in which way this is not the machine itself, as far as that may be seen."""
    try:
        first, ours = (
            (machine.root / f"proc/{who}/ns/net").readlink() for who in ("1", "thread-self")
        )
    except OSError:
        return  # only root may look, and in a container nobody
    if first != ours:
        yield Finding(
            "this is not the network namespace of process 1",
            "packets are dropped in this one alone, and what the kernel logs is of all of them",
            f"nsenter --net=/proc/1/ns/net {machine.command('doctor')}",
        )
