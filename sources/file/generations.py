"""The rotated generations of a log, by their names, and in which order they were written.

logrotate(8) renames ``kern.log`` to ``kern.log.1``, and that to ``kern.log.2``; with ``dateext``
the name ends in a date instead. savelog(8), newsyslog and others do alike. What is packed ends in
``.gz`` or its kin as well.
"""

import os
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from attrs import frozen

_SUFFIX: Final = re.compile(
    r"(?:\.(?P<number>[0-9]{1,5})"
    r"|[-._](?:(?P<epoch>1[0-9]{9})|(?P<day>[0-9]{4}-?[0-9]{2}-?[0-9]{2})"
    r"(?P<more>(?:[-_.T:]?[0-9])*)))"
    r"(?P<packing>\.(?:gz|gzip|bz2|bzip2|xz|zst|zstd|lz4|lzma|lz|lzo|br|Z))?",
    re.ASCII,
)
_SEPARATOR: Final = re.compile(r"[^0-9]")


@frozen
class Generation:
    """A file that held the log once; ``packing`` is ``.gz`` or the like, or empty."""

    path: str
    inode: int
    packing: str


def generations(log: str) -> list[Generation]:
    """Return those that stand beside ``log``, oldest first; what is still being packed once."""
    directory, name = os.path.split(log)
    numbered: dict[str, Generation] = {}
    dated: dict[str, Generation] = {}
    with os.scandir(directory or ".") as entries:
        for entry in entries:
            if not entry.name.startswith(name):
                continue
            match = _SUFFIX.fullmatch(entry.name, len(name))
            if match is None or not entry.is_file(follow_symlinks=False):
                continue
            found = Generation(entry.path, entry.inode(), match["packing"] or "")
            row, place = (numbered, _age(match)) if match["number"] else (dated, _date(match))
            # The plain file is the whole one while its packed one is being written.
            if place and (place not in row or not found.packing):
                row[place] = found
    rows = [[row[place] for place in sorted(row)] for row in (numbered, dated)]
    if all(rows):  # the way of rotating was changed once: one row is older as a whole
        rows.sort(key=_last_change)
    return rows[0] + rows[1]


def _age(match: re.Match[str]) -> str:
    """Return digits that sort the highest number first: it is the oldest."""
    return f"{99_999 - int(match['number']):05d}"


def _date(match: re.Match[str]) -> str | None:
    """Return digits that sort as the dates do; None where they are no date."""
    if match["epoch"]:
        return datetime.fromtimestamp(int(match["epoch"]), UTC).strftime("%Y%m%d%H%M%S")
    day = _SEPARATOR.sub("", match["day"])
    try:
        date(int(day[:4]), int(day[4:6]), int(day[6:]))
    except ValueError:
        return None
    return day + _SEPARATOR.sub("", match["more"])


def _last_change(row: Iterable[Generation]) -> float:
    times = []
    for each in row:
        try:
            times.append(Path(each.path).stat().st_mtime)
        except FileNotFoundError:  # it is rotated just now, and will be listed again
            continue
    return max(times, default=0.0)
