"""A backend that counts what it drops: what it is asked, and what it answers."""

from typing import Protocol, runtime_checkable

from attrs import frozen

from reconciler.interfaces import Backend


@frozen
class Dropped:
    """What a backend's rules have counted of dropped packets, since they were made.

    ``since`` is when that was (epoch seconds); None where the platform does not tell it.
    """

    packets: int
    bytes: int
    since: int | None = None


@runtime_checkable
class CountingBackend(Backend, Protocol):
    """A backend whose platform counts the packets that it drops."""

    def dropped(self) -> Dropped | None:
        """Return what was counted, without reading what is held; None where nothing counts now.

        It is asked of any object, also of one that has read nothing. Raise `BackendUnreadable`
        rather than guess.
        """
