"""A source that is waited for: read from where it was read last, acted on, handed to the writer."""

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import Final, Protocol

from attrs import evolve

from reconciler.daemon.batch import MOST, Batch
from reconciler.daemon.heeding import Heeding
from reconciler.daemon.loop import Loop
from reconciler.daemon.preparing import makes_the_same
from reconciler.daemon.storing import MINUTE, Kept, Ways
from reconciler.daemon.telling import failure, say
from reconciler.detection.detect import Rule
from reconciler.errors import SourceUnreadable, guarded
from reconciler.interfaces import HeedingSource, Source, WakingSource
from reconciler.log import WARNING
from reconciler.model import Offence, Record
from reconciler.networks import NOTHING, Networks
from reconciler.passes.reading import Tally
from reconciler.passes.scan import is_for, notes_of

_CHUNK: Final = 256
"""Records that are read before what they tell is acted on."""

_SENSELESS, _WITHIN = 200, 1.0
"""Wake-ups that move no cursor, and within how many seconds: then it is left alone for a while."""

_REST: Final = 0.1
"""Seconds of that while: what a busy pipe brings meanwhile is read behind it."""

_WAITING: Final = 5.0
"""Seconds between two looks at what live messages tell of, until they are confirmed or not."""

_SELDOM: Final = 600.0
"""Seconds after which a cursor is stored that no offence has moved."""


class Daemon(Protocol):
    """What a watched source needs of the daemon."""

    loop: Loop

    def ways(self) -> Ways:
        """Return what to go by, as the files are now."""

    def drop(self, source: str, networks: Networks) -> None:
        """Drop these networks now."""

    def pending_of(self, source: str) -> Networks:
        """Return what is in force for a source, and not stored yet."""

    def store(self, batch: Batch) -> None:
        """Hand a batch to the writer."""

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""


