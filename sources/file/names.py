"""Which names the rotated generations of a log have, and in which order they were written.

logrotate(8) renames ``kern.log`` to ``kern.log.1``, and that to ``kern.log.2``; with ``dateext``
the name ends in a date instead, and with ``extension .log`` both stand before it: ``kern.1.log``.
savelog(8), newsyslog and others do alike; s6-log, svlogd and multilog rename ``current`` to
``@TAI64N.s``. What is packed ends in ``.gz`` or its kin as well.
"""

import re
from datetime import UTC, date, datetime
from pathlib import PurePath
from typing import Final

from attrs import frozen

_AGE: Final = (
    r"(?:\.(?P<number>[0-9]{1,5})"
    r"|[-._](?:(?P<epoch>1[0-9]{9})"
    r"|(?P<day>[0-9]{4}-?[0-9]{2}-?[0-9]{2})(?P<more>(?:[-_.T:]?[0-9])*)"
    r"|(?P<month>20[0-9]{2}-?(?:0[1-9]|[1-4][0-9]|5[0-3]))))"
)
"""A number or a date; a ``month`` is one of ``%Y%m`` or a week of ``%Y-%V``."""

_PACKING: Final = r"(?P<packing>\.(?:gz|gzip|bz2|bzip2|xz|zst|zstd|lz4|lzma|lz|lzo|br|Z))?"
_TAI: Final = re.compile(r"@(?P<tai>4[0-9a-f]{23})\.[su]", re.ASCII)
_SEPARATOR: Final = re.compile(r"[^0-9]")

_PACKED: Final = _PACKING.replace("?P<packing>", "?:")
_LOOKS: Final = rf"(?:[-._][0-9].*|\.old{_PACKED}|{_PACKED[:-1]})"
"""What may be a generation, but in which order it was written its name does not tell."""

_OTHERS: Final = re.compile(r".*(?:~|\.(?:tmp|swp|lock|part|asc|sig|md5|sha[0-9]+))", re.DOTALL)
"""What programs put beside a file for the time being, or to check it by."""


@frozen
class Name:
    """Names of one ``kind`` are sorted by ``place``, the oldest first.

    Two that have one place differ only in their ``packing``: ``.gz`` or the like, or empty.
    """

    kind: str
    place: str
    packing: str


class Names:
    """The names that generations of one log have."""

    def __init__(self, log: str) -> None:
        self._log = log
        path = PurePath(log)
        plain = re.escape(log)
        self._patterns = {"behind": re.compile(plain + _AGE + _PACKING, re.ASCII)}
        looks = plain + _LOOKS
        if re.fullmatch(r"\.[A-Za-z]\w*", path.suffix, re.ASCII) and not packing(log):
            stem, extension = re.escape(path.stem), re.escape(path.suffix)
            self._patterns["before"] = re.compile(stem + _AGE + extension + _PACKING, re.ASCII)
            looks += rf"|{stem}[-._][0-9][-0-9._:TZ+]{{5,}}{extension}{_PACKED}"
        self._looks = re.compile(looks, re.ASCII | re.DOTALL)

    def read(self, name: str) -> Name | None:
        """Return what a name says; None if it is not that of a generation."""
        if self._log == "current" and (match := _TAI.fullmatch(name)):
            return Name("tai", match["tai"], "")
        for style, pattern in self._patterns.items():
            if (match := pattern.fullmatch(name)) and (place := _place(match)):
                kind = "numbered" if match["number"] else "dated"
                ending = match["packing"] or ""
                # The whole name is part of the place: kern.log.1 and kern.log.01 are two files.
                return Name(f"{kind} {style}", f"{place}/{name.removesuffix(ending)}", ending)
        return None

    def looks_alike(self, name: str) -> bool:
        """Return whether a name that says nothing may be that of a generation all the same."""
        return bool(self._looks.fullmatch(name) and not _OTHERS.fullmatch(name))


def packing(path: str) -> str:
    """Return the ending of a packed file; empty if it is not packed."""
    return PurePath(path).suffix if re.search(_PACKED[:-1] + r"\Z", path) else ""


def _place(match: re.Match[str]) -> str | None:
    """Return digits that sort the oldest first; None where they are not a date."""
    if match["number"]:
        return f"{99_999 - int(match['number']):05d}"
    if match["epoch"]:
        return datetime.fromtimestamp(int(match["epoch"]), UTC).strftime("%Y%m%d%H%M%S")
    if match["month"]:
        return _SEPARATOR.sub("", match["month"])
    day = _SEPARATOR.sub("", match["day"])
    try:
        date(int(day[:4]), int(day[4:6]), int(day[6:]))
    except ValueError:
        return None
    return day + _SEPARATOR.sub("", match["more"])
