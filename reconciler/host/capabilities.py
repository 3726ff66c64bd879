"""The capabilities of this process (capabilities(7)): which it has, and which it hands on."""

import ctypes
import re
from collections.abc import Iterable
from contextlib import suppress
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
_PR_CAP_AMBIENT_LOWER: Final = 3

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
    library = ctypes.CDLL(None)
    for name in {*names} - _NEVER_LOWERED:
        with suppress(ValueError):  # a name that only a newer kernel knows
            number = ctypes.c_ulong(_NAMES.index(name))
            nothing = ctypes.c_ulong(0)
            lowering = ctypes.c_ulong(_PR_CAP_AMBIENT_LOWER)
            library.prctl(_PR_CAP_AMBIENT, lowering, number, nothing, nothing)