class Watch:
    """Reads one source, when its descriptor wakes, or when its time has come.

    A source that cannot be read is read by the writer as in a pass, until that succeeds. So is one
    that brings more than is to be held; who offends there is dropped here as well. One that judges
    by itself always is, as what it suspects is stored; what wakes it is heeded.
    """

    def __init__(self, name: str, make: Callable[[], Source], daemon: Daemon) -> None:
        self.name = name
        self._make, self._daemon, self._loop = make, daemon, daemon.loop
        self.heeding = Heeding(name, daemon)
        self._source: WakingSource | None = None
        self._descriptor = -1
        self._cursor: str | None = None
        self._handed: str | None = None
        self._handed_at = 0.0
        self._notes: tuple[str, ...] = ()
        self._senseless: deque[float] = deque(maxlen=_SENSELESS)
        self._timed = self._closed = self._read_once = self._behind = False

    @property
    def awake(self) -> bool:
        """Whether a descriptor wakes it."""
        return self._source is not None or self.heeding.is_awake

    def reads_as(self, make: Callable[[], Source]) -> bool:
        """Whether what is made so reads the same in the same way."""
        return makes_the_same(self._make, make)

    def attach(self, before: "Watch | None" = None) -> None:
        """Be woken by a source that judges by itself; as ``before``, if that one reads the same."""
        same = before is not None and before is not self and before.reads_as(self._make)
        self.heeding.attach(self._make, before.heeding if before and same else None)

    def begin(self, cursor: str | None) -> None:
        """Wait for it, from this cursor on, and read what has come already."""
        if self._closed or self._source is not None or self.heeding.begin(self._not_heeded):
            return
        source = guarded(self._make, self._refused, self.name)
        if isinstance(source, HeedingSource):
            self._not_heeded()
        elif isinstance(source, WakingSource) and cursor is None and not self._read_once:
            self._read_once = True  # all that there is may be much
            self._read_by_writer()
        elif isinstance(source, WakingSource):
            self._cursor = self._handed = cursor
            self._behind = False
            self._handed_at = time.monotonic()
            self._source = source
            guarded(partial(self._wait_for, source), self._failed, self.name)
            self.read()
            if self.name in self._daemon.ways().reflex.live:  # some may wait since before
                self._loop.soon(_WAITING, f"waiting {self.name}", self._ask_again)
        elif source is not None:
            self._timed = True
            self._read_by_writer()

    def instead_of(self, other: "Watch | None") -> "Watch":
        """Return the other one, if it reads the same in the same way; else this one."""
        return other if other and other.reads_as(self._make) else self

    def close(self) -> None:
        """Wait for it no more."""
        self._closed = True
        self._loop.never(f"source {self.name}")
        self._loop.never(f"waiting {self.name}")
        self.heeding.close()
        self._leave()

    def read(self) -> Networks:
        """Act on what has come, and hand it to the writer; return what was dropped for it."""
        if self._source is None:
            return NOTHING
        return guarded(partial(self._read, self._source), self._unread, self.name)

    def kept(self, kept: Kept) -> Networks:
        """Take what became of a batch; return what was dropped, and without any ground."""
        if kept.waits:
            self._loop.soon(_WAITING, f"waiting {self.name}", self._ask_again)
        if kept.batch.records is None:
            return self._kept_whole(kept)
        if kept.error:  # as more new bans than are allowed: it is to be read again as a whole
            self._failed_with(kept.error)
            return NOTHING
        if kept.unwritten:
            if len(kept.batch.records) > MOST:  # which the writer does not keep
                self._fall_behind()
        elif kept.overtaken and not self._behind:
            return self._catch_up(kept)
        return kept.unfounded

    def _kept_whole(self, kept: Kept) -> Networks:
        """Go on behind what the writer has read."""
        if self.heeding.kept(kept.error, stored=not (kept.error or kept.unwritten)):
            return kept.unfounded
        self._daemon.trouble(self.name, kept.error)
        if kept.unwritten and self._source is None and not self._timed:
            self.begin(kept.cursor)  # who offends now is dropped all the same
        elif kept.error or kept.unwritten or self._timed:
            self._later(kept.due)
        elif self._source is None:
            self.begin(kept.cursor)
        else:
            return self._catch_up(kept)
        return kept.unfounded

    def _wait_for(self, source: WakingSource) -> Networks:
        descriptor = source.fileno()
        os.fstat(descriptor)  # which fails where nobody has it open
        self._loop.watch(descriptor, select.POLLIN, self._woken)
        self._descriptor = descriptor
        return NOTHING

    def _woken(self) -> None:
        before = self._cursor
        self.read()
        if self._cursor != before:
            self._senseless.clear()
            return
        now = time.monotonic()
        self._senseless.append(now)
        if len(self._senseless) == _SENSELESS and now - self._senseless[0] < _WITHIN:
            self._senseless.clear()
            self._loop.forget(self._descriptor)
            self._loop.soon(_REST, f"source {self.name}", self._go_on)

    def _go_on(self) -> None:
        """Wait for it again, and read what came meanwhile."""
        if self._source is not None:
            guarded(partial(self._wait_for, self._source), self._failed, self.name)
        self.read()

    def _read(self, source: WakingSource) -> Networks:
        dropped: list[Networks] = []
        records: list[Record] = []
        rules = self._rules(self._daemon.ways())
        coming = iter(source.read(self._cursor, [rule.needle for rule in rules]))
        while some := [*islice(coming, _CHUNK)]:
            ways = self._daemon.ways()
            found = [*self._recognised(some, ways)]
            networks = ways.reflex.dropped(self.name, (offence for _, offence in found))
            if networks:
                self._daemon.drop(self.name, networks)
                dropped.append(networks)
            records += [record for record, _ in found]
            if len(records) > MOST:
                self._fall_behind()
                records.clear()
        self._hand_over(source.cursor(), records, _all(dropped))
        self._daemon.trouble(self.name, "")
        self._note(source)
        return _all(dropped)

    def _note(self, source: WakingSource) -> None:
        """Print what the source notes, as that records were lost; the same again is not printed."""
        before, self._notes = self._notes, notes_of(self.name, source)
        for note in self._notes:
            if note not in before:
                say(f"{self.name}: {note}", WARNING)

    def _rules(self, ways: Ways) -> list[Rule]:
        return [rule for rule in ways.setup.rules if is_for(rule, self.name)]

    def _recognised(
        self, records: Sequence[Record], ways: Ways
    ) -> Iterator[tuple[Record, Offence]]:
        """Yield the records that are offences, as a pass recognises them."""
        rules, tally = self._rules(ways), Tally()
        recognition = evolve(ways.recognition, listening=cache(ways.recognition.listening))
        for record in records:
            for offence in recognition.offences((record,), rules, tally):
                yield record, offence

    def _hand_over(self, end: str | None, records: list[Record], dropped: Networks) -> None:
        """Let the writer store the records, and the cursor behind them."""
        self._cursor = self._cursor if end is None else end
        if self._behind:
            return
        now = time.monotonic()
        moved = self._cursor != self._handed and now - self._handed_at > _SELDOM
        if records or moved:
            batch = Batch(self.name, self._handed, self._cursor, tuple(records), dropped)
            self._handed, self._handed_at = self._cursor, now
            self._daemon.store(batch)

    def _ask_again(self) -> None:
        """Let the writer look at the messages that wait to be confirmed."""
        if self._source is not None and not self._behind:
            self._daemon.store(Batch(self.name, self._handed, self._cursor, ()))
            self._handed = self._cursor

    def _fall_behind(self) -> None:
        """Let the writer read what is not stored yet: here offenders are dropped, and forgotten."""
        if not self._behind:
            self._behind = True
            self._read_by_writer()

    def _catch_up(self, kept: Kept) -> Networks:
        """Read on behind what is stored; return what was dropped, and without any ground."""
        if self._source is None:
            return kept.unfounded
        left = self._daemon.pending_of(self.name) if self._behind else NOTHING
        self._behind = False
        self._cursor = self._handed = kept.cursor
        again = self.read()
        if left := left - again:  # a pass may have stored it, and nothing tells of it any more
            self._daemon.store(Batch(self.name, self._handed, self._handed, (), left))
        return kept.unfounded - again

    def _read_by_writer(self) -> None:
        if not self._closed:
            dropped = self._daemon.pending_of(self.name)
            self._daemon.store(Batch(self.name, None, None, None, dropped, make=self._unwaiting))

    def _unwaiting(self) -> Source:
        """Make it for the writer, whom nothing interrupts: it is not to wait for a pipe's end."""
        source = self._make()
        if isinstance(source, WakingSource) and not isinstance(source, HeedingSource):
            guarded(source.fileno, lambda _error: -1, self.name)
        return source

    def _not_heeded(self) -> None:
        self._timed = True
        self._read_by_writer()

    def _later(self, seconds: float) -> None:
        if not self._closed:
            self._loop.after(seconds, f"source {self.name}", self._read_by_writer)

    def _unread(self, error: BaseException) -> Networks:
        """Read on when it wakes, or after a while; a plugin that fails is begun anew instead."""
        if not isinstance(error, SourceUnreadable):
            return self._failed(error)
        self._daemon.trouble(self.name, failure(error, self.name))
        self._loop.soon(MINUTE, f"source {self.name}", self.read)
        return NOTHING

    def _refused(self, error: BaseException) -> None:
        self._failed(error)

    def _failed(self, error: BaseException) -> Networks:
        self._failed_with(failure(error, self.name))
        return NOTHING

    def _failed_with(self, text: str) -> None:
        self._daemon.trouble(self.name, text)
        self._leave()
        self._later(MINUTE)

    def _leave(self) -> None:
        source, self._source = self._source, None
        if self._descriptor >= 0:
            self._loop.forget(self._descriptor)
            self._descriptor = -1
        if source is not None:
            guarded(source.close, lambda _error: None, self.name)


def _all(parts: Sequence[Networks]) -> Networks:
    return parts[0] if len(parts) == 1 else Networks.of(each for some in parts for each in some)
