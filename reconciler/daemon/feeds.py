"""The feeds' own files: once one has changed, a pass takes what the feed says."""

import select
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from reconciler.daemon.brake import PASSES, Brake
from reconciler.daemon.children import Done, Left
from reconciler.daemon.loop import Loop
from reconciler.daemon.pace import Pace
from reconciler.daemon.telling import say
from reconciler.errors import FeedUnreadable, TreasonError
from reconciler.feeds.token import token
from reconciler.inotify import Watch
from reconciler.log import WARNING

_MOMENT: Final = 0.05
"""Seconds for which whoever has begun to write is left alone."""

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

    def follow(self, files: Mapping[str, Path]) -> None:
        """Wait for these from now on, and for no other; a pass that follows takes what is there."""
        self.close()
        self._files = [_File(name, path, self._daemon) for name, path in files.items()]

    def close(self) -> None:
        """Wait for none any more."""
        while self._files:
            self._files.pop().close()


class _File:
    """Lets a pass take what is in one feed's file; one at a time, and not too often.

    It and its directory are a stranger's, who may change them all the time. So an event only says
    that it is worth looking; nothing is heard until then, nor while the pass runs that follows.
    """

    def __init__(self, name: str, path: Path, daemon: Daemon) -> None:
        self._path, self._daemon, self._loop = path, daemon, daemon.loop
        self._subject = f"feed {name}"
        self._pace, self._brake = Pace(_MOMENT), Brake(PASSES)
        self._watch: Watch | None = None
        self._closed = False
        self._begun = 0.0
        self._wait()
        self._seen = self._token()

    def close(self) -> None:
        """Wait for it no more."""
        self._closed = True
        self._leave()
        self._daemon.trouble(self._subject, "")

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
        self._hear_nothing()
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._closed:
            pause = max(_MOMENT, self._pace.wait(), self._brake.wait(time.monotonic()))
            self._loop.after(pause, self._subject, self._look)

    def _look(self) -> None:
        """Ask for a pass if the file has changed, else wait on: what comes from now on wakes."""
        with self._pace.look():
            self._wait()
            before, self._seen = self._seen, self._token()
        if self._seen != before:
            self._hear_nothing()
            self._begun = time.monotonic()
            self._daemon.make_pass(self._taken, self._look_soon)

    def _taken(self, _error: str) -> None:
        """Look whether more has come meanwhile."""
        if self._closed:
            return
        now, was_often = time.monotonic(), self._brake.fights
        self._brake.note(now, now - self._begun)
        if self._brake.fights and not was_often:
            often = "its file is written again and again, so there are pauses between its passes"
            say(f"{self._subject}: {often}", WARNING)
        self._look_soon()

    def _token(self) -> str | None:
        try:
            return token(self._path)
        except FeedUnreadable as error:
            return str(error)

    def _hear_nothing(self) -> None:
        self._loop.never(self._subject)
        if self._watch is not None:
            self._loop.forget(self._watch.fileno())

    def _leave(self) -> None:
        self._hear_nothing()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
