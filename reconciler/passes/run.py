"""One pass, whole: settle what has ended, read the sources, desire, and bring backends in line."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from reconciler import __version__
from reconciler.config.setup import Setup
from reconciler.errors import StoreError
from reconciler.interfaces import Backend, Source
from reconciler.log import Log
from reconciler.model import Desired
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.passes.access import protection
from reconciler.passes.enforce import Goal, Outcome, enforce
from reconciler.passes.recall import Recall
from reconciler.planning.desired import collapse, desired
from reconciler.planning.guard import Guard
from reconciler.planning.plan import Causes
from reconciler.planning.whitelist import Exemption
from reconciler.store.store import Store

if TYPE_CHECKING:
    from reconciler.passes.scan import Reading

_log = Log("pass")
_LONG: Final = 1000
"""Characters from which on a digest stands for a text."""


@frozen(eq=False)
class Options:
    """How a pass is made.

    ``check`` changes nothing anywhere. ``force`` lifts the limits on new bans and on removals.
    ``full`` and ``render`` are those of `Goal`.
    """

    check: bool = False
    force: bool = False
    full: bool = False
    render: bool = False


@frozen(eq=False)
class PassResult:
    """What a pass found and did.

    ``ended`` are the networks of bans that ended since the last pass, ``refused`` the stored bans
    that are not enforced, ``protected`` what is never dropped besides the whitelist.
    """

    now: int
    ended: list[str]
    readings: "list[Reading]"
    outcomes: list[Outcome]
    refused: list[str]
    protected: list[Exemption]
    desired: Callable[[], Desired]


@frozen(eq=False)
class Pass:
    """A pass at ``now`` (epoch seconds) over the named sources and backends.

    It is made behind the lock, and run once.
    """

    setup: Setup
    store: Store
    now: int
    sources: Mapping[str, Callable[[], Source]] = field(factory=dict)
    backends: Mapping[str, Callable[[], Backend]] = field(factory=dict)
    options: Options = Options()

    def run(self) -> PassResult:
        """Make the pass. Raise `TreasonError` for what it cannot do without."""
        ended = self._settle()
        protected = protection(self.setup, self.store, self.now)
        readings = self._scan(protected) if self.sources else []
        new = [ban.network for reading in readings for ban in reading.bans]
        goal, refused = self._goal(protected, new)
        outcomes = list(enforce(self.backends, goal, check=self.options.check))
        return PassResult(
            now=self.now,
            ended=ended,
            readings=readings,
            outcomes=outcomes,
            refused=refused,
            protected=protected,
            desired=goal.whole,
        )

    def goal(self) -> tuple[Goal, list[str]]:
        """Return what every backend is to hold, and the stored bans that are not enforced."""
        return self._goal(protection(self.setup, self.store, self.now), ())

    def _settle(self) -> list[str]:
        """Move the bans that have ended to the history, and prune; return their networks.

        A full disk does not keep a pass from enforcing: they do not count any more, moved or not.
        """
        ended = self.store.bans.ended(self.now)
        if self.options.check:
            return ended
        policy = self.setup.config.policy
        windows = [rule.policy.window for rule in self.setup.rules if rule.policy is not None]
        try:
            self.store.bans.expire(self.now)
            kept = max(policy.keep_offences, policy.window, *windows)
            self.store.prune(self.now, kept, policy.keep_history)
        except StoreError as error:
            _log.warning("%s", error)
        return ended

    def _scan(self, protected: Iterable[Exemption]) -> "list[Reading]":
        """Read the sources into the store."""
        from reconciler.passes.scan import Scanner  # noqa: PLC0415 - a pass may read no source

        exempt = [*self.setup.whitelisted, *(entry.network for entry in protected)]
        scanner = Scanner(
            store=self.store,
            policy=self.setup.config.policy,
            now=self.now,
            write=not self.options.check,
            userspace=self.setup.config.trust.userspace,
            force=self.options.force,
            rules=self.setup.rules,
            exempt=collapse(exempt),
        )
        return list(scanner.scan(self.sources))

    def _goal(
        self, protected: Iterable[Exemption], new: Iterable[Network]
    ) -> tuple[Goal, list[str]]:
        """Return the goal, with ``new`` bans besides what is stored; see `goal`."""
        main = self.setup.config.treason
        allows = main.min_prefix.allows
        kept = [entry.network for entry in protected]
        untidy, refused = self.store.bans.exceptions(self.now, allows)
        extra = Networks.of([*new, *untidy])

        @cache
        def whole() -> Desired:
            banned, _ = self.store.bans.networks(self.now, allows)
            return desired(banned | extra, self.setup.whitelisted, kept)

        def causes() -> Causes:
            return Causes(*self.store.history.last_events(self.now), kept)

        exempt = collapse([*self.setup.whitelisted, *kept])
        if not self.options.check:
            with suppress(StoreError):  # a full disk does not keep a pass from enforcing
                self.store.changes.forget(self.now - main.resync_interval)
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
                write=not self.options.check,
            ),
            full=self.options.full,
            render=self.options.render,
        )
        return goal, refused

    def _digest(self, exempt: Iterable[Network]) -> str:
        """Return a text that stands for all that a plan depends on besides the bans."""
        config = self.setup.config
        passed = collapse(self.setup.whitelisted)
        networks = [" ".join(map(str, each)) for each in (passed, exempt)]
        text = repr((__version__, config.treason.min_prefix, config.backend, *networks))
        if len(text) < _LONG:
            return text
        from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, which a small pass can spare

        return sha256(text.encode()).hexdigest()
