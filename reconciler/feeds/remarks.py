"""What a feed's process says for people: its notes, and since when what fails, and why.

It stands in a small file beside the feed's own, so that it can be told before anything was read,
and no pass takes the bans anew because of it. Whoever reads it reads what a stranger wrote.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
class Failure:
    """Why something failed last: what happened, what the feed thinks that helps, if it says so.

    ``since`` is when it began to fail (epoch seconds).
    """

    what: str
    hint: str
    since: int

    def told_of(self, feed: str) -> str:
        """Return it for people, in one or two lines."""
        what = self.what.removeprefix(f"feed {feed}: ")
        return "\n  ".join(filter(None, (what, self.hint)))


@frozen
class Remarks:
    """What a feed's process said last.

    ``number`` is how many notes there were, of which ``notes`` are the first. ``unread`` is why
    nothing could be read when that was tried last, ``untold`` why nothing could be published.
    """

    notes: tuple[str, ...] = ()
    number: int = 0
    unread: Failure | None = None
    untold: Failure | None = None


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

    def read(self, error: FeedUnreadable | None, notes: Sequence[str] = ()) -> None:
        """Keep why nothing was read, or the notes of what was."""
        kept = evolve(self._kept, unread=self._failure(error, self._kept.unread))
        if error is None:
            kept = evolve(kept, notes=(*_short(notes[:NOTES]),), number=len(notes))
        self._keep(kept)

    def told(self, error: FeedUnreadable | None) -> None:
        """Keep why nothing was published, if that failed."""
        self._keep(evolve(self._kept, untold=self._failure(error, self._kept.untold)))

    def _failure(self, error: FeedUnreadable | None, before: Failure | None) -> Failure | None:
        if error is None:
            return None
        what, hint = _short((error.what, error.hint))
        return Failure(what, hint, before.since if before else int(self._clock()))

    def _keep(self, remarks: Remarks) -> None:
        if remarks != self._kept or not self._is_there:
            self._write(remarks)

    def _write(self, remarks: Remarks) -> None:
        """Write it; where that fails, it is tried again with the next."""
        try:
            with _unnoticed(self._path.parent), files.temporary(self._path) as new:
                new.write_text("".join(_lines(remarks)), encoding="utf-8")
                new.chmod(FILE_MODE)
                new.replace(self._path)  # it need not survive a power failure
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
    for name, failure in (("unread", remarks.unread), ("untold", remarks.untold)):
        if failure is not None:
            yield f"{name} {failure.what}\n{name}-hint {failure.hint}\n"
            yield f"{name}-since {failure.since}\n"
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
    number = _number(found.get("number", ())) or 0
    unread, untold = _failure(found, "unread"), _failure(found, "untold")
    return Remarks(notes, max(number, len(notes)), unread, untold)


def _failure(found: Mapping[str, Sequence[str]], name: str) -> Failure | None:
    [what], [hint] = (found.get(f"{name}{end}", ("",))[:1] for end in ("", "-hint"))
    since = _number(found.get(f"{name}-since", ()))
    return Failure(what, hint, since) if what and since is not None else None


def _number(texts: Sequence[str]) -> int | None:
    """Return a number of epoch seconds, or as small a one; None for anything else."""
    text = texts[0] if texts else ""
    if text.isascii() and text.isdigit() and len(text) <= len(str(LATEST)):
        return min(int(text), LATEST)
    return None
