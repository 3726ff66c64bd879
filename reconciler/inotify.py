"""What becomes of paths, told by inotify(7): of their content, and which files they stand for."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Final, NamedTuple

from reconciler.errors import TreasonError

# Bits of include/uapi/linux/inotify.h.
_MODIFY: Final = 0x2
_ATTRIB: Final = 0x4
_MOVED_FROM: Final = 0x40
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_DELETE_SELF: Final = 0x400
_MOVE_SELF: Final = 0x800
_UNMOUNT: Final = 0x2000
_OVERFLOW: Final = 0x4000
_IGNORED: Final = 0x8000
_ONLYDIR: Final = 0x1000000
_MASK_ADD: Final = 0x20000000

_GONE: Final = _DELETE_SELF | _MOVE_SELF
_FILE: Final = _MODIFY | _ATTRIB | _GONE | _MASK_ADD
_NAMES: Final = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO | _ATTRIB

_EVENT: Final = struct.Struct("=iIII")
"""Watch, mask, cookie, and the length of the name that follows."""

_PIECE: Final = 1 << 16
"""Bytes of events that are taken at once."""

_LINKS: Final = 40
"""Symbolic links in a path, of which the kernel follows no more (MAXSYMLINKS)."""

_AWAY: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""Errors that say that a path leads to nothing."""

_TRIES: Final = 20
"""How often names are looked at again that change meanwhile."""


class _Event(NamedTuple):
    watch: int
    mask: int
    name: str


class Watch:
    """Waits for paths: for their content, and for the files that they stand for.

    No file need be there. Watched are the files, and each directory and symbolic link by which a
    path leads to one; of a directory that a path names, what is in it. Not seen is what nobody
    tells inotify: writing through mmap(2), changes that another machine makes on a network's file
    system, and what is mounted over a directory.
    """

    def __init__(self, *paths: str) -> None:
        """Begin to wait. Raise `TreasonError` where the limit of inotify is reached."""
        self._paths = paths
        self._directories: dict[int, set[str]] = {}
        self._files: set[int] = set()
        self._changed = self._unwatched = True
        self._touched = False
        try:
            self._descriptor = _libc("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _failed(paths[0], error) from None
        try:
            self._watch_all()
        except TreasonError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something changed."""
        return self._descriptor

    def take(self) -> bool:
        """Take what came; return whether the path may stand for another file than before.

        What comes from here on makes the descriptor readable again. The first call returns True.
        Raise `TreasonError` where what the path leads to now cannot be watched.
        """
        changed, self._changed = self._changed, False
        for _ in range(_TRIES):
            if not (self._unwatched or any([*map(self._tells, self._events())])):
                return changed
            changed = True
            self._watch_all()
        return True  # what has come meanwhile is for the next call

    def touched(self) -> bool:
        """Take what came; return whether it concerns the paths, or what they hold. Raise as `take`.

        A directory also tells of what else is in it.
        """
        self._touched = False
        return self.take() or self._touched

    def also(self, descriptor: int) -> None:
        """Wait for an open file, too, until the path stands for another one. Raise as `take`."""
        watch = self._added(f"/proc/self/fd/{descriptor}", _FILE, needed=True)
        if watch is not None:
            self._files.add(watch)

    def close(self) -> None:
        """Wait no more."""
        os.close(self._descriptor)

    def _events(self) -> Iterator[_Event]:
        for _ in range(_TRIES):
            try:
                data = os.read(self._descriptor, _PIECE)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _cookie, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                name = data[at - length : at].rstrip(b"\0")
                yield _Event(watch, mask, os.fsdecode(name))

    def _tells(self, event: _Event) -> bool:
        """Whether names may have changed: always where events were lost, or a watch."""
        self._touched |= event.watch in self._files
        if event.mask & _OVERFLOW:
            return True
        if event.watch in self._directories and event.name in self._directories[event.watch]:
            return True
        ours = event.watch in self._files or event.watch in self._directories
        return ours and bool(event.mask & (_GONE | _UNMOUNT | _IGNORED))

    def _watch_all(self) -> None:
        """Watch what the paths lead to now, and nothing else any more."""
        self._unwatched = True
        for _ in range(_TRIES):
            found = _directories(self._paths)
            self._watch_these(found)
            if _directories(self._paths) == found:
                break
        self._unwatched = False

    def _watch_these(self, found: dict[str, set[str]]) -> None:
        before = {*self._directories, *self._files}
        self._directories, self._files = {}, set()
        for directory, names in found.items():
            mask = _GONE | _ONLYDIR | _MASK_ADD | (_NAMES if names else 0)
            watch = self._added(directory, mask, needed=bool(names))
            if watch is not None:
                self._directories.setdefault(watch, set()).update(names)
        for path in self._paths:
            watch = self._added(path, _FILE | _NAMES, needed=False)
            if watch is not None:
                self._files.add(watch)
        for stale in before - {*self._directories, *self._files}:
            with suppress(OSError):  # it was gone with what it watched
                _libc("inotify_rm_watch", self._descriptor, stale)

    def _added(self, path: str, mask: int, *, needed: bool) -> int | None:
        """Watch something; None where it is not there, or may not be read and is not needed.

        A file that may not be read tells nothing until its mode changes, which its directory tells;
        through a directory one may pass without reading it.
        """
        try:
            return _libc("inotify_add_watch", self._descriptor, os.fsencode(path), mask)
        except OSError as error:
            denied = isinstance(error, PermissionError)
            if error.errno in _AWAY or (denied and not needed):
                return None
            raise _failed(path, error) from None


def _directories(paths: Iterable[str]) -> dict[str, set[str]]:
    """Return the directories by which paths lead to their files, and the names that decide there.

    A name decides where it is a link, is missing, or is the last one. A directory with none is
    passed through.
    """
    found: dict[str, set[str]] = {}
    for path in paths:
        _follow(path, found)
    return found


def _follow(path: str, found: dict[str, set[str]]) -> None:
    """Add the directories of one path."""
    at, links = "/", 0
    left = [*reversed(os.path.join(os.getcwd(), path).split("/"))]  # noqa: PTH109, PTH118 - paths are text here
    while left:
        name = left.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            at = os.path.dirname(at)  # noqa: PTH120 - as above
            continue
        here = f"{at.rstrip('/')}/{name}"
        try:
            target = os.readlink(here)  # noqa: PTH115 - as above
        except OSError as error:
            if error.errno == errno.EINVAL and any(left) and os.path.isdir(here):  # noqa: PTH112 - as above
                found.setdefault(here, set())
                at = here
                continue
            found.setdefault(at, set()).add(name)
            break
        found.setdefault(at, set()).add(name)
        links += 1
        if links > _LINKS:
            break
        at = "/" if target.startswith("/") else at
        left += reversed(target.split("/"))


def _failed(path: str, error: OSError) -> TreasonError:
    """Return why a path cannot be watched (inotify_init1(2), inotify_add_watch(2))."""
    if error.errno == errno.EMFILE:
        return TreasonError(
            f"cannot watch {path!r}: too many inotify instances or open files",
            "raise fs.inotify.max_user_instances (sysctl), or the limit of open files",
        )
    if error.errno == errno.ENOSPC:
        return TreasonError(
            f"cannot watch {path!r}: the limit of inotify watches is reached",
            "raise fs.inotify.max_user_watches (sysctl)",
        )
    return TreasonError(f"cannot watch {path!r}: {error.strerror}")


def _libc(name: str, *arguments: int | bytes) -> int:
    """Call a function of the C library. Raise OSError where it fails."""
    result: int = getattr(_library(), name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
