"""What a backend gives to a resident process, which waits for changes by others."""

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from reconciler.interfaces import Backend
from reconciler.model import Damage, Desired
from reconciler.networks import Networks


class Reflexes(Protocol):
    """Keeps in force, in a resident process, what a backend has been brought in line with.

    It sends additions and repairs alone, on nothing but the state that it knows; what is to be
    removed is a pass's business.
    """

    def fileno(self) -> int:
        """Return a descriptor that poll(2) finds readable once what is ours may have changed.

        What others change elsewhere on the platform does not wake.
        """

    def hold(self, desired: Desired, owner: str) -> None:
        """Take all that is to be held from now on, as the backend holds it now; send nothing."""

    def add(self, networks: Networks) -> None:
        """Drop these networks, too: in force when it returns. Raise `BackendFailed`.

        What is held already is fine; what is whitelisted is the caller's business.
        """

    def let_pass(self, networks: Networks) -> None:
        """Pass these ahead of all that is dropped, if it can; as `add` else."""

    def changed(self) -> Collection[int]:
        """Take what the descriptor tells, without waiting: whose changes of ours it tells of.

        They are named by netlink port ids, which are mostly process ids, 0 where it cannot be told
        whose; empty where none but changes of its own came. Of many the first are named, and no
        more is told until `repair` or `hold`.
        """

    def repair(self) -> Sequence[Damage]:
        """Compare by structure and counts, and put back at once what is missing.

        Return what was wrong, for people. Raise `BackendUnreadable`, or `BackendFailed`, also where
        something is to be removed: what is missing is put back nevertheless, the rest is for a
        pass.
        """

    def close(self) -> None:
        """Close the descriptor; what is held stays in force."""


@runtime_checkable
class PolledReflexes(Reflexes, Protocol):
    """Reflexes that can do without events, which may cost others time (``[run] events``)."""

    def stop_listening(self) -> None:
        """Listen to no events, from the beginning on: nobody waits for the descriptor.

        Instead `changed` is asked each second. It is to cost next to nothing, and tells of a change
        until `repair` or `hold`; one that is made elsewhere on the platform may pass for a change,
        one of its own may not.
        """


@runtime_checkable
class WakingBackend(Backend, Protocol):
    """A backend whose platform tells of changes, and that can be kept in force by reflexes."""

    def reflexes(self) -> Reflexes:
        """Return what keeps it in force. Raise `BackendUnreadable` where nothing tells."""


class Watcher(Protocol):
    """Waits, in a resident process, for changes of what a backend holds."""

    def fileno(self) -> int:
        """Return a descriptor that poll(2) finds readable once something may have changed.

        It is the same until `close`.
        """

    def changed(self) -> bool:
        """Take what the descriptor tells, without waiting; return whether anything may be another.

        The first call returns True. What a pass writes may be told as well as what others do. Raise
        `BackendUnreadable` where changes cannot be waited for any more.
        """

    def close(self) -> None:
        """Close the descriptor."""


@runtime_checkable
class WatchedBackend(Backend, Protocol):
    """A backend whose changes can be waited for, and that passes alone put right.

    Of a `DigestedBackend` the digest tells whether it was a pass that changed it. Any other one is
    looked at by one more pass after each that changed something.
    """

    def watcher(self) -> Watcher:
        """Return what waits for changes. Raise `BackendUnreadable` where that cannot be."""
