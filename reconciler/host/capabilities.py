"""The capabilities of this process (capabilities(7)): which it has, and which it hands on."""

import ctypes
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# In the order of their numbers (include/uapi/linux/capability.h, 6.1).
_ORDER: Final = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE"
    " NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO"
    " SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME"
    " SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG"
    " WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
_NAMES: Final = tuple(f"CAP_{name}" for name in _ORDER.split())

_PR_CAP_AMBIENT: Final = 47  # include/uapi/linux/prctl.h
_PR_CAP_AMBIENT_IS_SET, _PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_LOWER = 1, 2, 3
_VERSION: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3, include/uapi/linux/capability.h

ATTACHING: Final = frozenset({"CAP_BPF", "CAP_PERFMON"})
"""What a source of a resident process alone may need, and no pass ever."""

_NEVER_LOWERED: Final = frozenset(
    {"CAP_NET_ADMIN", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER"}
)
"""What each pass needs, and what files need, which no plugin declares (`host.sandbox`)."""


def held() -> frozenset[str]:
    """Return those that are effective; where there is no /proc to tell, all."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return frozenset(_NAMES)
    told = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    mask = int(told[1], 16) if told else -1
    return frozenset(name for number, name in enumerate(_NAMES) if mask >> number & 1)


def lower(names: Iterable[str]) -> None:
    """Let the programs that this process runs, or becomes, not have these by its unit's grace.

    That is all that the sandbox lets anybody do (capset(2) is refused there), and enough for a
    user other than root. Root has whatever the unit allows, and by hand everything: what commands
    of the configuration need of it, nobody can tell.
    """
    for name in {*names} - _NEVER_LOWERED:
        _ambient(_PR_CAP_AMBIENT_LOWER, name)


@contextmanager
def withheld(names: Iterable[str]) -> Iterator[None]:
    """Let programs that are run in the block not have these by the unit's grace, as `lower`."""
    kept = [name for name in names if _ambient(_PR_CAP_AMBIENT_IS_SET, name) == 1]
    for name in kept:
        _ambient(_PR_CAP_AMBIENT_LOWER, name)
    try:
        yield
    finally:
        for name in kept:
            _ambient(_PR_CAP_AMBIENT_RAISE, name)


def drop(names: Iterable[str]) -> bool:
    """Renounce these, in this thread and those that it begins; return whether none is left.

    The programs that it runs have none of them either: as root where they may gain nothing
    (NoNewPrivileges in systemd.exec(5)). A sandbox must allow capset(2).
    """
    names = {*names} - _NEVER_LOWERED
    lower(names)
    if names & held():
        _capset(sum(1 << _NAMES.index(name) for name in names.intersection(_NAMES)))
    return not names & held()


def _capset(without: int) -> None:
    """Take these out of the effective, the permitted and the inheritable ones (capset(2))."""
    library = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()  # low words of the three sets, then the high ones
    if library.capget(header, data) == 0:
        for at in range(6):
            data[at] &= ~(without >> 32 * (at // 3)) & 0xFFFFFFFF
        library.capset(header, data)


def _ambient(what: int, name: str) -> int:
    """Ask for a capability among the ambient ones, or change it (prctl(2)); -1 if refused."""
    with suppress(ValueError):  # a name that only a newer kernel knows
        numbers = (what, _NAMES.index(name), 0, 0)
        arguments = (ctypes.c_ulong(number) for number in numbers)
        return int(ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, *arguments))
    return -1
