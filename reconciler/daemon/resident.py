"""The resident reconciler: what happens, and what follows.

In force first, durable right after. What only adds is done here; what removes is a pass's, which a
child process makes. An event only says that it is worth looking.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler import execute
from reconciler.config.setup import Setup
from reconciler.daemon.batch import Batch
from reconciler.daemon.beginning import Beginning
from reconciler.daemon.children import Done, Left, Passes
from reconciler.daemon.edits import Edits
from reconciler.daemon.feeds import Feeds
from reconciler.daemon.following import Following
from reconciler.daemon.force import Force
from reconciler.daemon.given import Given
from reconciler.daemon.loop import Loop, Signals
from reconciler.daemon.marks import Mark, Marks
from reconciler.daemon.notify import Notifier
from reconciler.daemon.reloading import Reloading
from reconciler.daemon.rest import Rest
from reconciler.daemon.storing import MINUTE, Kept, Ways
from reconciler.daemon.surroundings import Surroundings
from reconciler.daemon.telling import Troubles, say
from reconciler.daemon.truth import Truth
from reconciler.daemon.unstored import Unstored
from reconciler.daemon.view import View
from reconciler.daemon.watch import Watch
from reconciler.daemon.watched import is_as_written
from reconciler.daemon.writer import Writer
from reconciler.interfaces import DigestedBackend
from reconciler.lines import counted
from reconciler.netlink import NetlinkError
from reconciler.networks import NOTHING, Networks

if TYPE_CHECKING:
    from reconciler.daemon.tasting import Tasting

_CLOSING: Final = 10.0
"""Seconds between two passes that only close connections."""

_NEEDED: Final = frozenset({"configuration", "database", "lock", "state"})
"""What a pass needs as well."""

NO_WATCHES: Final[Mapping[str, Watch]] = {}

_SOON: Final = 0.1
"""Seconds until the service manager is told of a trouble that began or ended, with others."""

_PATIENCE: Final = 5.0
"""Seconds that storing may take at the end; what is not stored then is read again."""


class Resident:
    """Waits, and acts at once on what happens, until it is told to stop."""

    force: Force
    passes: Passes
    watches: dict[str, Watch]

    def __init__(self, given: Given, setup: Setup, loop: Loop, notifier: Notifier) -> None:
        self.loop, self.notifier = loop, notifier
        self.since = time.time()
        self.troubles = Troubles()
        told = self._decided, self._kept, self._wrote
        locked_out = partial(self.trouble, "lock")
        self.writer = Writer(lambda: self.truth.ways, *told, locked_out=locked_out)
        self.marks = Marks(self._close_later)
        self.unstored = Unstored()
        self._closed = 0.0
        self._code = 0
        self.rest = Rest(self._wake, self._rests)
        self.feeds = Feeds(self)
        self._set_up(given, setup)
        self.following, self.beginning = Following(self), Beginning(self)
        self.reloading = Reloading(self)

    def run(self, first: execute.Background) -> int:
        """Begin, wait, and end when it is told to; return the exit code.

        ``first`` is the pass that was begun already.
        """
        Signals(
            self.loop,
            {
                signal.SIGTERM: self.stop,
                signal.SIGINT: self.stop,
                signal.SIGHUP: self.reloading.now,
            },
        )
        try:
            Surroundings(self.loop, self._moved)
        except NetlinkError as error:
            self.trouble("addresses and routes", str(error))
        Edits(self, self._files).begin()
        self.writer.begin()
        self.loop.watch(self.writer.descriptor, select.POLLIN, self.writer.take)
        self._live()
        self.passes.adopt(first, self.beginning.enforced)
        self.loop.run()
        self._end()
        return self._code

    def restart(self, why: str) -> None:
        """End, and let the service manager start us anew."""
        say(why)
        self._code = 1
        self.stop()

    def stop(self) -> None:
        """Stop; what is in force stays."""
        self.notifier.stopping("stopping; what is dropped stays dropped")
        self.loop.stop()

    # What sources and their batches need.

    def ways(self) -> Ways:
        """Return what to go by, as the files are now."""
        return self.truth.now()

    def drop(self, source: str, networks: Networks) -> None:
        """Drop these networks now; they are pending until they are stored.

        While everything is paused that is all: they are dropped once it is over.
        """
        self.following.drop(networks)
        self.unstored.add(source, networks)

    def pending_of(self, source: str) -> Networks:
        """Return what is in force for a source, and not stored yet."""
        return self.unstored.of(source)

    def store(self, batch: Batch) -> None:
        """Hand a batch to the writer."""
        self.writer.store(batch)

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""
        before = self.troubles.texts()
        if text:
            self.troubles.begin(subject, text)
        else:
            self.troubles.end(subject)
        if self.troubles.texts() == before:
            return
        self.loop.soon(_SOON, "told", self.tell)
        if not text and subject in _NEEDED and self.troubles.of("pass"):
            self.make_pass()  # now: what it failed for may be over

    def _decided(self, batch: Batch, bans: Networks) -> None:
        """Drop what the writer has decided, before it is committed."""
        self.unstored.early = networks = self.truth.ways.reflex.enforceable(bans)
        if new := networks - self.unstored.all():
            self.drop(batch.source, new)

    def _kept(self, kept: Kept) -> None:
        """Take what became of a batch."""
        self.trouble("database", kept.unwritten)
        if kept.unwritten:
            self.truth.check_version()
        if not (kept.unwritten or kept.error):
            self.unstored.forget(kept.batch.dropped | self.unstored.early)
        self.unstored.early = NOTHING
        watch = self.watches.get(kept.batch.source)
        unfounded = watch.kept(kept) if watch else kept.unfounded
        if kept.ends is not None:
            self.following.ends_in(kept.ends)
        if unfounded:
            self.truth.refresh(self.make_pass)
        if self.following.paused:
            return
        if kept.bans and (self.following.undone or not self.force.all_by_reflex):
            self.make_pass()
        elif kept.closing:
            wait = max(0.0, self._closed + _CLOSING - time.monotonic())
            self.loop.soon(wait, "closing", self._close)

    def _close_later(self, descriptor: int) -> None:
        """Let the writer close a descriptor of the database, between its transactions."""
        self.writer.ask(partial(os.close, descriptor), lambda _: None)

    def _wrote(self, before: Mark | None, after: Mark | None) -> None:
        self.truth.wrote(before, after)
        self.feeds.wrote(before, after)

    def _close(self) -> None:
        """Let a pass close the connections of who is dropped now."""
        self._closed = time.monotonic()
        self.make_pass()

    # What keeps things in force needs.

    def up_to_date(self, then: Callable[[], object]) -> None:
        """Call once what the files and the database say is held."""
        self.following.up_to_date(then)

    def make_pass(self, done: Done = lambda _error: None, left: Left = lambda: None) -> None:
        """Ask for a pass over the backends, as `Passes.ask`."""
        self.passes.ask(done, left=left)

    def compare(self, backend: DigestedBackend, then: Callable[[object], object]) -> None:
        """Call with whether a backend holds what was written to it last; the writer looks."""
        self.writer.ask(partial(is_as_written, self.truth.setup, backend), then)

    # What the view of files and database needs.

    def taken(self, old: View | None, new: View, *, carried_out: bool) -> None:
        """Hold what is desired now; ``carried_out``: a pass has brought the backends in line."""
        self.following.taken(old, new, carried_out=carried_out)

    def files_changed(self, whitelisted: Networks, *, edited: bool) -> None:
        """Let these pass at once; go by all that the files say after a while of quiet."""
        if not self.following.paused:
            self.force.let_pass(whitelisted)
        self.reloading.soon(edited=edited)

    def outdated(self) -> None:
        """End: the unit starts the newer version."""
        say("the database is of a newer version of treason; ending, to let that one run")
        self.stop()

    # The start, and every start anew.

    def begin_anew(self, given: Given, setup: Setup) -> None:
        """Go by this configuration. Raise `TreasonError` and go on as before if it is wrong.

        Whatever is as it was goes on, so that no offender and no repair waits for the passes.
        """
        watches, force, passes, truth = self.watches, self.force, self.passes, self.truth
        spared = truth.ways.reflex.exempt
        self._set_up(given, setup)
        truth.leave()
        self.truth.spare(spared)  # nobody is protected yet, and the writer may decide something
        if self.rest.waking:  # the database may be another one, and the firewall
            force.close()
        else:
            self.force = self.force.instead_of(force)
            for name, watch in self.watches.items():
                self.watches[name] = watch.instead_of(watches.get(name))
        self.attach(watches)
        for name, watch in watches.items():
            if watch is not self.watches.get(name):
                watch.close()
                self.trouble(name, "")
            if name not in self.watches:
                self.trouble(watch.heeding.subject, "")
        passes.let_go()
        self.rest.begun_anew(others={*self.force.names} != {*force.names})
        self.passes.ask(self.beginning.enforced)

    def attach(self, before: Mapping[str, Watch] = NO_WATCHES) -> None:
        """Let sources be woken that need more for it than we keep; ``before`` some were already."""
        for name, watch in self.watches.items():
            watch.attach(before.get(name))

    def go_on_as_before(self) -> None:
        """Begin anew by the same configuration, where a rest is over that waited for another."""
        if self.rest.waking:
            self.begin_anew(self.given, self.truth.setup)

    def _set_up(self, given: Given, setup: Setup) -> None:
        sources, backends = setup.sources(given.sources), setup.backends(given.backends)
        self.truth = Truth(setup, sources, self)
        self.given = given
        self.force = Force(backends, self, events=setup.config.run.events)
        self.watches = {name: Watch(name, make, self) for name, make in sources.items()}
        limit = setup.config.treason.pass_timeout * (len(sources) + 1)
        self.passes = Passes(self.loop, given, limit, self._passed, self.rest)
        self.feeds.follow(setup.feed_files, self._tasting(setup, given))

    def _tasting(self, setup: Setup, given: Given) -> "Tasting | None":
        """Return who takes what feeds say, if there are any."""
        if not given.max_new:
            return None
        from reconciler.config import feeds  # noqa: PLC0415 - many configurations have none
        from reconciler.daemon.tasting import Tasting  # noqa: PLC0415 - as above

        known = feeds.plain(setup.config, setup.file, dict(given.max_new))
        return Tasting(known, setup, self)

    def _files(self) -> Sequence[Path]:
        return self.truth.look_at_files()

    def _passed(self, error: str, enforced: bool) -> None:
        """Take what a pass has changed."""
        self.trouble("pass", error)
        self.following.undone = False
        if enforced:
            self.feeds.passed()
        if not self.force.all_are_told:
            self.loop.soon(MINUTE, "minute", self.make_pass)
        if self.truth.view is not None:
            self.truth.refresh(self.tell, carried_out=not error)

    def _moved(self) -> None:
        """Addresses or routes have changed, and so may who is protected."""
        self.truth.refresh()

    def _wake(self) -> None:
        say("the daemon goes on, and begins anew")
        self.reloading.now()

    def _rests(self) -> None:
        say(f"the daemon {self.rest.text}")
        self.tell()

    def tell(self) -> None:
        """Let the service manager know how things stand."""
        self.notifier.status(self.status())

    def _live(self) -> None:
        """Send the service manager a sign of life, again and again."""
        if self.notifier.pause is not None:
            self.notifier.alive()
            self.loop.after(self.notifier.pause, "watchdog", self._live)

    def status(self) -> str:
        """Return what the service manager is told."""
        view = self.truth.view
        number = counted(len(view.desired.banned), "network") if view else "what was enforced"
        dropping = f"dropping {number} by {', '.join(self.force.names)}"
        awake = [name for name, watch in self.watches.items() if watch.awake]
        parts = [
            self.rest.text,
            self.following.text() or ("" if self.rest.text else dropping),
            f"woken by {', '.join(awake)}" if awake else "",
            f"{len(self.unstored)} not stored yet" if self.unstored else "",
            *(text.splitlines()[0] for text in self.troubles.texts()[-1:]),
        ]
        return "; ".join(filter(None, parts))

    def _end(self) -> None:
        for watch in self.watches.values():
            watch.close()
        self.passes.end(_PATIENCE)
        if not self.writer.end(_PATIENCE):
            say("not all was stored; what is missing is read again at the next start")
