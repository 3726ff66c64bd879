"""One pass, whole: settle what has ended, read the sources, desire, and bring backends in line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from reconciler.config.setup import Setup
from reconciler.detection.policy import Policy
from reconciler.errors import StoreError
from reconciler.host.clock import SURE, Clock, look
from reconciler.interfaces import Backend, Source, Spec
from reconciler.networks import Networks
from reconciler.passes import traces
from reconciler.passes.access import apart, protection, teredo
from reconciler.passes.enforce import Outcome, State, enforce
from reconciler.passes.prepared import Preparation, Prepared
from reconciler.passes.resident import Resident
from reconciler.planning.desired import collapse
from reconciler.planning.whitelist import Exemption
from reconciler.store.bans import NotEnforced
from reconciler.store.pauses import Pause
from reconciler.store.store import Store

if TYPE_CHECKING:
    from reconciler.passes.closing import ClosingResult
    from reconciler.passes.confirming import Confirming
    from reconciler.passes.reading import Reading
    from reconciler.passes.taking import FeedReading, Taken


@frozen(eq=False)
class Options:
    """How a pass is made.

    With ``check`` backends are only compared; without ``write`` nothing is stored. ``force`` skips
    the limits on new bans and on removals. ``full`` and ``render`` are those of `Goal`, ``adopt``
    is that of `Marking`. With ``again`` sources are read from their beginning, on purpose.
    ``accepted`` are the feeds that may exceed, this once, what a person may allow them.
    """

    check: bool = False
    write: bool = True
    force: bool = False
    full: bool = False
    render: bool = False
    adopt: bool = False
    again: bool = False
    accepted: frozenset[str] = frozenset()


@frozen(eq=False)
class PassResult:
    """What a pass found and did, at ``now`` (epoch seconds).

    ``ended`` are the networks of bans that ended since the last pass, ``damage`` is what of the
    database cannot be read. The rest is empty where no backend was asked for: ``refused`` are the
    stored bans that are not enforced, ``protected`` is what is never dropped besides the whitelist.
    ``doubt`` tells why the clock is not believed. ``unwritten`` is why something was not stored
    that should have been, and is empty otherwise. ``closing`` tells which connections were closed.
    ``unasked`` is why the daemon could not be asked, and is empty otherwise.
    ``silenced`` are rules that ban nobody any more, of which no pass has told before. While
    everything was ``paused``, nothing was enforced. ``feeds`` are those that were looked at.
    """

    now: int
    ended: list[str]
    readings: "list[Reading]"
    outcomes: list[Outcome]
    refused: NotEnforced
    protected: list[Exemption]
    doubt: str = ""
    damage: list[str] = field(factory=list)
    unwritten: str = ""
    closing: "ClosingResult | None" = None
    unasked: str = ""
    silenced: list[str] = field(factory=list)
    paused: Pause | None = None
    feeds: "list[FeedReading]" = field(factory=list)

    @property
    def failed(self) -> bool:
        """Whether a source, feed, backend, the database or the daemon could not do its work."""
        if self.damage or self.unwritten or self.unasked or any(each.error for each in self.feeds):
            return True
        readings = any(reading.error for reading in self.readings)
        return readings or any(outcome.failure for outcome in self.outcomes)

    @property
    def drifted(self) -> bool:
        """Whether a backend was found to differ, and was not corrected."""
        return any(outcome.state is State.DRIFT for outcome in self.outcomes)


@frozen(eq=False)
class Pass:
    """A pass at ``now`` (epoch seconds) over the named sources and backends.

    It is made behind the lock, and run once. While the ``clock`` is in doubt, nothing that ended
    is moved or forgotten. The ``resident`` is the daemon to ask.
    """

    setup: Setup
    store: Store
    now: int
    sources: Mapping[str, Callable[[], Source]] = field(factory=dict)
    backends: Mapping[str, Callable[[], Backend]] = field(factory=dict)
    options: Options = Options()
    clock: Clock = SURE
    resident: Resident | None = None

    def run(self) -> PassResult:
        """Make the pass. Raise `TreasonError` for what it cannot do without."""
        paused = self._begun(must_exempt=bool(self.sources))
        if self.options.write and self.backends and not paused:
            traces.remember(self.setup, self.store)
        ended = self._settle()
        taken = self._take() if self.backends else None
        protected = self._protection()
        readings = self._scan(protected) if self.sources else []
        silenced = self._silenced()
        outcomes: list[Outcome] = []
        refused = NotEnforced()
        closing = None
        if self.backends:
            new = [ban.network for reading in readings for ban in reading.bans]
            event = self.store.attempt_to_read(lambda: self.store.carried.last_event) or 0
            fed = taken.held if taken else None
            prepared = evolve(self._preparation, fed=fed).prepared(protected, new, paused)
            outcomes = list(enforce(self.backends, prepared.goal, check=self.options.check))
            refused = prepared.refused
            self._carried_out(outcomes, event)
            if not (self.options.check or self.store.damage or paused):
                close = partial(self._close, outcomes, protected)
                closing = self.store.attempt_to_read(close)
        if self.options.write and not self.store.damage:
            self.publish()
            self.store.attempt(self.store.compact)  # when all that matters is done
        return PassResult(
            now=self.now,
            ended=ended,
            readings=readings,
            outcomes=outcomes,
            refused=refused,
            protected=protected,
            doubt=self.clock.doubt,
            damage=self.store.damage,
            unwritten=self._unwritten,
            closing=closing,
            unasked=self._unasked,
            silenced=silenced,
            paused=paused,
            feeds=taken.readings if taken else [],
        )

    def prepare(self) -> Prepared:
        """Return what every backend is to hold, from what is stored; read no source."""
        paused = self._begun()
        return self._preparation.prepared(self._protection(), (), paused)

    def _begun(self, *, must_exempt: bool = False) -> Pause | None:
        """Note what cannot be read, and return the pause, if there is one.

        A mark that cannot be read is not a pause. A whitelist that is gone is an error where it is
        needed: not to enforce nothing.
        """
        self.store.damage = self.store.integrity.unreadable()
        paused = self.store.attempt_to_read(partial(self.store.pauses.active, self.now))
        if must_exempt or not paused:
            traces.check_whitelist(self.setup, self.store)
        return paused

    @property
    def _preparation(self) -> Preparation:
        return Preparation(self.setup, self.store, self.now, self.options, self.resident)

    def _protection(self) -> list[Exemption]:
        """Return who is protected: of those who came through ssh, the ones that can be read."""
        clients = self.store.attempt_to_read(partial(self.store.clients.active, self.now))
        banned = self.store.attempt_to_read(partial(teredo, self.store, self.now))
        return protection(self.setup, clients or [], banned or [])

    def _settle(self) -> list[str]:
        """Move the bans that have ended to the history, and prune; return their networks.

        What cannot be written keeps no pass from enforcing: they do not count any more, moved or
        not.
        """
        ended = self.store.attempt_to_read(partial(self.store.bans.ended, self.now)) or []
        policy, tables = self.setup.config.policy, self.setup.config.rule
        rules = self.setup.rules if tables else ()  # the built-in windows are a day at most
        if self.clock.doubt or self.store.damage:
            return []  # they do not count any more, and count again should that be wrong
        if not self.options.write:
            return ended
        windows = [rule.policy.window for rule in rules if rule.policy is not None]
        kept = max(policy.keep_offences, policy.window, *windows)
        main = self.setup.config.treason
        attempt, prune = self.store.attempt, self.store.prune
        attempt(partial(self.store.carried.begin, self.backends, self.now))
        attempt(partial(self.store.bans.expire, self.now))
        attempt(partial(self.store.feeds.expire, self.now))
        attempt(partial(self.store.pauses.tidy, self.now))
        seen, give_up = look(), self.store.unconfirmed.give_up
        attempt(partial(give_up, main.sources, seen.boot.replace("-", ""), seen.uptime))
        attempt(partial(prune, self.now, kept, policy.keep_history, main.backends))
        attempt(partial(self.store.changes.forget, self.now - main.resync_interval))
        return ended

    def _carried_out(self, outcomes: Iterable[Outcome], event: int) -> None:
        """Remember which backends have carried out all that the history told.

        A history that cannot be read may have told more.
        """
        done = [each.backend for each in outcomes if not each.failure]
        if self.options.write and not self.options.check and not self.store.damage:
            self.store.attempt(partial(self.store.carried.verify, done, event, self.now))

    def _close(
        self, outcomes: Iterable[Outcome], protected: Iterable[Exemption]
    ) -> "ClosingResult | None":
        """Close connections of who is verifiably dropped now, and of who was spared.

        A ban that could not be stored closes nothing: what led to it is needed to ban again.
        """
        expected = self.store.closings.expected()
        if not expected:
            return None
        from reconciler.passes.closing import Closer, allowed  # noqa: PLC0415 - most close nothing

        known = self.setup.plugins.backends
        dropping = {name for name, plugin in known.items() if plugin.drops_packets}
        verified = (
            each.versions
            for each in outcomes
            if not each.failure and Spec.parse(each.backend).name in dropping
        )
        closer = Closer(
            store=self.store,
            now=self.now,
            versions=frozenset().union(*verified),
            exempt=self._exempt(protected),
            allows=partial(allowed, self.setup.config),
            write=self.options.write and not self.store.unwritten,
        )
        return closer.close(expected)

    def _exempt(self, protected: Iterable[Exemption]) -> Networks:
        """Return who is never dropped, collapsed."""
        return collapse(
            [*self.setup.whitelisted(self.now), *(entry.network for entry in protected)]
        )

    def _scan(self, protected: Sequence[Exemption]) -> "list[Reading]":
        """Read the sources into the store."""
        from reconciler.passes.recognise import Recognition  # noqa: PLC0415 - see below
        from reconciler.passes.scan import Scanner  # noqa: PLC0415 - a pass may read no source

        again = None
        if self.options.again:
            from reconciler.passes.again import Again  # noqa: PLC0415 - one command asks for it

            again = Again(self.store)
        config, policy = self.setup.config, apart(self.setup, protected)
        scanner = Scanner(
            store=self.store,
            policy=policy,
            now=self.now,
            write=self.options.write,
            recognition=Recognition(
                userspace=config.trust.userspace,
                listeners_only=config.policy.listeners_only,
                nat64=config.protect.prefixes,
            ),
            force=self.options.force,
            rules=self.setup.rules,
            exempt=self._exempt(protected),
            timeout=config.treason.pass_timeout,
            clock=self.clock,
            enforced=bool(self.backends),
            confirming=self.confirming(policy),
            again=again,
        )
        return list(scanner.scan(self.sources))

    def _take(self) -> "Taken | None":
        """Take what feeds say; None where there is none, and was none."""
        feeds = self.setup.feeds
        known = self.store.attempt_to_read(self.store.feeds.states)
        if known is None or not (feeds or known):
            return None
        from reconciler.passes.taking import Taker  # noqa: PLC0415 - many configurations have none

        write, doubted = self.options.write and not self.store.damage, bool(self.clock.doubt)
        taker = Taker(self.store, self.now, write, doubted, self.options.accepted)
        return self.store.attempt_to_read(partial(taker.take, feeds, known))

    def publish(self) -> None:
        """Write to their outboxes what feeds are to tell others of the stored bans."""
        if publishing := self.setup.publishing:
            from reconciler.passes.publishing import publish  # noqa: PLC0415 - few do

            self.store.attempt(partial(publish, self.store, publishing, self.now))

    def _silenced(self) -> list[str]:
        """Return which rules ban nobody any more, once: an older configuration has them."""
        rules = self.setup.silenced() if self.setup.config.rule and self.sources else []
        if not (rules and self.setup.live(self.sources)):
            return []
        untold = self.store.attempt_to_read(partial(self.store.unconfirmed.untold, rules)) or []
        if self.options.write and untold:
            self.store.attempt(partial(self.store.unconfirmed.tell, untold))
        return untold

    def confirming(self, policy: Policy) -> "Confirming | None":
        """Return what confirms messages, where some source's are to be."""
        from reconciler.passes.confirming import Confirming  # noqa: PLC0415 - as above

        mode, live = self.setup.config.trust.confirm, self.setup.live(self.sources)
        if not live:
            return None
        witness, judging = self.setup.witness()
        return Confirming(
            store=self.store,
            policy=policy,
            rules=self.setup.rules,
            now=self.now,
            live=live,
            mode=mode,
            make_witness=witness,
            judging=judging,
        )

    @property
    def _unasked(self) -> str:
        """Return why the daemon could not be asked."""
        silence = self.resident.silence if self.resident else ""
        return silence and f"removing nothing: {silence}"

    @property
    def _unwritten(self) -> str:
        """Return why not everything was stored."""
        error = self.store.unwritten
        if error is None:
            return ""
        what = f"{error.what}; the pass went on, but not all was stored"
        return str(StoreError(what, error.hint))
