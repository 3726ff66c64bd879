"""What `treason doctor` finds, and how a source or a backend adds what it knows to be wrong."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from attrs import frozen


@frozen
class Finding:
    """Something that is wrong for certain: ``what`` it is, ``why`` it matters, what mends it.

    ``remedy`` is a command for a shell, as it stands; where no command can do it, it says in words
    what to do. ``check`` is who found it: `treason doctor` fills that in.
    """

    what: str
    why: str
    remedy: str
    check: str = ""


@runtime_checkable
class Diagnosing(Protocol):
    """A source or a backend that knows of flaws around it, which no reading or pass would tell."""

    def diagnose(self) -> Iterable[Finding]:
        """Return what is wrong; nothing where all is well, or where that cannot be told.

        It changes nothing, and takes no more than half a second. What `observe`, `read` or
        `silence` tell is told already.
        """
