"""Whether the disk of the database can be written, and has room."""

import os
import shlex
from collections.abc import Iterator
from typing import Final

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine

_LEAST: Final = 16 << 20
"""Bytes that a pass may need: its journal holds what it changes, and nothing is pruned at once."""

_INODES: Final = 16


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what keeps the next passes from storing."""
    path = machine.setup.config.treason.database
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return  # there is no database, which another check tells
    place = shlex.quote(str(path.parent))
    why = "what is found is enforced, but not stored: after a reboot it is forgotten"
    if disk.f_flag & os.ST_RDONLY:
        yield Finding(
            f"{path.parent}: the file system is read-only",
            why,
            f'mount -o remount,rw "$(findmnt -n -o TARGET -T {place})"',
        )
        return
    free = (disk.f_bfree if machine.is_root else disk.f_bavail) * disk.f_frsize
    if disk.f_blocks and free < _LEAST:
        yield Finding(
            f"{path.parent}: {free >> 20} MiB are free; a pass may need {_LEAST >> 20} MiB",
            why,
            f"make room there; this shows what takes it: du -xh {place} | sort -h | tail",
        )
    elif disk.f_files and disk.f_ffree < _INODES:
        yield Finding(
            f"{path.parent}: the file system takes no more files",
            why,
            f"remove files there; this counts them: du -x --inodes {place} | sort -n | tail",
        )
