"""What of a log, and of its rotated generations, was not read yet."""

import errno
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from attrs import evolve, frozen

from reconciler import SourceUnreadable
from sources.file.generations import Generation, Listing, listing, opened
from sources.file.names import packing
from sources.file.position import NONE, Position, digest
from sources.file.stream import MARK, Stream

_TRIES: Final = 20
_PAUSE: Final = 0.05
"""Seconds between them; renaming all generations takes a few milliseconds."""


@frozen
class Unread:
    """Logs to read, oldest first, each with its path; in the first from ``position`` on.

    ``before`` is what `Position` holds of the generation before the last of them. A pipe is not
    ``resumable``.
    """

    logs: Sequence[tuple[str, Stream]]
    position: Position | None
    before: str | None
    notes: Sequence[str]
    resumable: bool = True


def unread(
    log: str,
    position: Position | None,
    *,
    rotated: bool,
    stack: ExitStack,
    olddir: str = "",
) -> Unread:
    """Find what follows ``position`` (None: nothing was read), whatever was renamed since.

    What is opened, ``stack`` closes. Without ``rotated`` only the log itself is looked at, with it
    also what ``olddir`` holds. Raise `SourceUnreadable` if the files do not keep still.
    """
    for _ in range(_TRIES):
        listed = _listed(log, olddir) if rotated else Listing()
        with ExitStack() as files:
            current = _current(log, files, needed=not listed.generations)
            search = _Search(log, current, position, files)
            found = search.rotated(listed.generations) if rotated else search.alone()
            if not rotated or (_listed(log, olddir) == listed and _is(log, current)):
                stack.push(files.pop_all())
                return evolve(found, notes=[*_notes(log, listed, found), *found.notes])
        time.sleep(_PAUSE)
    raise SourceUnreadable(f"{log!r} is being rotated", "try again in a moment")


def still(log: str, position: Position, stack: ExitStack) -> Unread | None:
    """Open the log where it is the file in which ``position`` was; None where it is not."""
    try:
        status = os.stat(log)  # noqa: PTH116 - a path like /dev/fd/63
        if (status.st_dev, status.st_ino) != (position.device, position.inode):
            return None
        current = _current(log, stack, needed=True)
    except OSError:
        return None
    if current is None or not position.within(current):
        return None
    return Unread([(log, current)], position, position.before, ())


def _listed(log: str, olddir: str) -> Listing:
    return listing(os.path.realpath(log), olddir)


def _notes(log: str, listed: Listing, found: Unread) -> list[str]:
    """Return what was not looked at; it matters where the position is in nothing that was."""
    notes = list(listed.notes)
    if listed.strangers and not found.position:
        more = f" (and {len(listed.strangers) - 1} more)" if len(listed.strangers) > 1 else ""
        notes.append(
            f"{listed.strangers[0]!r}{more} was not read: it may be a generation of {log!r}, but"
            " its name ends in neither a number nor a date like 20261128; to read it now:"
            f" zcat -f {shlex.quote(listed.strangers[0])} | treason scan --source file:-"
        )
    return notes


def _current(log: str, files: ExitStack, *, needed: bool) -> Stream | None:
    """Open the log, which may be a packed one that is named by itself.

    It may be missing where it was renamed and the next is not made yet.
    """
    try:
        file = files.enter_context(open(log, "rb"))  # noqa: PTH123, SIM115 - a path like /dev/fd/63; the stack closes
    except FileNotFoundError:
        if needed:
            raise
        return None
    return Stream(file, packing(os.path.realpath(log)))


def _is(log: str, current: Stream | None) -> bool:
    """Return whether the log is still the file that was opened."""
    try:
        status = os.stat(log)  # noqa: PTH116 - as above
    except FileNotFoundError:
        return current is None
    return current is not None and os.path.samestat(status, current.status)


