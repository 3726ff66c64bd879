"""What to do about a refusal of the kernel: by its errno, or by words that a program passes on."""

import errno
import os
from typing import Final

RIGHTS: Final = "run as root, or with CAP_NET_ADMIN"
_HINTS: Final = {
    errno.EPERM: RIGHTS,
    errno.EACCES: RIGHTS,
    errno.ERESTART: "another program changed the ruleset meanwhile",
    errno.EMSGSIZE: "in a user namespace net.core.wmem_max limits what fits into a transaction",
    errno.ENOBUFS: "read back what is there",
}
_WORDS: Final = {"not permitted": RIGHTS, "must be root": RIGHTS}
"""What programs say instead of strerror(3)."""


def of(code: int) -> str:
    """Return what to do about an errno; empty where nothing is known."""
    return _HINTS.get(code, "")


def hint(reason: str) -> str:
    """Return what to do about a refusal that is told in words; empty where nothing is known."""
    words = _WORDS | {os.strerror(code): hint for code, hint in _HINTS.items()}
    return next((hint for said, hint in words.items() if said in reason), "")
