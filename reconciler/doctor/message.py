"""Whether the running kernel prints the message that sources look for."""

from collections.abc import Iterator
from typing import Final

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.host import kernel_message
from reconciler.host.kernel_message import State
from reconciler.interfaces import Spec

_SOCKETS: Final = "sockets"
_WHY: Final = "the built-in rules see nothing in the kernel's log"


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what is to be done, where a source reads what this kernel prints."""
    setup = machine.setup
    if not setup.live(setup.config.treason.sources):
        return
    state = kernel_message.look(kernel_message.HERE)
    if state is State.OFF:
        yield Finding(
            "the kernel does not print its message",
            _WHY,
            machine.command("init", "--kernel-message"),
        )
    elif state is State.UNKNOWN and not machine.is_root:
        yield Finding(
            "only root can read whether the kernel prints its message",
            _WHY,
            f"sudo {machine.command('doctor')}",
        )
    elif state is State.UNKNOWN:
        debugfs = kernel_message.HERE.debugfs
        yield Finding(
            "whether the kernel prints its message cannot be read: debugfs is not mounted",
            _WHY,
            f"mount -t debugfs none {debugfs}",
        )
    elif state is State.CANNOT and not _sees_sockets(machine):
        yield Finding(
            "this kernel never prints its message: it has no dynamic debug",
            f"{_WHY}, but sockets show the attack as well",
            f'add "{_SOCKETS}" to [treason] sources in {setup.path}',
        )


def _sees_sockets(machine: Machine) -> bool:
    """Whether a source looks at the attack itself."""
    setup = machine.setup
    known = setup.plugins.sources
    names = (Spec.parse(spec).name for spec in setup.config.treason.sources)
    return any(name in known and known[name].witness for name in names)
