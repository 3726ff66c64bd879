"""Files that root alone reads, such as passwords: for the process of a feed, which is not root's.

systemd passes a copy to the feed's service; `treason feed run` by root reads them before it becomes
another user.
"""

import errno
import os
import re
import shlex
import stat
from collections.abc import Iterable
from contextlib import suppress
from os.path import normpath
from pathlib import Path
from typing import Final

from reconciler import files
from reconciler.errors import FeedUnreadable

_MOST: Final = 1 << 16
"""Bytes of a secret at most."""

_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH

_kept: Final[dict[str, bytes | FeedUnreadable]] = {}


def read(path: Path) -> bytes:
    """Return what the file at an absolute path holds, at most 64 KiB, with the ends of its lines.

    It is the copy that systemd passed (systemd.exec(5), LoadCredential), or what was kept while the
    process was still root's, and else the file itself. Raise `FeedUnreadable` where it is missing,
    empty, no file or too large, and where all users of the machine may read or write it.
    """
    with suppress(OSError):  # where this user may not look, no other may read
        _check(path, path.stat())
    if passed := os.environ.get("CREDENTIALS_DIRECTORY"):
        copy = Path(passed, credential(path))
        if copy.exists():
            return _content(path, copy)
    kept = _kept.get(_whole(path)) if os.geteuid() else None
    if isinstance(kept, FeedUnreadable):
        raise kept
    return _content(path, path) if kept is None else kept


def keep(paths: Iterable[str]) -> None:
    """Read them for `read`, which is called as another user; what fails is raised by that."""
    for path in paths:
        try:
            _kept[_whole(path)] = read(Path(path))
        except FeedUnreadable as error:
            _kept[_whole(path)] = error


def credential(path: str | Path) -> str:
    """Return the name by which systemd passes a secret, another one for each path.

    ``/etc/treason/fleet.password`` is ``etc-treason-fleet.password``; what is neither a letter, a
    digit nor a dot is ``_`` with the two hexadecimal digits of each byte.
    """
    parts = os.fsencode(_whole(path)).strip(b"/").split(b"/")
    return "-".join(re.sub(rb"[^A-Za-z0-9.]", _escaped, part).decode() for part in parts)


def _whole(path: str | Path) -> str:
    return normpath(Path(path).absolute())


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"_%02x" % match[0][0]


def _check(path: Path, status: os.stat_result) -> None:
    """Refuse a file that everybody knows, or may change."""
    if status.st_mode & _OTHERS:
        does = "read" if status.st_mode & stat.S_IROTH else "write to"
        raise FeedUnreadable(
            f"{path}: all users of this machine may {does} this secret",
            f"chmod o= {shlex.quote(str(path))}; replace the secret, if others may know it",
        )


def _content(path: Path, place: Path) -> bytes:
    """Return what stands at ``place``, which is known as ``path``."""
    try:
        content = files.content(place, _MOST)
    except FileNotFoundError:
        raise FeedUnreadable(
            f"{path}: there is no such file, and a secret is read from it",
            "write it there, and let root alone read it (mode 600)",
        ) from None
    except PermissionError:
        raise FeedUnreadable(
            f"{path}: this user may not read the secret in it",
            "let root run it, or the service that treason init --systemd installs",
        ) from None
    except OSError as error:
        large = error.errno == errno.EFBIG
        why = f"it holds more than {_MOST >> 10} KiB" if large else error.strerror
        raise FeedUnreadable(
            f"{path}: cannot read the secret in it: {why}", "write nothing but the secret there"
        ) from None
    if not content.strip():
        raise FeedUnreadable(f"{path}: this secret is empty", "write it there")
    return content
