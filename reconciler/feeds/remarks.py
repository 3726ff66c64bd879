"""What a feed's process says for people: its notes, and since when it fails, and why.

It stands in a small file beside the feed's own, so that it can be told before anything was read,
and no pass takes the bans anew because of it. Whoever reads it reads what a stranger wrote.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from reconciler import files
from reconciler.errors import FeedUnreadable
from reconciler.feeds.format import FILE_MODE, LATEST, harmless
from reconciler.feeds.token import opened, refuse, system
from reconciler.log import Log

_HEAD: Final = "treason-feed-remarks 1"
"""The first line; each other one is a word, a space and the rest."""

NOTES: Final = 100
_LONGEST: Final = 500
"""Notes that are kept, and characters of each text."""

_MOST: Final = 1 << 18
"""Bytes of the file: enough for as many texts, at 4 bytes a character."""

_log = Log("feed")


@frozen
class Remarks:
    """What a feed's process said last.

    ``number`` is how many notes there were, of which ``notes`` are the first. ``failure`` is why
    its last try failed, ``hint`` what the feed thinks that helps, ``since`` when it began to fail
    (epoch seconds); the text is empty, and the time None, where it was successful.
    """

    notes: tuple[str, ...] = ()
    number: int = 0
    failure: str = ""
    hint: str = ""
    since: int | None = None


def read(store: Path) -> Remarks:
    """Return what the process of the feed with this own file has said.

    Nothing where it has not said anything yet; what cannot be read is a note that tells why.
    """
    path = _beside(store)
    try:
        return _parsed(_content(path))
    except FileNotFoundError:
        return Remarks()
    except FeedUnreadable as error:
        return Remarks((harmless(error.what, _LONGEST),), 1)


class Keeper:
    """Keeps what the process of a feed says, as its only writer."""

    def __init__(self, store: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = _beside(store), clock
        self._kept, self._is_there = read(store), self._path.exists()

    def keep(self, failure: FeedUnreadable | None, notes: Sequence[str] | None = None) -> None:
        """Keep why it failed, if it did, and the notes of what was read; None: those before."""
        kept = self._kept
        if notes is not None:
            kept = evolve(kept, notes=(*_short(notes[:NOTES]),), number=len(notes))
        if failure is None:
            kept = evolve(kept, failure="", hint="", since=None)
        else:
            [what, hint] = _short((failure.what, failure.hint))
            since = int(self._clock()) if kept.since is None else kept.since
            kept = evolve(kept, failure=what, hint=hint, since=since)
        if kept != self._kept or not self._is_there:
            self._write(kept)

    def _write(self, remarks: Remarks) -> None:
        """Write it; where that fails, it is tried again with the next."""
        try:
            with _unnoticed(self._path.parent):
                files.replace(self._path, "".join(_lines(remarks)), mode=FILE_MODE)
        except OSError as error:
            _log.info("%s: cannot write it: %s", self._path, error.strerror)
        else:
            self._kept, self._is_there = remarks, True


def _beside(store: Path) -> Path:
    return store.with_name(f"{store.name}.remarks")


def _short(texts: Iterable[str]) -> Iterator[str]:
    return (harmless(text, _LONGEST) for text in texts)


@contextmanager
def _unnoticed(directory: Path) -> Iterator[None]:
    """Let the directory's times be as before: they tell when the feed was successful last."""
    before = directory.stat()
    try:
        yield
    finally:
        with suppress(OSError):  # it may be another's
            os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


def _lines(remarks: Remarks) -> Iterator[str]:
    yield f"{_HEAD}\n"
    if remarks.since is not None:
        yield f"since {remarks.since}\nfailure {remarks.failure}\nhint {remarks.hint}\n"
    yield f"number {remarks.number}\n"
    yield from (f"note {note}\n" for note in remarks.notes)


def _content(path: Path) -> str:
    """Return the text. Raise `FeedUnreadable`, or FileNotFoundError."""
    with opened(path) as descriptor, system(path):
        data = os.pread(descriptor, _MOST + 1, 0)
    if len(data) > _MOST:
        refuse(path, f"it holds more than {_MOST >> 10} KiB")
    text = data.decode(errors="replace")
    if text.partition("\n")[0] != _HEAD:
        refuse(path, "it holds something else, or is of another version")
    return text


def _parsed(text: str) -> Remarks:
    """Return what the lines say; what means nothing is left out."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n")[1:]:
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(harmless(rest, _LONGEST))
    notes = (*found.get("note", ())[:NOTES],)
    [failure], [hint] = found.get("failure", [""])[:1], found.get("hint", [""])[:1]
    since = _number(found.get("since"))
    if since is None or not failure:
        failure, hint, since = "", "", None
    return Remarks(notes, max(_number(found.get("number")) or 0, len(notes)), failure, hint, since)


def _number(texts: Sequence[str] | None) -> int | None:
    """Return a number of epoch seconds, or as small a one; None for anything else."""
    text = texts[0] if texts else ""
    if text.isascii() and text.isdigit() and len(text) <= len(str(LATEST)):
        return min(int(text), LATEST)
    return None
