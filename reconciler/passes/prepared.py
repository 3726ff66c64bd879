"""What the backends of a pass are to hold, as far as the database can be read."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, frozen

from reconciler import __version__
from reconciler.config.setup import Setup
from reconciler.interfaces import Backend
from reconciler.model import Desired, Plan
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.passes.enforce import Goal
from reconciler.passes.marking import Marking
from reconciler.passes.recall import Recall
from reconciler.passes.resident import Resident
from reconciler.planning.desired import collapse, desired
from reconciler.planning.guard import Guard
from reconciler.planning.ownership import Owner
from reconciler.planning.plan import Causes, only_adds
from reconciler.planning.whitelist import Exemption
from reconciler.store.bans import Exceptions, NotEnforced
from reconciler.store.pauses import Pause
from reconciler.store.store import Store
from reconciler.waiting import WakingBackend

if TYPE_CHECKING:
    from reconciler.passes.run import Options

_LONG: Final = 4000
"""Characters from which on a list of networks is digested."""


@frozen(eq=False)
class Prepared:
    """What the backends of a pass are to hold; it is of use as long as the store is open.

    While everything is ``paused`` they are to hold nothing.
    """

    goal: Goal
    refused: NotEnforced
    protected: list[Exemption]
    paused: Pause | None = None


@define(eq=False)
class _Whole:
    """All that is desired, worked out anew only where that may have changed since.

    ``banned`` reads what is stored, ``cut`` takes away what is exempt.
    """

    banned: Callable[[], Networks]
    cut: Callable[[Networks], Desired]
    store: Store
    resident: Resident | None
    _version: int | None = -1
    _stored: Networks = NOTHING
    pending: Networks = NOTHING
    _made: Desired | None = None

    def __call__(self) -> Desired:
        """Return what is desired now: what the daemon has in force, and then what is stored."""
        pending = self.resident.pending() if self.resident else NOTHING
        version = self._version
        if self.resident and self.resident.met:
            version = self.store.attempt_to_read(lambda: self.store.changes.version)
        if self._made is None or (version, pending) != (self._version, self.pending):
            if self._made is None or version != self._version:
                self._stored = self.banned()
            self._version, self.pending = version, pending
            self._made = self.cut(self._stored | pending)
        return self._made

    def is_late(self, backend: Backend, plan: Plan) -> bool:
        """Whether a plan only adds what the daemon keeps in force by itself in this backend."""
        return isinstance(backend, WakingBackend) and only_adds(plan, self.pending)


@frozen(eq=False)
class Preparation:
    """It is prepared at ``now`` (epoch seconds).

    What is found to be damaged, now or once all is read, is noted in `Store.damage`. ``fed`` is
    what feeds hold where that is not what is stored of them.
    """

    setup: Setup
    store: Store
    now: int
    options: "Options"
    resident: Resident | None = None
    fed: Networks | None = None

    def prepared(
        self, protected: list[Exemption], new: Iterable[Network], paused: Pause | None
    ) -> Prepared:
        """Return what is prepared, with ``new`` bans besides what is stored.

        The daemon is asked before the bans are read, and again each time that a backend was read:
        what it has in force by then, and what it has stored since, is desired. While everything is
        ``paused``, nothing is.
        """
        store, allows = self.store, self.setup.config.treason.min_prefix.allows
        resident = None if paused else self.resident
        asked = resident.pending() if resident else NOTHING
        kept = [entry.network for entry in protected]
        exceptions = store.attempt_to_read(partial(store.bans.exceptions, self.now, allows))
        refused = exceptions.refused if exceptions else NotEnforced()
        causes = partial(self._causes, kept, exceptions)
        nothing = self._nothing(kept, causes)
        if paused:
            return Prepared(nothing, refused, protected, paused)
        extra = asked | Networks.of([*new, *(exceptions.untidy if exceptions else ())])
        listed = self.setup.whitelisted(self.now)

        whole = _Whole(
            banned=lambda: self._stored(exceptions) | extra,
            cut=lambda networks: desired(networks, listed, kept),
            store=store,
            resident=resident,
            pending=asked,
        )
        recall = partial(self._recall, collapse([*listed, *kept]), extra, whole)
        unknown = store.damage or self.fed is not None
        goal = evolve(
            nothing,
            whole=whole,
            guard=self._guard(causes),
            late=whole.is_late,
            knowledge=None if unknown else store.attempt_to_read(recall),
            lifts=False,
        )
        return Prepared(goal, refused, protected)

    def _nothing(self, kept: list[Network], causes: Callable[[], Causes]) -> Goal:
        """Return the goal to enforce nothing: no limit on removals holds that up.

        A backend that lacks more than that is put right, and is not told to differ.
        """
        options = self.options
        return Goal(
            whole=Desired,
            protected=kept,
            full=options.full,
            render=options.render,
            owner=self._owner,
            takes_over=options.force,
            marking=Marking(self.store, causes, adopt=options.adopt, writable=options.write),
            late=lambda _backend, plan: not (plan.banned.remove or plan.passed.remove),
            lifts=True,
        )

    def _recall(self, exempt: Networks, extra: Networks, whole: _Whole) -> Recall:
        """Return what is known of the backends. Raise `StoreError`."""
        main, resident = self.setup.config.treason, self.resident
        return Recall(
            store=self.store,
            now=self.now,
            digest=self._digest(exempt),
            resync=main.resync_interval,
            exempt=exempt,
            allows=main.min_prefix.allows,
            extra=extra,
            whole=whole,
            fed=self._held_by_feeds,
            write=self.options.write,
            settled=lambda: not (resident and resident.told),
        )

    def _stored(self, exceptions: Exceptions | None) -> Networks:
        """Read the bans and what feeds hold, as far as it can be read; note what cannot."""
        store, allows = self.store, self.setup.config.treason.min_prefix.allows
        networks, found = store.integrity.networks(self.now, exceptions, allows)
        store.damage += [each for each in found if each not in store.damage]
        if found and self.options.write:
            store.attempt(store.changes.doubt)  # so that the next pass finds it, too
        return networks | (store.attempt_to_read(self._held_by_feeds) or NOTHING)

    def _held_by_feeds(self) -> Networks:
        """Return what feeds hold. Raise `StoreError`."""
        return self.store.feeds.held(self.now) if self.fed is None else self.fed

    def _guard(self, causes: Callable[[], Causes]) -> Guard:
        """Return what keeps enforced what nothing explains, or what the daemon may hold."""
        resident = self.resident
        return Guard(
            float("inf") if self.options.force else self.setup.config.treason.max_removals,
            causes,
            damaged=lambda: bool(self.store.damage),
            unasked=lambda: bool(resident and resident.silence),
        )

    def _causes(self, kept: list[Network], exceptions: Exceptions | None) -> Causes:
        """Return what may explain removals; where that is damaged, nothing does."""
        events = self.store.attempt_to_read(partial(self.store.history.last_events, self.now))
        if events is None:
            return Causes(exempt=kept)
        lifted, banned = events
        refused = Networks.of(exceptions.skipped if exceptions else ())  # by a new min_prefix
        refused |= self._released()
        return Causes(lifted | refused, banned - refused, kept)

    def _released(self) -> Networks:
        """Return what feeds hold no more, though it is stored."""
        if self.fed is None:
            return NOTHING
        held = self.store.attempt_to_read(partial(self.store.feeds.held, self.now))
        return (held or NOTHING) - self.fed

    @property
    def _owner(self) -> Owner | None:
        """Return whose the objects are to be; None if that cannot be told, or read."""
        identity = self.store.attempt_to_read(lambda: self.store.identity)
        if identity is None or not (identity or self.store.unwritten):  # it would have one by now
            return None
        return Owner(identity, self.store.path.resolve())

    def _digest(self, exempt: Networks) -> str:
        """Return a text that stands for all that a plan depends on besides the bans.

        Plugins' settings may hold secrets, and lists may be long: of those it holds a digest.
        """
        config = self.setup.config
        networks = " ".join(map(str, (*collapse(self.setup.whitelisted(self.now)), "/", *exempt)))
        settings = repr(config.backend) if config.backend else ""
        if settings or len(networks) > _LONG:
            from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, which most passes can spare

            networks = sha256(f"{settings} {networks}".encode()).hexdigest()
        return f"{__version__} {config.treason.min_prefix} {networks} {self.store.path}"
