"""How the writer stores what a source brought: by the very steps of a pass, one batch at a time."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Final

from attrs import define, field, frozen

from reconciler.config.setup import Setup
from reconciler.daemon.batch import Batch
from reconciler.daemon.reflex import Reflex
from reconciler.daemon.view import seconds_left
from reconciler.errors import StoreError, guarded, said
from reconciler.host.clock import Clock
from reconciler.interfaces import PacedSource, Source, WakingSource
from reconciler.log import Log
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.passes.reading import Reading
from reconciler.passes.recognise import Recognition
from reconciler.passes.run import Pass
from reconciler.passes.scan import Scanner
from reconciler.planning.desired import collapse
from reconciler.store.store import Store

MINUTE: Final = 60.0
"""Seconds after which a source without a descriptor is read again, unless it says otherwise."""

_SOONEST: Final = 0.1
"""Seconds after which it is read again at the soonest, whatever it says."""

_FEW: Final = 256
"""Bans of which feeds tell others before they are stored, at most."""

_log = Log("storing")


@frozen(eq=False)
class Ways:
    """What the writer goes by: the set-up, who decides, what recognises."""

    setup: Setup
    reflex: Reflex
    recognition: Recognition


@frozen(eq=False)
class Kept:
    """What became of a batch.

    ``cursor`` is the one that is stored now. ``bans`` are the networks that are banned, ``new`` of
    them had no ban. ``unfounded`` were dropped, and nothing that is stored says so. ``overtaken``:
    somebody else has read the source meanwhile, so it is to be read again from the cursor.
    ``unwritten`` says why nothing was stored, ``error`` why the source was refused. ``closing``:
    there are connections to be closed; ``waits``: messages are to be looked at again. ``ends`` are
    the seconds until the next ban ends, ``due`` those until a source that nothing wakes is to be
    read again.
    """

    batch: Batch
    cursor: str | None = None
    bans: Networks = NOTHING
    new: int = 0
    unfounded: Networks = NOTHING
    overtaken: bool = False
    unwritten: str = ""
    error: str = ""
    closing: bool = False
    waits: bool = False
    ends: float | None = None
    due: float = MINUTE


class _UndoneError(Exception):
    """Nothing of the transaction is to stay."""


def _undo(*, if_: bool) -> None:
    if if_:
        raise _UndoneError


@define(eq=False)
class Storing:
    """Stores batches in an open store, at the time of a ``clock``.

    ``decided`` is told of the bans before they are committed, with what they were made of.
    ``made`` counts the new bans of the last minute. What feeds are to tell others is given
    ``ahead`` of the commit: those who hear of it need not wait for our disk.
    """

    store: Store
    ways: Ways
    clock: Clock
    decided: Callable[[Batch, Networks], object]
    made: int = 0
    ahead: bool = True
    _source: Source | None = field(default=None, init=False)
    _bans: bool = field(default=False, init=False)

    def keep(self, batch: Batch) -> Kept:
        """Store a batch, its bans and its cursor, in one transaction."""
        self._source, stored = None, self.store.cursors.get(batch.source)
        if batch.records is not None and stored != batch.start:
            return Kept(batch, stored, overtaken=True, unfounded=self._unfounded(batch))
        writable = self.store.unwritten is None
        try:
            with self.store.transaction() if writable else nullcontext():
                since = self.store.carried.last_event
                reading = self._scanned(batch)
                bans = collapse(ban.network for ban in reading.bans)
                if bans:
                    self.decided(batch, bans)
                _undo(if_=bool(self.store.unwritten or reading.error))
                unfounded = self._unfounded(batch)
                given = self._publish_ahead([ban.network for ban in reading.bans], since)
        except _UndoneError:
            return self._not_kept(batch, stored, reading)
        except StoreError as error:  # the commit itself failed
            self.store.unwritten = error
            return self._not_kept(batch, stored, Reading(batch.source))
        self._bans |= bool(bans)
        self._settle(given)
        return Kept(
            batch,
            self.store.cursors.get(batch.source),
            bans,
            reading.new,
            unfounded,
            waits=reading.waiting > 0,
            closing=bool(reading.bans) and bool(self.store.closings.expected()),
            ends=seconds_left(self.store, self.clock.now),
            due=guarded(self._due, self._not_due, batch.source),
        )

    def publish(self) -> None:
        """Write to their outboxes what feeds are to tell others of the bans that were stored."""
        if self._bans:
            Pass(self.ways.setup, self.store, self.clock.now).publish()

    def _publish_ahead(self, bans: Sequence[Network], since: int) -> list[str]:
        """Write for feeds what they are to tell; what cannot be written now, `publish` does."""
        few = self.ahead and 0 < len(bans) <= _FEW
        feeds = self.ways.setup.publishing if few else {}
        if not feeds:
            return []
        from reconciler.passes.publishing import publish_ahead  # noqa: PLC0415 - few do

        try:
            return publish_ahead(self.store, feeds, bans, self.clock.now, since)
        except StoreError as error:
            _log.info("published behind the commit: %s", error)
            return []

    def _settle(self, feeds: Sequence[str]) -> None:
        """Take notice that what was given them is stored."""
        if feeds:
            from reconciler.passes.publishing import settle  # noqa: PLC0415 - as above

            with suppress(StoreError):  # then all is given anew
                settle(self.store, feeds, self.clock.now)

    def _not_kept(self, batch: Batch, stored: str | None, reading: Reading) -> Kept:
        unwritten = str(self.store.unwritten or "")
        return Kept(
            batch,
            stored,
            unwritten=unwritten,
            error="" if unwritten else reading.error,
            due=guarded(self._due, self._not_due, batch.source),
        )

    def _scanned(self, batch: Batch) -> Reading:
        """Let a pass's scanner read the batch."""
        config, reflex = self.ways.setup.config, self.ways.reflex
        this = Pass(self.ways.setup, self.store, self.clock.now, sources={batch.source: batch.made})
        scanner = Scanner(
            store=self.store,
            policy=reflex.policy,
            now=self.clock.now,
            write=True,
            recognition=self.ways.recognition,
            rules=self.ways.setup.rules,
            exempt=reflex.exempt,
            timeout=config.treason.pass_timeout,
            clock=self.clock,
            enforced=True,
            made=self.made,
            confirming=this.confirming(reflex.policy),
        )
        [reading] = scanner.scan({batch.source: lambda: self._made(batch)})
        if isinstance(self._source, WakingSource) and not batch.keeps:
            guarded(self._source.close, lambda _error: None, batch.source)
        return reading

    def _made(self, batch: Batch) -> Source:
        self._source = batch.made()
        return self._source

    def _due(self) -> float:
        """Return in how many seconds the source that was read is to be read again."""
        source = self._source
        if not isinstance(source, PacedSource):
            return MINUTE
        return max(_SOONEST, float(source.due()))

    def _not_due(self, error: BaseException) -> float:
        _log.warning("a source does not tell when it is due: %s", said(error))
        return MINUTE

    def _unfounded(self, batch: Batch) -> Networks:
        """Return what was dropped for the batch, and is not banned."""
        known = self.store.bans.ends(batch.dropped, self.clock.now) if batch.dropped else {}
        return Networks.of(each for each in batch.dropped if each not in known)
