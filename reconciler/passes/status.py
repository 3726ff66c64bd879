"""How things stand: what is stored, desired and enforced, and whether the kernel is heard."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from reconciler.dropped import CountingBackend, Dropped
from reconciler.errors import describe, guarded
from reconciler.host import kernel_message
from reconciler.interfaces import Backend, Source
from reconciler.passes import confirmable
from reconciler.passes.enforce import Outcome, enforce
from reconciler.passes.run import Pass
from reconciler.passes.silence import silent
from reconciler.store.bans import NotEnforced
from reconciler.store.counts import Counts
from reconciler.store.pauses import Pause
from reconciler.store.unconfirmed import Doubted
from reconciler.store.withheld import WithheldBan

if TYPE_CHECKING:
    from reconciler.host.control import DaemonStatus
    from reconciler.passes.feeds import FeedStanding

_LATEST: Final = 10
"""Withheld bans, and unconfirmed messages, that are named; `treason list --observed-only` and
`treason history` tell more."""

_OF_THIS_MACHINE: Final = ("kmsg", "journal", "dmesg")
"""Sources that read what the running kernel says."""


@frozen
class BackendCount:
    """What a backend has counted of dropped packets; ``error`` is why that cannot be told."""

    backend: str
    dropped: Dropped | None
    error: str = ""


@frozen(eq=False)
class Status:
    """Counts of networks, the backends' outcomes of a check, and why sources hear nothing.

    ``damage`` is what of the database cannot be read. ``exists`` says whether there is a database.
    ``refused`` are stored bans that are not enforced, ``desired`` networks that are to be dropped.
    ``clock`` tells why it is not believed. ``mode`` is that of the policy, ``withheld`` are the
    latest of the bans that were not made because of it. ``daemon`` is how that is; None where there
    is none, or it does not answer: ``unasked`` is why. ``doubted`` are the latest messages that
    nothing confirmed, ``confirming`` tells what people should know of that. While everything is
    ``paused``, as it was ``now`` (epoch seconds), nothing is enforced. ``dropped`` tells of the
    backends that count packets, ``warnings`` what people should know that is no failure. ``feeds``
    are those that are configured, or of which something is held.
    """

    now: int
    database: Path
    exists: bool
    counts: Counts
    refused: NotEnforced
    whitelisted: int
    protected: int
    desired: int
    silent: Mapping[str, str]
    kernel_message: kernel_message.State
    clock: str
    mode: str
    withheld: tuple[WithheldBan, ...]
    outcomes: tuple[Outcome, ...]
    damage: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    daemon: "DaemonStatus | None" = None
    unasked: str = ""
    doubted: tuple[Doubted, ...] = ()
    confirming: tuple[str, ...] = ()
    paused: Pause | None = None
    dropped: tuple[BackendCount, ...] = ()
    feeds: "tuple[FeedStanding, ...]" = ()

    @property
    def troubled(self) -> bool:
        """Whether something keeps more from being taken of a feed."""
        return any(each.trouble for each in self.feeds)


def look(check: Pass, sources: Mapping[str, Callable[[], Source]]) -> Status:
    """Compare every backend, and ask the sources whether they hear the kernel."""
    counts, prepared, resident = check.store.counts(check.now), check.prepare(), check.resident
    goal = evolve(prepared.goal, guard=None)
    made: dict[str, Backend] = {}
    backends = {name: partial(_made, name, make, made) for name, make in check.backends.items()}
    outcomes = [*enforce(backends, goal, check=True)]
    for each in outcomes:
        if each.error:  # it could not be read, and would say so once more
            made.pop(each.backend, None)
    told = (each.desired for each in outcomes if each.desired is not None)
    desired = next(told, None)
    if desired is None:
        desired = len(prepared.goal.whole().banned)
    database = check.setup.config.treason.database
    feeds = check.store.attempt_to_read(partial(_feeds, check)) or ()
    return Status(
        now=check.now,
        database=database,
        exists=database.exists(),
        counts=counts,
        refused=prepared.refused,
        whitelisted=len(check.setup.whitelisted(check.now)),
        protected=len(prepared.protected),
        desired=desired,
        silent=silent(sources, check.setup.config.treason.pass_timeout),
        kernel_message=kernel_message.look(kernel_message.HERE),
        clock=check.clock.doubt,
        mode=check.setup.config.policy.mode,
        withheld=tuple(islice(check.store.withheld.active(check.now), _LATEST)),
        outcomes=tuple(outcomes),
        damage=tuple(check.store.damage),
        warnings=tuple(_warnings(check)),
        daemon=resident.status() if resident else None,
        unasked=resident.silence if resident else "",
        doubted=tuple(check.store.unconfirmed.latest(_LATEST)),
        confirming=tuple(confirmable.remarks(check.setup)),
        paused=prepared.paused,
        dropped=tuple(_dropped(made)),
        feeds=tuple(feeds),
    )


def _feeds(check: Pass) -> "list[FeedStanding]":
    """Return how feeds stand."""
    if not (check.setup.feeds or check.store.feeds.states()):
        return []
    from reconciler.passes.feeds import standings  # noqa: PLC0415 - many configurations have none

    return standings(check.setup, check.store, check.now)


def _made(name: str, make: Callable[[], Backend], made: dict[str, Backend]) -> Backend:
    """Make a backend, and keep it."""
    made[name] = make()
    return made[name]


def _dropped(made: Mapping[str, Backend]) -> Iterator[BackendCount]:
    """Yield what the backends have counted that count at all."""
    for name, backend in made.items():
        told = guarded(partial(_count, name, backend), partial(_uncounted, name), name)
        if told is not None:
            yield told


def _count(name: str, backend: Backend) -> BackendCount | None:
    return BackendCount(name, backend.dropped()) if isinstance(backend, CountingBackend) else None


def _uncounted(name: str, error: BaseException) -> BackendCount | None:
    return BackendCount(name, None, describe(error, name))


def _warnings(check: Pass) -> Iterator[str]:
    """Yield what people should know that is no failure."""
    if advice := _advice(check.setup.config.treason.sources):
        yield advice


def _advice(sources: Iterable[str]) -> str:
    """Return what a configuration from before could gain; empty where there is nothing to say."""
    if "sockets" in sources or not any(name in _OF_THIS_MACHINE for name in sources):
        return ""
    return 'the attack shows in TCP sockets without any message: add "sockets" to [treason] sources'
