"""One pass, whole: settle what has ended, read the sources, desire, and bring backends in line."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from reconciler import __version__
from reconciler.config.setup import Setup
from reconciler.errors import StoreError
from reconciler.host.clock import SURE, Clock
from reconciler.interfaces import Backend, Source
from reconciler.model import Desired
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.passes.access import protection
from reconciler.passes.enforce import Goal, Outcome, State, enforce
from reconciler.passes.marking import Marking
from reconciler.passes.recall import Recall
from reconciler.planning.desired import collapse, desired
from reconciler.planning.guard import Guard
from reconciler.planning.ownership import Owner
from reconciler.planning.plan import Causes
from reconciler.planning.whitelist import Exemption
from reconciler.store.store import Store

if TYPE_CHECKING:
    from reconciler.passes.scan import Reading

_LONG: Final = 1000
"""Characters from which on a list of networks is digested."""


@frozen(eq=False)
class Options:
    """How a pass is made.

    With ``check`` backends are only compared; without ``write`` nothing is stored. ``force`` skips
    the limits on new bans and on removals. ``full`` and ``render`` are those of `Goal`, ``adopt``
    is that of `Marking`.
    """

    check: bool = False
    write: bool = True
    force: bool = False
    full: bool = False
    render: bool = False
    adopt: bool = False


@frozen(eq=False)
class PassResult:
    """What a pass found and did, at ``now`` (epoch seconds).

    ``ended`` are the networks of bans that ended since the last pass. The rest is empty where no
    backend was asked for: ``refused`` are the stored bans that are not enforced, ``protected`` is
    what is never dropped besides the whitelist. ``doubt`` tells why the clock is not believed.
    ``unwritten`` is why something was not stored that should have been, and is empty otherwise.
    """

    now: int
    ended: list[str]
    readings: "list[Reading]"
    outcomes: list[Outcome]
    refused: list[str]
    protected: list[Exemption]
    doubt: str = ""
    unwritten: str = ""

    @property
    def failed(self) -> bool:
        """Whether a source or a backend could not do its work, or something was not stored."""
        readings = any(reading.error for reading in self.readings)
        backends = any(outcome.failure for outcome in self.outcomes)
        return readings or backends or bool(self.unwritten)

    @property
    def drifted(self) -> bool:
        """Whether a backend was found to differ, and was not corrected."""
        return any(outcome.state is State.DRIFT for outcome in self.outcomes)


@frozen(eq=False)
class Prepared:
    """What the backends of a pass are to hold; it is of use as long as the store is open."""

    goal: Goal
    refused: list[str]
    protected: list[Exemption]


@frozen(eq=False)
class Pass:
    """A pass at ``now`` (epoch seconds) over the named sources and backends.

    It is made behind the lock, and run once. While the ``clock`` is in doubt, nothing that ended
    is moved or forgotten.
    """

    setup: Setup
    store: Store
    now: int
    sources: Mapping[str, Callable[[], Source]] = field(factory=dict)
    backends: Mapping[str, Callable[[], Backend]] = field(factory=dict)
    options: Options = Options()
    clock: Clock = SURE

    def run(self) -> PassResult:
        """Make the pass. Raise `TreasonError` for what it cannot do without."""
        ended = self._settle()
        protected = protection(self.setup, self.store, self.now)
        readings = self._scan(protected) if self.sources else []
        outcomes: list[Outcome] = []
        refused: list[str] = []
        if self.backends:
            new = [ban.network for reading in readings for ban in reading.bans]
            event = self.store.carried.last_event
            prepared = self._prepared(protected, new)
            outcomes = list(enforce(self.backends, prepared.goal, check=self.options.check))
            refused = prepared.refused
            self._carried_out(outcomes, event)
        if self.options.write:
            self.store.attempt(self.store.compact)  # when all that matters is done
        return PassResult(
            now=self.now,
            ended=ended,
            readings=readings,
            outcomes=outcomes,
            refused=refused,
            protected=protected,
            doubt=self.clock.doubt,
            unwritten=self._unwritten,
        )

    def prepare(self) -> Prepared:
        """Return what every backend is to hold, from what is stored; read no source."""
        return self._prepared(protection(self.setup, self.store, self.now), ())

    def _settle(self) -> list[str]:
        """Move the bans that have ended to the history, and prune; return their networks.

        What cannot be written keeps no pass from enforcing: they do not count any more, moved or
        not.
        """
        ended = self.store.bans.ended(self.now)
        policy, tables = self.setup.config.policy, self.setup.config.rule
        rules = self.setup.rules if tables else ()  # only those can have policies of their own
        if self.clock.doubt:
            return []  # they do not count any more, and count again should that be wrong
        if not self.options.write:
            return ended
        windows = [rule.policy.window for rule in rules if rule.policy is not None]
        kept = max(policy.keep_offences, policy.window, *windows)
        main = self.setup.config.treason
        attempt, prune = self.store.attempt, self.store.prune
        attempt(partial(self.store.carried.begin, self.backends, self.now))
        attempt(partial(self.store.bans.expire, self.now))
        attempt(partial(prune, self.now, kept, policy.keep_history, main.backends))
        attempt(partial(self.store.changes.forget, self.now - main.resync_interval))
        return ended

    def _carried_out(self, outcomes: Iterable[Outcome], event: int) -> None:
        """Remember which backends have carried out all that the history told."""
        done = [each.backend for each in outcomes if not each.failure]
        if self.options.write and not self.options.check:
            self.store.attempt(partial(self.store.carried.verify, done, event, self.now))

    def _scan(self, protected: Iterable[Exemption]) -> "list[Reading]":
        """Read the sources into the store."""
        from reconciler.passes.scan import Scanner  # noqa: PLC0415 - a pass may read no source

        exempt = [*self.setup.whitelisted, *(entry.network for entry in protected)]
        scanner = Scanner(
            store=self.store,
            policy=self.setup.config.policy,
            now=self.now,
            write=self.options.write,
            userspace=self.setup.config.trust.userspace,
            force=self.options.force,
            rules=self.setup.rules,
            exempt=collapse(exempt),
            timeout=self.setup.config.treason.pass_timeout,
            clock=self.clock,
            enforced=bool(self.backends),
        )
        return list(scanner.scan(self.sources))

    def _prepared(self, protected: list[Exemption], new: Iterable[Network]) -> Prepared:
        """Return what is prepared, with ``new`` bans besides what is stored."""
        main = self.setup.config.treason
        allows = main.min_prefix.allows
        kept = [entry.network for entry in protected]
        exceptions = self.store.bans.exceptions(self.now, allows)
        extra = Networks.of([*new, *exceptions.untidy])

        @cache
        def whole() -> Desired:
            banned = self.store.bans.enforced(self.now, exceptions)
            return desired(banned | extra, self.setup.whitelisted, kept)

        def causes() -> Causes:
            lifted, banned = self.store.history.last_events(self.now)
            refused = Networks.of(exceptions.skipped)  # by min_prefix, which may be new
            return Causes(lifted | refused, banned - refused, kept)

        exempt = collapse([*self.setup.whitelisted, *kept])
        goal = Goal(
            whole=whole,
            guard=None if self.options.force else Guard(main.max_removals, causes),
            knowledge=Recall(
                store=self.store,
                now=self.now,
                digest=self._digest(exempt),
                resync=main.resync_interval,
                exempt=exempt,
                allows=allows,
                extra=extra,
                whole=whole,
                write=self.options.write,
            ),
            protected=kept,
            full=self.options.full,
            render=self.options.render,
            owner=self._owner,
            takes_over=self.options.force,
            marking=Marking(
                self.store, causes, adopt=self.options.adopt, writable=self.options.write
            ),
        )
        return Prepared(goal, exceptions.refused, protected)

    @property
    def _unwritten(self) -> str:
        """Return why not everything was stored."""
        error = self.store.unwritten
        if error is None:
            return ""
        what = f"{error.what}; the pass went on, but not all was stored"
        return str(StoreError(what, error.hint))

    @property
    def _owner(self) -> Owner | None:
        identity = self.store.identity
        known = identity or self.store.unwritten  # it would have one by now
        return Owner(identity, self.store.path.resolve()) if known else None

    def _digest(self, exempt: Networks) -> str:
        """Return a text that stands for all that a plan depends on besides the bans.

        Plugins' settings may hold secrets, and lists may be long: of those it holds a digest.
        """
        config = self.setup.config
        networks = " ".join(map(str, (*collapse(self.setup.whitelisted), "/", *exempt)))
        settings = repr(config.backend) if config.backend else ""
        if settings or len(networks) > _LONG:
            from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, which most passes can spare

            networks = sha256(f"{settings} {networks}".encode()).hexdigest()
        return f"{__version__} {config.treason.min_prefix} {networks} {self.store.path}"