@frozen
class _Held:
    """A log that is there; without a stream it cannot be read, for a ``reason``."""

    path: str
    stream: Stream | None
    sign: str = NONE
    reason: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands in it; in a damaged one something did."""
        return bool(self.stream and not self.stream.go(1) and not self.stream.broken)


@frozen
class _Search:
    """Looks for a position in files that keep still for the moment."""

    log: str
    current: Stream | None
    position: Position | None
    files: ExitStack

    def alone(self) -> Unread:
        """Look at the log only."""
        held = [_Held(self.log, self.current)]
        return self._following(held, held, None)

    def rotated(self, listed: Sequence[Generation]) -> Unread:
        """Look at the log, and at its generations from the newest on.

        The log that the position is in follows the one that was before it then. Where that one
        is gone, all are newer; where it is not known, none but the log is.
        """
        known = self.position.before if self.position else None
        held = [_Held(self.log, self.current)] if self.current else []
        newer: Sequence[_Held] | None = None
        for generation in reversed(listed):
            each = self._open(generation)
            # Empty ones follow each other where nothing was logged; any place would fit.
            if held and each.is_empty:
                continue
            if len(held) == 1 and self._is_being_copied(each, generation):
                continue
            if each.sign == known != NONE:
                if held and self._fits(held[0]):
                    return self._following(held, held, known)
                # Others may begin like it, as the logs of each boot do.
                newer = tuple(held) if newer is None else newer
            held.insert(0, each)
        if newer is None:
            newer = held if known else held[-1:]
        return self._following(held, newer, NONE)

    def _following(
        self, held: Sequence[_Held], newer: Sequence[_Held], oldest: str | None
    ) -> Unread:
        """Take the log that the position is in and those behind it, or else the newer ones.

        ``oldest`` is the sign of what stands before them all.
        """
        every = held
        notes = []
        place = self.position
        if place is not None:
            fitting = (index for index, each in enumerate(held) if self._fits(each))
            start = next(fitting, None)
            if start is None:
                start, place = self._moved(held)
            if start is None:
                notes = [
                    f"{self.log!r} was rotated away before its end was read; lines may be lost"
                ]
            held = newer if start is None else held[start:]
        if not held:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if len(held) > 1 and held[-1].is_empty and held[-2].stream:
            # The writer may still be at the one before: the position stays there, for its end.
            held, every = held[:-1], every[:-1]
        notes += [f"{each.path!r} was not read: {each.reason}" for each in held if not each.stream]
        logs = [(each.path, each.stream) for each in held if each.stream]
        return Unread(logs, place, _before(every, oldest), notes)

    def _moved(self, held: Sequence[_Held]) -> tuple[int | None, Position | None]:
        """Find the newest log that was written anew with the place in it, and where that is now."""
        best: tuple[int | None, Position | None] = None, None
        highest = (False, 0)
        for index, each in enumerate(held):
            if each.stream and self.position and (moved := self.position.moved(each.stream)):
                rank, place = moved
                if rank >= highest:
                    best, highest = (index, place), rank
        return best

    def _fits(self, held: _Held) -> bool:
        stream = held.stream
        return bool(stream and self.position and self.position.within(stream))

    def _open(self, generation: Generation) -> _Held:
        try:
            file = self.files.enter_context(opened(generation.path))
            stream = Stream(file, generation.packing)
        except (OSError, ValueError, ImportError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return _Held(generation.path, None, reason=reason)
        owner = (self.current or stream).status.st_uid
        if stream.status.st_uid not in {0, os.geteuid(), owner}:
            return _Held(generation.path, None, reason="it belongs to another user than the log")
        stream.go(MARK)
        return _Held(generation.path, stream, digest(stream.last) if stream.at else NONE)

    def _is_being_copied(self, older: _Held, generation: Generation) -> bool:
        """Return whether the log begins with all of this: it is copied, and not truncated yet."""
        if not (self.current and older.stream) or generation.packing or older.sign == NONE:
            return False
        size = older.stream.status.st_size
        places = (min(size, MARK), size)
        return all(
            older.stream.go(place)
            and self.current.go(place)
            and older.stream.last == self.current.last
            for place in places
        )


def _before(held: Sequence[_Held], oldest: str | None) -> str | None:
    """Return the sign of what stands before the last log; ``oldest`` is that before all of them."""
    return next((each.sign for each in reversed(held[:-1]) if each.sign != NONE), oldest)
