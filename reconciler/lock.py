"""One lock keeps two passes apart."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import LockError


@contextmanager
def held(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock, waiting up to ``timeout`` seconds; a missing directory is made.

    The file stays: removing it would let two passes hold two different files. Raise `LockError`.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LockError(
            f"{path}: cannot make the lock: {error.strerror}",
            "run as root, or set [treason] lock to a path that you may write",
        ) from None
    try:
        _wait(descriptor, path, timeout)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, path: Path, timeout: float) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise LockError(
                    f"{path}: another pass of treason is running",
                    f"waited {timeout:g} s; try again, or wait longer with --lock-timeout",
                ) from None
            time.sleep(0.02)
        else:
            return
