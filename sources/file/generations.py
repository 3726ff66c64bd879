"""The rotated generations of a log that stand beside it, or where ``olddir`` moves them."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from attrs import Factory, define, frozen

from sources.file.names import Name, Names
from sources.file.stream import Stream

_COMPARED: Final = 1 << 16
"""Bytes of two files of one name that are compared."""


@frozen
class Generation:
    """A file that held the log once; ``packing`` is ``.gz`` or the like, or empty."""

    path: str
    inode: int
    packing: str


@define
class Listing:
    """The generations, oldest first.

    ``strangers`` are those whose names do not tell when they were written, and ``notes`` say where
    generations could not be looked for.
    """

    generations: list[Generation] = Factory(list)
    strangers: list[str] = Factory(list)
    notes: list[str] = Factory(list)


def listing(log: str, olddir: str = "") -> Listing:
    """Look beside ``log``, and in ``olddir``, which is relative to the log's directory."""
    directory, name = os.path.split(log)
    names = Names(name)
    found = Listing()
    rows = list(_rows(directory or ".", names, found))
    if olddir:
        try:
            elsewhere = _elsewhere(log, directory or ".", olddir)
            rows += _rows(elsewhere, names, found) if elsewhere else []
        except OSError as error:
            found.notes.append(
                f"{os.path.join(directory, olddir)!r} was not searched for rotated files:"  # noqa: PTH118 - as below
                f" {error.strerror}; correct olddir in [source.file], or let treason read it"
            )
    # The way of rotating was changed: one row is older as a whole.
    found.generations += [each for row in sorted(rows, key=_last_change) for each in row]
    found.strangers.sort()
    return found


def opened(path: str) -> io.BufferedReader:
    """Open a file, but nothing that has taken its place: no link, and no pipe to wait for."""
    return open(path, "rb", opener=_itself)


def _itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _elsewhere(log: str, directory: str, olddir: str) -> str | None:
    """Return the directory; None if it is the log's own. Raise OSError if it is not trusted."""
    path = os.path.join(directory, olddir)  # noqa: PTH118 - paths are text here
    status, beside = Path(path).stat(), Path(directory).stat()
    if os.path.samestat(status, beside):
        return None
    owners = {0, os.geteuid(), beside.st_uid}
    if os.path.exists(log):  # noqa: PTH110 - as above
        owners.add(Path(log).stat().st_uid)
    if status.st_uid not in owners:
        raise PermissionError(0, "it belongs to another user than the log")
    return path


def _rows(directory: str, names: Names, found: Listing) -> Iterator[list[Generation]]:
    """Yield the generations of each kind, oldest first, and note what is a stranger."""
    named: list[tuple[Name, Generation]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            name = names.read(entry.name)
            if not (name or names.looks_alike(entry.name)):
                continue
            if not entry.is_file(follow_symlinks=False):
                continue
            if name:
                named.append((name, Generation(entry.path, entry.inode(), name.packing)))
            else:
                found.strangers.append(entry.path)
    named.sort(key=lambda each: (each[0].kind, each[0].place, each[0].packing))
    for kind, members in groupby(named, lambda each: each[0].kind):
        places = [
            _distinct([generation for _, generation in same])
            for _, same in groupby(members, lambda each: each[0].place)
        ]
        row = [each for place in places for each in place]
        if kind.startswith("numbered") and len(row) > len(places):
            # The way of packing was changed, and logrotate counts each by itself.
            row.sort(key=lambda each: _last_change([each]))
        yield row


def _distinct(same: Sequence[Generation]) -> list[Generation]:
    """Return, of files that differ in their packing alone, those that hold something else.

    The plain file, which comes first, is the whole one while its packed one is being written.
    """
    kept: list[Generation] = []
    for each in same:
        if not any(_begins_as(each, other) for other in kept):
            kept.append(each)
    return kept


def _begins_as(one: Generation, other: Generation) -> bool:
    """Return whether what one holds, if not all of it is written yet, is the other's beginning."""
    try:
        pieces = [_beginning(each) for each in (one, other)]
    except (OSError, ValueError, ImportError):
        return False  # it is told why it cannot be read
    return pieces[1].startswith(pieces[0])


def _beginning(generation: Generation) -> bytes:
    with opened(generation.path) as file:
        return Stream(file, generation.packing).read(_COMPARED)


def _last_change(row: Iterable[Generation]) -> float:
    times = []
    for each in row:
        try:
            times.append(Path(each.path).stat().st_mtime)
        except FileNotFoundError:  # it is rotated just now, and will be listed again
            continue
    return max(times, default=0.0)
