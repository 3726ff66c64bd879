"""The feeds' own files: once one has changed, what the feed says is taken, by us or by a pass."""

import select
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.daemon.brake import PASSES, Brake
from reconciler.daemon.children import Done, Left
from reconciler.daemon.loop import Loop
from reconciler.daemon.marks import Mark
from reconciler.daemon.pace import Pace
from reconciler.daemon.telling import say
from reconciler.errors import FeedUnreadable, TreasonError
from reconciler.feeds.token import token
from reconciler.inotify import Watch
from reconciler.log import WARNING
from reconciler.networks import NOTHING, Networks

if TYPE_CHECKING:
    from reconciler.daemon.tasting import Tasting

_MOMENT: Final = 0.05
"""Seconds for which whoever writes again and again is left alone, and between two passes."""

_LEAST, _LOOKS = 0.002, 1.0
"""Seconds from a look to the next one at least: a commit wakes a few times, and most of them find
nothing; and how many seconds of the pauses behind looks may be ahead, after a rest."""

_SHARE, _TASTES = 5.0, 2.0
"""So many times longer than we took something ourselves is the pause behind it; and how many
seconds of such pauses may be ahead, after a rest."""

_CLOCK: Final = 3.0
"""Seconds between two looks, where nothing wakes."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""

    def make_pass(self, done: Done = ..., left: Left = ...) -> None:
        """Ask for a pass over the backends, as `Passes.ask`."""


class Feeds:
    """Waits for the files of all feeds."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._files: list[_File] = []
        self._tasting: Tasting | None = None
        self._left: set[Tasting] = set()

    def follow(self, files: Mapping[str, Path], tasting: "Tasting | None" = None) -> None:
        """Wait for these from now on, and for no other; a pass that follows takes what is there.

        Without ``tasting``, passes alone take what comes.
        """
        self.close()
        self._tasting = tasting
        self._files = [_File(name, path, self._daemon, tasting) for name, path in files.items()]

    def close(self) -> None:
        """Wait for none any more."""
        while self._files:
            self._files.pop().close()
        if self._tasting is not None:
            self._tasting.close()
            self._left.add(self._tasting)
            self._tasting = None

    def wrote(self, before: Mark | None, after: Mark | None) -> None:
        """Take the database's marks before and behind what the writer stored of the sources."""
        if self._tasting is not None:
            self._tasting.wrote(before, after)

    def let_go(self, name: str) -> None:
        """Let a pass take out what a feed said for a moment only, behind the brake of its file."""
        for file in self._files:
            if file.name == name:
                file.let_go()
                return
        self._daemon.make_pass()

    def passed(self) -> None:
        """Take notice that a pass, whoever asked for it, has brought all in line."""
        for file in self._files:
            file.made_up_for()
        left, self._left = self._left, set()
        for each in left:
            each.finish(partial(self._left.add, each))


