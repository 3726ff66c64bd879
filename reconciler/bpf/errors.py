"""How the kernel refuses a program, and what this machine lacks for one.

BpfError                the kernel refused; ``code`` is its errno, 0 where it was not asked
└── BpfUnavailable      BPF cannot be used here: ``what`` says why, in one line
    └── BtfUnreadable   what the kernel tells of its own types is missing, or cannot be understood
"""

import errno
import os
import re
from pathlib import Path
from typing import Final

from reconciler.errors import TreasonError

_STATUS: Final = Path("/proc/self/status")
_USERS: Final = Path("/proc/self/uid_map")
_LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")
_ALL_USERS: Final = ["0", "0", "4294967295"]
_ADMIN, _PERFMON, _BPF = 21, 38, 39  # CAP_*, linux/capability.h
_NO_MORE_CHARGED: Final = (5, 11)
"""Linux that charges a control group instead of RLIMIT_MEMLOCK."""

_OLDEST: Final = (5, 8)
"""Linux that has the ring buffer (BPF_MAP_TYPE_RINGBUF), CAP_BPF and CAP_PERFMON."""


class BpfError(TreasonError):
    """The kernel refused; ``code`` is the errno, 0 where it was not asked."""

    def __init__(self, what: str, hint: str = "", code: int = 0) -> None:
        super().__init__(what, hint)
        self.code = code


class BpfUnavailable(BpfError):
    """BPF cannot be used here, and why."""


class BtfUnreadable(BpfUnavailable):
    """What the kernel tells of its own types is missing, or cannot be understood."""


def refusal(code: int, deed: str) -> BpfError:
    """Return the error for an errno of bpf(2); ``deed`` is what was tried: "load a program"."""
    reason, hint = _reason(code)
    if reason:
        return BpfUnavailable(f"cannot {deed}: {reason}", hint, code)
    return BpfError(f"cannot {deed}: {os.strerror(code)}", code=code)


def release() -> tuple[int, int]:
    """Return the version of the kernel that runs, as far as it is compared."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _reason(code: int) -> tuple[str, str]:
    """Return what is known to lead to an errno here, and what helps; empty where nothing is."""
    if code == errno.ENOSYS:
        return "this kernel has no bpf(2)", "it was built without CONFIG_BPF_SYSCALL"
    if release() < _OLDEST:
        return f"Linux {os.uname().release} is too old; 5.8 is needed", ""
    if code == errno.EPERM:
        return _forbidden()
    if code in {errno.EINVAL, errno.EACCES} and _locked_down():
        return "the kernel is locked down (confidentiality)", "this is so until the next boot"
    if code == errno.ENOMEM:
        return "the kernel has no memory for it", ""
    return "", ""


def _forbidden() -> tuple[str, str]:
    """Return what EPERM means, which has many causes."""
    if missing := _missing():
        return missing, "as a service: treason init --systemd gives what is needed"
    if _is_inside():
        return "this is a user namespace of a container, where nobody may", ""
    limit = _lockable()
    if release() < _NO_MORE_CHARGED and limit is not None:
        said = f"the limit of locked memory (RLIMIT_MEMLOCK) is {limit >> 10} KiB"
        return said, "raise it to 8 MiB; in a unit: LimitMEMLOCK=8M"
    return "not permitted, though the capabilities are there", "a sandbox may forbid bpf(2)"


def _lockable() -> int | None:
    """Return how many bytes of memory may be locked; None where there is no limit."""
    import resource  # noqa: PLC0415 - few kernels ask for it

    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if limit == resource.RLIM_INFINITY else limit


def _missing() -> str:
    """Return that a capability is missing; empty where none is, or it cannot be known."""
    try:
        held = int(_STATUS.read_text().partition("CapEff:")[2].split()[0], 16)
    except (OSError, ValueError, IndexError):
        return ""
    if held >> _ADMIN & 1:
        return ""
    needed = {"CAP_BPF": _BPF, "CAP_PERFMON": _PERFMON}
    lacking = [name for name, bit in needed.items() if not held >> bit & 1]
    if not lacking:
        return ""
    return f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"


def _is_inside() -> bool:
    """Whether this is another user namespace than the first."""
    try:
        return _USERS.read_text().split() != _ALL_USERS
    except OSError:
        return False


def _locked_down() -> bool:
    try:
        return "[confidentiality]" in _LOCKDOWN.read_text()
    except OSError:
        return False
