"""The seam to ipset(8): what it lists, and how it refuses."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from reconciler import BackendFailed, BackendUnreadable, execute, hints

_PATIENCE: Final = 300.0
_NUMERIC: Final = {"RES_OPTIONS": "no-reload"}
"""Keeps glibc from looking at /etc/resolv.conf for every address that ipset parses.

See resolv.conf(5), since glibc 2.26. Loading takes less than half the time; nothing is resolved.
"""

_HINTS: Final = {
    "program not found": "install it: apt-get install ipset",
    "Cannot open session": "the kernel has no ip_set: modprobe ip_set",
    "in use": "a rule that is not treason's uses it, or one of the other iptables variant",
}


def headers() -> str:
    """List every set without its elements."""
    return "".join(_listed("list", "-terse"))


def save(name: str) -> Iterator[str]:
    """List a set's elements, a line for each, in pieces of many lines."""
    return _listed("save", name)


def restore(pieces: Iterable[str]) -> None:
    """Carry out the lines one by one; raise `BackendFailed` at the first that is refused.

    They may be made while the first of them are carried out.
    """
    coming = iter([pieces] if isinstance(pieces, str) else pieces)
    first = next(coming, "")
    if not first:
        return
    try:
        execute.run(
            ["ipset", "restore"],
            given=chain([first], coming),
            timeout=_PATIENCE,
            environment=_NUMERIC,
        )
    except execute.CommandFailed as error:
        raise BackendFailed(error.what, _hint(error)) from None


def _listed(*arguments: str) -> Iterator[str]:
    try:
        yield from execute.printed(["ipset", *arguments], timeout=_PATIENCE)
    except execute.CommandFailed as error:
        raise BackendUnreadable(error.what, _hint(error)) from None


def _hint(error: execute.CommandFailed) -> str:
    own = next((hint for word, hint in _HINTS.items() if word in error.what), error.hint)
    return own or hints.hint(error.what)
