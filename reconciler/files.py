"""Whole files: read, but never without end; and replaced, so that nobody ever reads a part."""

import errno
import fcntl
import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

_PIECE: Final = 1 << 20
_NULL: Final = os.makedev(1, 3)
"""The number of /dev/null (Documentation/admin-guide/devices.txt), which is as good as a file."""

_WRITER: Final = 10.0
_WRITTEN: Final = 120.0
"""Seconds in which somebody must write to a pipe, and in which all must be written."""

_LOOK: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


_REMEDIES: Final = {
    errno.ENOSPC: "free some space, then run it again",
    errno.EDQUOT: "free some space, then run it again",
    errno.EROFS: "let its disk be mounted for writing",
}


def remedy(error: OSError, otherwise: str) -> str:
    """Return what to do where a file cannot be written: about its disk, or what is given."""
    return _REMEDIES.get(error.errno or 0, otherwise)


def content(
    path: Path, most: int, judge: Callable[[os.stat_result], object] = lambda _status: None
) -> bytes:
    """Return all that a file or a pipe holds.

    Raise OSError, with a ``strerror`` for people, also where it holds more than ``most`` bytes, or
    is neither; and where nobody writes to the pipe, or nobody closes it. ``judge`` gets the status
    of what was opened, and may refuse it before it is read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        judge(os.fstat(descriptor))
        return _content(descriptor, most)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def _content(descriptor: int, most: int) -> bytes:
    status = os.fstat(descriptor)
    mode, null = status.st_mode, status.st_rdev == _NULL
    if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not null):
        raise OSError(errno.EINVAL, "it is a device, not a file")
    held, size = bytearray(), status.st_size if stat.S_ISREG(mode) else 0
    pieces = _pieces(descriptor, waiting=stat.S_ISFIFO(mode))
    while size <= most and (piece := next(pieces, None)) is not None:
        held += piece
        size = len(held)
    if size > most:
        raise OSError(errno.EFBIG, f"it holds more than {most >> 20} MiB")
    return bytes(held)


def _pieces(descriptor: int, *, waiting: bool) -> Iterator[bytes]:
    """Yield what can be read, up to the end; ``waiting`` is for what a pipe is still to bring."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    end = time.monotonic() + _WRITTEN
    if waiting and not poll.poll(_WRITER * 1000):
        if (piece := _read(descriptor)) == b"":
            raise OSError(errno.ETIMEDOUT, "no program writes to this pipe")
        yield piece or b""
    while not waiting or ((left := end - time.monotonic()) > 0 and poll.poll(left * 1000)):
        if (piece := _read(descriptor)) == b"":
            return
        if piece is None and not waiting:  # /proc/kmsg and its kind
            raise OSError(errno.EINVAL, "it is not a file that has an end")
        yield piece or b""
    raise OSError(errno.ETIMEDOUT, f"it had no end within {_WRITTEN:g} s")


def _read(descriptor: int) -> bytes | None:
    """Return a piece, empty at the end; None where a pipe's writer has written nothing yet."""
    try:
        return os.read(descriptor, _PIECE)
    except BlockingIOError:
        return None


def replace(path: Path, content: str, *, mode: int) -> None:
    """Write the file anew; one that is there keeps its mode and owner, a new one gets ``mode``.

    Nothing is left behind when it fails; what a killed writer left is removed. Raise OSError.
    """
    path = path.resolve()
    sweep(path)
    descriptor, name = _temporary(path)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            _dress(descriptor, path, mode)
            os.fsync(descriptor)
            name.replace(path)
    except BaseException:
        name.unlink()
        raise
    settle(path.parent)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Yield an empty file of mode 0600 beside a file; what is not renamed is removed at the end.

    So is, first, what a killed writer left. Raise OSError.
    """
    path = path.resolve()
    sweep(path)
    descriptor, name = _temporary(path)
    try:
        yield name
    finally:
        name.unlink(missing_ok=True)
        os.close(descriptor)


def settle(path: Path) -> None:
    """Make the content of a file, or the names in a directory, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def left(path: Path) -> list[Path]:
    """Return the temporary files of writers of a file that were killed."""
    found: list[Path] = []
    _each_left(path, found.append)
    return found


def sweep(path: Path) -> None:
    """Remove those temporary files, as far as that is allowed."""
    _each_left(path, Path.unlink)


def _each_left(path: Path, use: Callable[[Path], object]) -> None:
    """Use each temporary file whose writer does not live any more: who does holds its lock.

    Somebody else's is no writer's of ours: in a directory like /tmp anybody may make one.
    """
    path = path.resolve()
    try:
        found = sorted(each for each in path.parent.iterdir() if _is_temporary(path, each.name))
    except OSError:
        return  # who writes there is told so
    for each in found:
        with suppress(OSError), ExitStack() as stack:
            descriptor = os.open(each, _LOOK)
            stack.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and os.geteuid() in {0, status.st_uid}:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                use(each)


def _temporary(path: Path) -> tuple[int, Path]:
    """Make a temporary file beside a file, and hold its lock; another may have swept it away."""
    import tempfile  # noqa: PLC0415 - costs milliseconds, and most commands write no file

    while True:
        descriptor, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
        with suppress(OSError):  # a file system without locks: there nobody sweeps, either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


def _prefix(path: Path) -> str:
    return f".{path.name}.treason-"


def _is_temporary(path: Path, name: str) -> bool:
    """Whether it is a name that `tempfile` makes, and not a copy that somebody keeps there."""
    rest = name.removeprefix(_prefix(path))
    return rest != name and re.fullmatch("[a-z0-9_]{8}", rest) is not None


def _dress(descriptor: int, path: Path, mode: int) -> None:
    """Set the mode and the owner of the new file to those of the old one."""
    try:
        old = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, old.st_mode & 0o7777)