class _File:
    """Takes what is in one feed's file, or lets a pass do it: one at a time, and not too often.

    It and its directory are a stranger's, who may change them all the time. So an event only says
    that it is worth looking, and what costs much is done by passes, behind a brake.
    """

    def __init__(self, name: str, path: Path, daemon: Daemon, tasting: "Tasting | None") -> None:
        self.name, self._path, self._daemon, self._loop = name, path, daemon, daemon.loop
        self._tasting = tasting
        self._subject = f"feed {name}"
        self._looks = Pace(_LEAST, ahead=_LOOKS)
        self._tastes, self._brake = Pace(0.0, _SHARE, _TASTES), Brake(PASSES)
        self._watch: Watch | None = None
        self._closed = self._half_written = False
        self._is_tasted = self._is_passed = self._again = False
        self._due = False
        self._begun = 0.0
        self._left = self._late = NOTHING
        self._wait()
        self._seen = self._token()

    def close(self) -> None:
        """Wait for it no more."""
        self._closed = True
        self._loop.never(f"{self._subject}: taste")
        self._loop.never(f"{self._subject}: pass")
        self._leave()
        self._daemon.trouble(self._subject, "")

    def let_go(self) -> None:
        """Let a pass follow, as one does that is to take what the feed says."""
        self._due = True
        self._pass_soon()

    def made_up_for(self) -> None:
        """Take notice of a pass that has brought all in line, behind one that has not."""
        late, self._late = self._late, NOTHING
        self._settle(late)

    def _wait(self) -> None:
        """Wait for the next change, and forget what was told before."""
        try:
            self._watch = self._watch or Watch(str(self._path.parent))
            self._watch.take()
        except TreasonError as error:
            how = f"until then the feed's file is looked at each {_CLOCK:g} s"
            self._daemon.trouble(self._subject, f"{error}; {how}")
            self._leave()
            self._loop.after(_CLOCK, self._subject, self._look)
        else:
            self._loop.watch(self._watch.fileno(), select.POLLIN, self._woken)
            self._daemon.trouble(self._subject, "")

    def _woken(self) -> None:
        if self._looks.wait():
            self._hear_nothing()
            self._look_soon()
        else:
            self._look()

    def _look_soon(self) -> None:
        self._loop.soon(max(_MOMENT, self._looks.wait()), self._subject, self._look)

    def _look(self) -> None:
        """See whether the file has changed; what comes from now on wakes."""
        begun = time.thread_time()  # who is kept waiting by others has cost nothing
        self._wait()
        seen = self._token()
        self._looks.took(time.thread_time() - begun)
        if seen == self._seen:
            return
        self._half_written = not self._half_written and self._is_being_written()
        if self._half_written:
            self._look_soon()  # unless the end of the commit wakes
            return
        self._seen = seen
        self._due = True
        self._take()

    def _take(self) -> None:
        """Take what has changed ourselves if it is time for that, else let a pass do it."""
        if self._closed or not self._due:
            return
        if self._is_tasted:
            self._again = True
            return
        wait = self._tastes.wait()
        if self._tasting is None or wait > max(_MOMENT, self._brake.wait(time.monotonic())):
            self._pass_soon()
        elif wait:
            self._loop.soon(wait, f"{self._subject}: taste", self._take)
        else:
            self._is_tasted, self._again = True, False
            self._tasting.taste(self.name, self._tasted)

    def _tasted(self, done: bool, took: float) -> None:
        """Go on from what came of it."""
        if self._closed:
            return
        self._is_tasted = False
        self._tastes.took(took)
        if not done:
            self._pass_soon()
        elif not self._again:
            self._due = False
        if self._again:
            self._take()

    def _pass_soon(self) -> None:
        if not (self._closed or self._is_passed):
            pause = max(_MOMENT, self._brake.wait(time.monotonic()))
            self._loop.soon(pause, f"{self._subject}: pass", self._pass)

    def _pass(self) -> None:
        """Ask for a pass; what it reads is what is there once it has begun."""
        if self._is_passed or not self._due:
            return
        self._is_passed, self._due = True, False
        self._begun = time.monotonic()
        self._left = self._tasting.pending(self.name) if self._tasting else NOTHING
        self._daemon.make_pass(self._passed, self._let_go)

    def _passed(self, error: str) -> None:
        """Go on behind the pass."""
        if self._closed:
            return
        self._is_passed = False
        if error:
            self._are_late(self._left)
        else:
            self._settle(self._left)
        now, was_often = time.monotonic(), self._brake.fights
        self._brake.note(now, now - self._begun)
        if self._brake.fights and not was_often:
            often = "its file is written again and again, so there are pauses between its passes"
            say(f"{self._subject}: {often}", WARNING)
        if self._due:
            self._pass_soon()

    def _let_go(self) -> None:
        """Go on where nobody tells how the pass ends."""
        self._is_passed = False

    def _settle(self, networks: Networks) -> None:
        """Go by what the pass has stored of what was in force before it began."""
        if self._tasting and networks:
            self._tasting.settle(self.name, networks, self._are_late)

    def _are_late(self, networks: Networks) -> None:
        """Let the next pass that ends well settle these, too."""
        self._late |= networks

    def _token(self) -> str | None:
        try:
            return token(self._path)
        except FeedUnreadable as error:
            return str(error)

    def _is_being_written(self) -> bool:
        """Whether there is a journal: a commit is under way, or its writer has died."""
        try:
            return self._path.with_name(f"{self._path.name}-journal").lstat().st_size > 0
        except OSError:
            return False

    def _hear_nothing(self) -> None:
        if self._watch is not None:
            self._loop.forget(self._watch.fileno())

    def _leave(self) -> None:
        self._hear_nothing()
        self._loop.never(self._subject)
        if self._watch is not None:
            self._watch.close()
            self._watch = None
