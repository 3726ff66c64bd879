"""Whether messages are believed that a local user can make the kernel print."""

from collections.abc import Iterator
from typing import Final

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.passes import confirmable

_WHY: Final = "who may make a network namespace can make the kernel accuse anybody"


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what is not confirmed, and which rules ban nobody for it."""
    path = machine.setup.path
    for remark in confirmable.remarks(machine.setup):
        if remark == confirmable.SAFE:
            continue
        what, _, rest = remark.partition("; ")
        if "([trust] confirm)" in what:
            rest = f'write confirm = "auto" in [trust] of {path}'
        elif "nf_log_all_netns" in what:
            rest = "sysctl -w net.netfilter.nf_log_all_netns=0"
        yield Finding(what, _WHY, rest or f"see [trust] and [[rule]] in {path}")
