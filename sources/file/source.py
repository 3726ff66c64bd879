"""A log in a file, or on standard input: lines in every shape that `sources.shapes` knows."""

import os
import select
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from io import BufferedReader, FileIO
from typing import Final

from reconciler import Record, SourceUnreadable
from sources import shapes
from sources.file import Settings
from sources.file.follow import NULL, Follower
from sources.file.lines import text
from sources.file.position import Position
from sources.file.reading import Reading
from sources.file.rotation import Unread, still, unread
from sources.file.stream import Stream

_COMPLETED: Final = 60
"""Seconds in which a writer completes a line that it has begun."""

_WRITER: Final = 10
"""Seconds in which somebody must write to a named pipe."""

_GLIMPSE: Final = 80
"""Characters of a strange line that are shown."""

_BUFFER: Final = 1 << 18
"""Bytes that are read at once of what is no plain file."""

_STREAM: Final = "/proc/kmsg"
"""What a logging daemon reads (proc(5)); it looks like a file."""

_LAST: Final = 1 << 20
"""Bytes at the end of a log among which a line of the kernel is looked for."""


class File:
    """Reads the lines behind the cursor, a `Position`, in the log and its rotated generations.

    Pipes have no cursor. Where it is waited for, a `Follower` tells what becomes of the path; as
    long as that stays the same file, no more than what came is read at each call of `read`.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.path
        self._trusted = settings.trusted
        self._rotated = settings.rotated
        self._olddir = settings.olddir
        self._cursor: str | None = None
        self._notes: list[str] = []
        self._follower: Follower | None = None
        self._settled: str | None = None

    def fileno(self) -> int:
        """Return what waits for the log, whatever its path stands for."""
        if self._follower is None:
            self._follower = Follower(self._path)
        return self._follower.fileno()

    def close(self) -> None:
        """Wait no more; from now on each `read` looks for itself."""
        if self._follower is not None:
            self._follower.close()
        self._follower = self._settled = None

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the kernel's records that hold a needle."""
        sought = [] if "" in needles else needles
        position = Position.parse(cursor)
        self._notes = []
        if cursor and position is None:
            self._notes.append(
                f"{cursor!r} is not a position in a log: read again from the beginning"
            )
        try:
            with ExitStack() as stack:
                if self._follower is None:
                    yield from self._records(self._unread(position, stack), sought)
                else:
                    yield from self._followed(self._follower, cursor, sought, stack)
        except (OSError, ValueError) as error:
            raise _unreadable(self._path, error) from None

    def cursor(self) -> str | None:
        """Return the position in the log; None for a pipe."""
        return self._cursor

    def notes(self) -> list[str]:
        """Return what could not be read, or is gone."""
        return self._notes

    def silence(self) -> str | None:
        """Look for a line of the kernel at the end of the log, and of the generation before."""
        try:
            with ExitStack() as stack:
                found = self._unread(None, stack)
                if not found.resumable or any(map(_heard, found.logs[-2:])):
                    return None
        except (OSError, ValueError) as error:
            raise _unreadable(self._path, error) from None
        return (
            f"{self._path!r} has no recent line of the kernel; set [source.file] path to the"
            " log that receives the kernel's messages (rsyslog: see kern.* in /etc/rsyslog.conf),"
            " or use the source kmsg"
        )

    def _followed(
        self, follower: Follower, cursor: str | None, needles: Sequence[str], stack: ExitStack
    ) -> Iterator[Record]:
        """Yield what came since the last call, where that was for this cursor; else as a pass does.

        Nothing else is looked at as long as the path stands for the same file.
        """
        if follower.take():
            self._settled = None
        if follower.pipe:
            yield from follower.records(needles, trusted=self._trusted)
            return
        position = Position.parse(cursor)
        known = cursor == self._settled and position
        found = still(self._path, known, stack) if known else None
        if found is None:
            found = self._unread(position, stack)
            follower.also(found.logs[-1][1].fileno())
        self._settled = None
        yield from self._records(found, needles)
        self._settled = self._cursor

    def _records(self, found: Unread, needles: Sequence[str]) -> Iterator[Record]:
        self._notes += found.notes
        position, reading = found.position, None
        for path, stream in found.logs:
            reading = Reading(needles, trusted=self._trusted, older=reading)
            growing = found.resumable and stream is found.logs[-1][1] and _is_young(stream)
            yield from reading.records(stream, position, growing=growing)
            position = None
            if reading.strange:
                self._notes.append(
                    f"not one line of {path!r} is understood ({reading.looked:,} looked at); the"
                    f" first is {text(reading.strange)[:_GLIMPSE]!r}: name a log of the kernel's"
                    " messages"
                )
            if stream.broken:
                self._notes.append(f"{path!r} is damaged; its end was not read: {stream.broken}")
            if stream.cut:
                self._notes.append(f"{path!r} {stream.cut}")
            if found.resumable:
                self._cursor = str(Position.of(stream, reading.offset, found.before, reading.known))

    def _unread(self, position: Position | None, stack: ExitStack) -> Unread:
        """Find what is to be read: more than one file only where the log is one with a name."""
        if self._path == "-":
            if sys.stdin is None:
                raise SourceUnreadable("standard input is closed", "pipe a log into the command")
            file: BufferedReader = BufferedReader(FileIO(os.dup(0)), _BUFFER)
        elif os.path.realpath(self._path) == _STREAM:
            raise SourceUnreadable(
                f"{self._path!r} is no log: each record leaves it when it is read",
                "use the source kmsg",
            )
        elif _is_log(self._path):
            return unread(
                self._path, position, rotated=self._rotated, stack=stack, olddir=self._olddir
            )
        else:
            file = _opened(self._path)
        stream = stack.enter_context(closing(Stream(file)))
        mode, device = stream.status.st_mode, stream.status.st_rdev
        null = stat.S_ISCHR(mode) and device == NULL
        if self._path != "-" and not stat.S_ISFIFO(mode) and not null:
            raise SourceUnreadable(
                f"{self._path!r} is not a file", "name a log file, or - for standard input"
            )
        regular = stat.S_ISREG(mode)
        if not regular:
            position = None
        elif position and not position.within(stream):
            moved = position.moved(stream)
            position = moved and moved[1]
        logs = [(self._path, stream)]
        return Unread(logs, position, None, (), resumable=regular or null)


