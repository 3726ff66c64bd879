"""What the end of a log tells of the time of its lines."""

import stat
import time
from typing import Final

from sources import shapes
from sources.file.lines import before, text
from sources.file.stream import Stream

_END: Final = 1 << 16
"""Bytes at the end of a log in which the last stamp is looked for."""


def last_stamp(stream: Stream) -> tuple[float, float] | None:
    """Return when a log was written last, and the last stamp in it; None where nothing tells."""
    status, place = stream.status, stream.at
    if stream.packed or not stat.S_ISREG(status.st_mode):
        return None
    stream.go(max(0, status.st_size - _END))
    piece = stream.read(_END)
    stream.go(place)
    records = (shapes.parse(text(line), trusted=True) for line in before(piece, len(piece)))
    stamps = (each.monotonic for each in records if each and each.monotonic is not None)
    last = next(stamps, None)
    return None if last is None else (min(time.time(), status.st_mtime), last)
