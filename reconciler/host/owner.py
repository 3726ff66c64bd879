"""Becoming another user, for good: what root starts need not stay root."""

import os
import pwd
from contextlib import suppress
from pathlib import Path

from reconciler.errors import TreasonError


def become(directory: Path) -> bool:
    """Let root become the owner of a directory, or of the nearest above it that there is.

    Return whether the process may do more than that user. Raise `TreasonError`.
    """
    if os.geteuid() != 0:
        return False
    while not directory.exists():
        directory = directory.parent
    status = directory.stat()
    if status.st_uid == 0:
        return True
    groups = [status.st_gid]
    with suppress(KeyError):  # a user without a name has no more groups
        groups = os.getgrouplist(pwd.getpwuid(status.st_uid).pw_name, status.st_gid)
    try:
        os.setgroups(groups)
        os.setresgid(status.st_gid, status.st_gid, status.st_gid)
        os.setresuid(status.st_uid, status.st_uid, status.st_uid)
    except OSError as error:
        raise TreasonError(
            f"{directory}: cannot become its owner, user {status.st_uid}: {error.strerror}"
        ) from None
    return False
