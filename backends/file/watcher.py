"""What becomes of a list, told by inotify(7)."""

import os

from reconciler import BackendUnreadable, TreasonError, inotify

_State = tuple[int, ...] | None


class ListWatcher:
    """Waits for a list to be written, replaced, moved or removed, or any directory on its path."""

    def __init__(self, path: str) -> None:
        """Begin to wait. Raise `BackendUnreadable` where that cannot be."""
        self._path = path
        self._state: _State = ()
        try:
            self._watch = inotify.Watch(path)
        except TreasonError as error:
            raise BackendUnreadable(error.what, error.hint) from None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something happened there."""
        return self._watch.fileno()

    def changed(self) -> bool:
        """Take what is told; return whether the list may be another than at the last call.

        What others, or a pass, do beside it in its directory is no change.
        """
        try:
            is_another = self._watch.take()
        except TreasonError as error:
            raise BackendUnreadable(error.what, error.hint) from None
        before, self._state = self._state, _state(self._path)
        return is_another or before != self._state

    def close(self) -> None:
        """Wait no more."""
        self._watch.close()


def _state(path: str) -> _State:
    """Return what changes with every change of a file; None of one that is missing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - inotify takes paths as text
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
