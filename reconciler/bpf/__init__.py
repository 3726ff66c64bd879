"""Small programs in the kernel, by bpf(2) alone: no compiler, no library, no headers.

A program is a list of instructions of `reconciler.bpf.assembler`. `load` gives it to the kernel,
and `attach` lets it run at a tracepoint; `members` tells where the kernel's structures have what it
reads. `recent` and `Counter` make maps for it, and a `Ring` is read for what it wrote. `BpfError`
is how the kernel refuses, `BpfUnavailable` why it cannot be done on this machine.
"""

from reconciler.bpf.btf import Member, members
from reconciler.bpf.errors import BpfError, BpfUnavailable, BtfUnreadable
from reconciler.bpf.maps import Counter, recent
from reconciler.bpf.program import attach, load
from reconciler.bpf.ring import Ring
from reconciler.bpf.syscall import check_machine

__all__ = [
    "BpfError",
    "BpfUnavailable",
    "BtfUnreadable",
    "Counter",
    "Member",
    "Ring",
    "attach",
    "check_machine",
    "load",
    "members",
    "recent",
]
