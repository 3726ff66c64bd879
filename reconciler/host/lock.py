"""One lock keeps two passes apart."""

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler import files
from reconciler.errors import LockError


@contextmanager
def held(
    path: Path, timeout: float, like: Path | None = None, *, inherited: bool = True
) -> Iterator[None]:
    """Hold the lock, waiting up to ``timeout`` seconds; a missing directory is made.

    What root makes is given to the owner of ``like``, so that a service with a user of its own
    can use it. The file stays: removing it would let two passes hold two different files. Every
    program that is run meanwhile inherits the lock (flock(2)): where a pass is killed, the next one
    waits until what it ran has ended, too, and changes nothing any more; unless it is not to be
    ``inherited``, as where nothing that is run changes anything. Raise `LockError`.
    """
    with opened(path, like) as descriptor:
        try:
            _wait(descriptor, path, timeout)
            os.set_inheritable(descriptor, inherited)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # for a program that is left running, too


@contextmanager
def opened(path: Path, like: Path | None = None) -> Iterator[int]:
    """Open the file of a lock; a missing directory is made. Raise `LockError`."""
    try:
        made = [] if path.parent.is_dir() else [path.parent]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made += [] if os.path.lexists(path) else [path]
        descriptor = _opened(path)
    except OSError as error:
        raise LockError(
            f"{path}: cannot create the lock: {error.strerror}",
            files.remedy(error, "run as root, or set [treason] lock to a path that you may write"),
        ) from None
    try:
        give(made, like)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the lock, and create it if it is missing; on a read-only disk one that there is does."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS or not os.path.lexists(path):
            raise
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)


def leave(path: Path, text: str, like: Path | None = None) -> None:
    """Leave a small file beside the lock, which whoever has that may read. Raise OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        give([path], like)
        os.write(descriptor, text.encode(errors="surrogateescape"))
    finally:
        os.close(descriptor)


def give(made: Iterable[Path], like: Path | None) -> None:
    """Let the owner of ``like`` have what root has made."""
    if os.geteuid() != 0 or like is None:
        return
    with suppress(OSError):  # a directory that is missing has no owner to give to
        owner = like.stat()
        for path in made:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _wait(descriptor: int, path: Path, timeout: float) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not time.monotonic() < end:
                raise LockError(
                    f"{path}: another pass of treason is running, or a program that one ran",
                    f"waited {timeout:g} s; try again, or wait longer with --lock-timeout",
                ) from None
            time.sleep(0.02)
        else:
            return
