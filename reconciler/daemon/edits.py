"""The files that the daemon goes by: it is woken when they change, or looks by the clock."""

import select
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from reconciler.daemon.loop import Loop
from reconciler.errors import TreasonError
from reconciler.inotify import Watch

_CLOCK: Final = 3.0
"""Seconds between two looks, where nothing wakes."""

_TRIES: Final = 3
"""How often files are waited for anew that name each other anew; the next change tells more."""


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""


class Edits:
    """Calls ``look``, which returns the files that matter by now, whenever one may have changed."""

    def __init__(self, daemon: Daemon, look: Callable[[], Sequence[Path]]) -> None:
        self._daemon, self._loop, self._look = daemon, daemon.loop, look
        self._watch: Watch | None = None
        self._paths: Sequence[Path] = ()

    def begin(self) -> None:
        """Wait for the files, and look at them."""
        self._follow(self._look())

    def close(self) -> None:
        """Wait no more."""
        self._loop.never("files by the clock")
        self._leave()

    def _woken(self) -> None:
        try:
            if self._watch is not None and not self._watch.touched():
                return
        except TreasonError as error:
            self._look_by_clock(error)
        else:
            self._follow(self._look())

    def _follow(self, paths: Sequence[Path]) -> None:
        """Wait for these; look again where others were waited for, which then may be others."""
        for _ in range(_TRIES):
            if self._watch is not None and paths == self._paths:
                break
            self._leave()
            try:
                self._watch, self._paths = Watch(*map(str, paths)), paths
                self._watch.take()
            except TreasonError as error:
                self._look_by_clock(error)
                return
            self._loop.watch(self._watch.fileno(), select.POLLIN, self._woken)
            paths = self._look()
        self._daemon.trouble("files", "")

    def _look_by_clock(self, error: TreasonError) -> None:
        """Look at the files each few seconds, until they can be waited for."""
        how = f"until then the configuration is looked at each {_CLOCK:g} s"
        self._daemon.trouble("files", f"{error}; {how}")
        self._leave()
        self._loop.after(_CLOCK, "files by the clock", self.begin)

    def _leave(self) -> None:
        if self._watch is not None:
            self._loop.forget(self._watch.fileno())
            self._watch.close()
            self._watch = None
