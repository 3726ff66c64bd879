"""A list in a file of this machine."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from feeds.list.known import Answer, Known
from reconciler import FeedUnreadable

_PIECE: Final = 1 << 18


class Written(Exception):
    """Somebody has written the file while it was read."""


@contextmanager
def opened(path: Path) -> Iterator[Answer]:
    """Open the file, or what a link leads to. Raise `FeedUnreadable`, and `Written` at the end."""
    try:
        with open(path, "rb", opener=_opener) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise FeedUnreadable(
                    "is not a regular file", "a list is read from a file, or from https://"
                )
            yield Answer(iter(partial(file.read, _PIECE), b""), Known())
            if _state(os.fstat(file.fileno())) != _state(before):
                raise Written
    except OSError as error:
        raise FeedUnreadable(f"cannot be read: {error.strerror}") from None


def _opener(path: str, flags: int) -> int:
    """Wait for nobody who is to write to a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
