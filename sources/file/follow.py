"""What a log is waited for by: its path, and where that is a pipe, what comes by it."""

import os
import select
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler import Record, SourceUnreadable, TreasonError
from reconciler.inotify import Watch
from sources.file.pipe import Pipe

_STDIN: Final = "/proc/self/fd/0"

NULL: Final = os.makedev(1, 3)
"""The number of /dev/null (Documentation/admin-guide/devices.txt): a log that holds nothing."""


class Follower:
    """Waits for one log; its descriptor stays the same, whatever the path stands for."""

    def __init__(self, path: str) -> None:
        """Begin to wait. Raise `SourceUnreadable` where that cannot be."""
        self._path = path
        self._epoll = select.epoll()
        self.pipe: Pipe | None = None
        try:
            self._watch = Watch(_STDIN if path == "-" else path)
        except TreasonError as error:
            self._epoll.close()
            raise SourceUnreadable(error.what, error.hint) from None
        self._epoll.register(self._watch.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Return the descriptor, which is readable when something came."""
        return self._epoll.fileno()

    def take(self) -> bool:
        """Take what came by inotify; return whether the log may be another file than before.

        Raise `SourceUnreadable` where it cannot be watched.
        """
        try:
            changed = self._watch.take()
        except TreasonError as error:
            raise SourceUnreadable(error.what, error.hint) from None
        if changed:
            self._open()
        return changed

    def also(self, descriptor: int) -> None:
        """Wait for an open file, too: its name may be another one by now. Raise as `take`."""
        try:
            self._watch.also(descriptor)
        except TreasonError as error:
            raise SourceUnreadable(error.what, error.hint) from None

    def records(self, needles: Sequence[str], *, trusted: bool) -> Iterator[Record]:
        """Yield what came by the pipe. Raise `SourceUnreadable` once nothing more can."""
        if self.pipe is None:
            return
        yield from self.pipe.records(needles, trusted=trusted)
        if not self.pipe.ended:
            return
        if self._path != "-" and Path(os.path.realpath(self._path)).exists():
            self._open(anew=True)
            return
        with suppress(FileNotFoundError):
            self._epoll.unregister(self.pipe)
        raise SourceUnreadable(
            f"{self._path!r} has ended: no program writes to it any more",
            "start treason anew, with a program that writes to it",
        )

    def close(self) -> None:
        """Wait no more."""
        self._watch.close()
        self._epoll.close()
        self._drop()

    def _open(self, *, anew: bool = False) -> None:
        """Open the pipe that the path stands for, if it is one and not open, or ``anew``.

        Before the one is closed that was open: what stands in a pipe that nobody has open is lost.
        """
        is_open = self.pipe is not None and _same(self._path, self.pipe)
        if is_open and not anew:
            return
        pipe = Pipe(self._path) if _is_pipe(self._path) else None
        self._drop()
        if pipe:
            self._epoll.register(pipe, select.EPOLLIN)
        self.pipe = pipe

    def _drop(self) -> None:
        if self.pipe:
            self.pipe.close()  # which also takes it out of what is waited for
            self.pipe = None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.fstat(0) if path == "-" else Path(path).stat()
    except OSError:
        return None


def _same(path: str, pipe: Pipe) -> bool:
    status = _status(path)
    return status is not None and os.path.samestat(status, os.fstat(pipe.fileno()))


def _is_pipe(path: str) -> bool:
    """Whether it is read as it comes: a named pipe, or what on standard input is no file."""
    status = _status(path)
    if status is None:
        return False
    if path == "-":
        return not stat.S_ISREG(status.st_mode) and status.st_rdev != NULL
    return stat.S_ISFIFO(status.st_mode)