def _is_log(path: str) -> bool:
    """Return whether it is a file; one that is missing may have been renamed just now."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - a path like /dev/fd/63
    except FileNotFoundError:
        return True


def _opened(path: str) -> BufferedReader:
    """Open what is no plain file; of a named pipe, wait for somebody to write, but not for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file: BufferedReader = BufferedReader(FileIO(descriptor), _BUFFER)
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(_WRITER * 1000):
            file.close()
            raise SourceUnreadable(
                f"no program writes to the pipe {path!r}",
                "start the program that writes to it first",
            )
    os.set_blocking(descriptor, True)
    return file


def _is_young(stream: Stream) -> bool:
    """Whether a writer may be about to complete the last line."""
    return time.time() - stream.status.st_mtime < _COMPLETED


def _heard(log: tuple[str, Stream]) -> bool:
    """Return whether the last part of a log, or the first of a packed one, has kernel records."""
    _, stream = log
    start = 0 if stream.packed else max(0, stream.status.st_size - _LAST)
    stream.go(start)
    whole = stream.read(_LAST).split(b"\n")[1 if start else 0 :]
    records = (shapes.parse(text(line), trusted=True) for line in whole if line)
    return any(record and not record.facility for record in records)


def _unreadable(path: str, error: Exception) -> SourceUnreadable:
    reason = getattr(error, "strerror", None) or error
    hint = "name a readable log file"
    if isinstance(error, PermissionError):
        hint = "run as root, or as a member of the group adm"
    return SourceUnreadable(f"cannot read {path!r}: {reason}", hint)
