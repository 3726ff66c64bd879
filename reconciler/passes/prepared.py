"""What the backends of a pass are to hold, as far as the database can be read."""

from collections.abc import Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from attrs import frozen

from reconciler import __version__
from reconciler.config.setup import Setup
from reconciler.model import Desired
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.passes.enforce import Goal
from reconciler.passes.marking import Marking
from reconciler.passes.recall import Recall
from reconciler.planning.desired import collapse, desired
from reconciler.planning.guard import Guard
from reconciler.planning.ownership import Owner
from reconciler.planning.plan import Causes
from reconciler.planning.whitelist import Exemption
from reconciler.store.bans import Exceptions, NotEnforced
from reconciler.store.store import Store

if TYPE_CHECKING:
    from reconciler.passes.run import Options

_LONG: Final = 4000
"""Characters from which on a list of networks is digested."""


@frozen(eq=False)
class Prepared:
    """What the backends of a pass are to hold; it is of use as long as the store is open."""

    goal: Goal
    refused: NotEnforced
    protected: list[Exemption]


@frozen(eq=False)
class Preparation:
    """It is prepared at ``now`` (epoch seconds).

    What is found to be damaged, now or once all is read, is noted in `Store.damage`.
    """

    setup: Setup
    store: Store
    now: int
    options: "Options"

    def prepared(self, protected: list[Exemption], new: Iterable[Network]) -> Prepared:
        """Return what is prepared, with ``new`` bans besides what is stored."""
        main, store = self.setup.config.treason, self.store
        allows = main.min_prefix.allows
        kept = [entry.network for entry in protected]
        exceptions = store.attempt_to_read(partial(store.bans.exceptions, self.now, allows))
        extra = Networks.of([*new, *(exceptions.untidy if exceptions else ())])

        @cache
        def whole() -> Desired:
            banned, found = store.integrity.networks(self.now, exceptions, allows)
            store.damage += [each for each in found if each not in store.damage]
            if found and self.options.write:
                store.attempt(store.changes.doubt)  # so that the next pass finds it, too
            return desired(banned | extra, self.setup.whitelisted, kept)

        causes = partial(self._causes, kept, exceptions)
        exempt = collapse([*self.setup.whitelisted, *kept])
        recall = partial(
            Recall,
            store=store,
            now=self.now,
            digest=self._digest(exempt),
            resync=main.resync_interval,
            exempt=exempt,
            allows=allows,
            extra=extra,
            whole=whole,
            write=self.options.write,
        )
        share = float("inf") if self.options.force else main.max_removals
        goal = Goal(
            whole=whole,
            guard=Guard(share, causes, lambda: bool(store.damage)),
            knowledge=None if store.damage else store.attempt_to_read(recall),
            protected=kept,
            full=self.options.full,
            render=self.options.render,
            owner=self._owner,
            takes_over=self.options.force,
            marking=Marking(store, causes, adopt=self.options.adopt, writable=self.options.write),
        )
        return Prepared(goal, exceptions.refused if exceptions else NotEnforced(), protected)

    def _causes(self, kept: list[Network], exceptions: Exceptions | None) -> Causes:
        """Return what may explain removals; where that is damaged, nothing does."""
        events = self.store.attempt_to_read(partial(self.store.history.last_events, self.now))
        if events is None:
            return Causes(exempt=kept)
        lifted, banned = events
        refused = Networks.of(exceptions.skipped if exceptions else ())  # by a new min_prefix
        return Causes(lifted | refused, banned - refused, kept)

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
        networks = " ".join(map(str, (*collapse(self.setup.whitelisted), "/", *exempt)))
        settings = repr(config.backend) if config.backend else ""
        if settings or len(networks) > _LONG:
            from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, which most passes can spare

            networks = sha256(f"{settings} {networks}".encode()).hexdigest()
        return f"{__version__} {config.treason.min_prefix} {networks} {self.store.path}"
