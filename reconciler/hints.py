"""What to do about a refusal of the kernel, by its words (strerror(3)), whoever passes them on."""

from typing import Final

_RIGHTS: Final = "run as root, or with CAP_NET_ADMIN"
_HINTS: Final = {
    "not permitted": _RIGHTS,
    "Permission denied": _RIGHTS,
    "must be root": _RIGHTS,
    "the ruleset has changed": "another program changed the ruleset meanwhile",
    "Message too long": "in a user namespace net.core.wmem_max limits what fits into a transaction",
    "No buffer space available": "read back what is there",
}


def hint(reason: str) -> str:
    """Return what to do about a refusal in the kernel's words, which a program may pass on."""
    return next((hint for words, hint in _HINTS.items() if words in reason), "")
