"""The control socket, kept where commands look for it: one that somebody removes is made again."""

import select
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from reconciler.daemon.control import Control, claimed
from reconciler.daemon.loop import Loop
from reconciler.errors import TreasonError
from reconciler.inotify import Watch

_AGAIN: Final = 10.0
"""Seconds until it is looked at again, where it could not be made, or nothing tells of a change."""

_SUBJECT: Final = "control socket"


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""


class Claim:
    """The control socket at a path, as `claimed` makes it, held until `close`."""

    def __init__(self, path: Path, like: Path) -> None:
        """Make it. Raise `DaemonError` or `LockError`."""
        self._path, self._like = path, like
        self._stack = ExitStack()
        self._watch: Watch | None = None
        self._make()

    def keep(self, control: Control, daemon: Daemon) -> None:
        """Make it again for ``control`` whenever it is gone, from now on."""
        self._control, self._daemon = control, daemon
        self._look()

    def close(self) -> None:
        """Remove it, and let another daemon have its place."""
        if self._watch:
            self._daemon.loop.forget(self._watch.fileno())
            self._watch.close()
        self._stack.close()

    def _make(self) -> None:
        self.listener = self._stack.enter_context(claimed(self._path, self._like))
        self._made = self._there()

    def _look(self) -> None:
        """Look whether it is there; where nothing tells of a change, look again after a while."""
        told = self._take()
        if self._made is None or self._there() != self._made:
            told &= self._make_again()
        if not told:
            self._daemon.loop.after(_AGAIN, _SUBJECT, self._look)

    def _take(self) -> bool:
        """Return whether inotify tells of the next change; a limit of it may be reached."""
        try:
            if self._watch is None:
                self._watch = Watch(str(self._path))
                self._daemon.loop.watch(self._watch.fileno(), select.POLLIN, self._look)
            self._watch.take()
        except TreasonError:
            return False
        return True

    def _make_again(self) -> bool:
        self._control.deaf()
        self._stack.close()
        try:
            self._make()
        except (TreasonError, OSError) as error:  # OSError: no descriptor is left
            said = f"the control socket is gone, and cannot be made again: {error}"
            self._daemon.trouble(_SUBJECT, said)
            return False
        self._control.listen(self.listener)
        self._daemon.trouble(_SUBJECT, "")
        return True

    def _there(self) -> tuple[int, int] | None:
        """Return what tells the file at the path from any other; None where there is none."""
        try:
            status = self._path.lstat()
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns  # numbers of inodes are used again
