"""The feed's own file, opened with care, and whether it may hold something else by now."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from reconciler.errors import FeedUnreadable

_CAUSES: Final[dict[int | None, str]] = {
    errno.ELOOP: "it is a link, which is not followed",
    errno.ENXIO: "it is not a file",  # but a socket
}


def token(path: Path) -> str | None:
    """Return what is another once the file may hold something else; None if there is no file.

    Raise `FeedUnreadable` where it cannot be opened, or is no file.
    """
    try:
        with opened(path) as descriptor:
            return token_of(descriptor)
    except FileNotFoundError:
        return None


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open what must be a plain file. Raise `FeedUnreadable`, or FileNotFoundError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with system(path):
        descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            refuse(path, "it is not a file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def system(path: Path) -> Iterator[None]:
    """Let what the system says be a `FeedUnreadable`, but that there is no such file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        denied = isinstance(error, PermissionError)
        hint = f"let {path.parent} and the file be of a group of the user that runs treason"
        refuse(path, _CAUSES.get(error.errno, str(error.strerror)), hint if denied else "")


def token_of(descriptor: int) -> str:
    """Join what changes with a file, and SQLite's counter of commits, which is never too coarse."""
    status = os.fstat(descriptor)
    counter = os.pread(descriptor, 4, 24).hex()
    return f"{status.st_dev}.{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{counter}"


def refuse(path: Path, cause: str, hint: str = "") -> NoReturn:
    """Raise `FeedUnreadable`: a line that names the file, and perhaps one with what helps."""
    raise FeedUnreadable(f"{path}: cannot read what the feed has written: {cause}", hint)
