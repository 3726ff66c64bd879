"""What the end of a log tells of the time of its lines."""

import stat
import time
from itertools import pairwise
from typing import Final

from sources import shapes
from sources.file.lines import before, text
from sources.file.stream import Stream

_DISORDER: Final = 10.0
"""Seconds by which the records of several processors may be out of order."""

_END: Final = 1 << 16
"""Bytes at the end of a log in which the last stamp is looked for."""


def last_stamp(stream: Stream, since: int) -> tuple[float, float] | None:
    """Return when a log was written last, and the highest stamp at its end, behind ``since``.

    None where nothing tells: also where stamps fall, since another boot or machine wrote some.
    """
    status, place = stream.status, stream.at
    if stream.packed or not stat.S_ISREG(status.st_mode):
        return None
    stream.go(max(since, status.st_size - _END))
    piece = stream.read(_END)
    stream.go(place)
    records = (shapes.parse(text(line), trusted=True) for line in before(piece, len(piece)))
    stamps = [each.monotonic for each in records if each and each.monotonic is not None]
    if not stamps or any(later + _DISORDER < earlier for later, earlier in pairwise(stamps)):
        return None
    return min(time.time(), status.st_mtime), max(stamps)
