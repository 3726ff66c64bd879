"""Where results go: standard output, which nobody else reaches once plugins are there.

Whether anybody reads them changes neither what is done nor the exit code.
"""

import errno
import fcntl
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_HIGH: Final = 512
"""Descriptors from here on are seldom closed by programs that close all they do not know."""


class _Results:
    """The stream of results, once it is kept apart, and what puts all else back."""

    stream: TextIO | None = None
    restore: Callable[[], None] | None = None


class _Patient(io.FileIO):
    """A file whose writes succeed also when they fail with one of the codes in ``forgiven``."""

    forgiven = frozenset({errno.EPIPE})
    is_lost = False

    def write(self, data: "Buffer", /) -> int:
        """Write, and say that all was written where nobody reads it any more."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self.forgiven:
                raise
            self.is_lost = True
            return memoryview(data).nbytes


class _Told(_Patient):
    """What is told on standard error: where it cannot be, there is nobody to say so to."""

    forgiven = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO})


def settle() -> None:
    """Let no file take the place of a closed stream, and no output fail for its reader's sake."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, kind in (("stdout", _Patient), ("stderr", _Told)):
        shown = getattr(sys, name)
        if isinstance(shown, io.TextIOWrapper):
            if shown is getattr(sys, f"__{name}__"):
                lines = shown.line_buffering
                shown = _text(kind(shown.fileno(), "w", closefd=False), shown, lines=lines)
                setattr(sys, name, shown)
                setattr(sys, f"__{name}__", shown)
            shown.reconfigure(errors="backslashreplace")


def is_lost() -> bool:
    """Whether nobody reads the results any more."""
    buffer = getattr(stream(), "buffer", None)
    return bool(getattr(getattr(buffer, "raw", None), "is_lost", False))


def _text(raw: io.FileIO, like: io.TextIOWrapper, *, lines: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw), like.encoding, like.errors, line_buffering=lines
    )


def stream() -> TextIO | None:
    """Return the stream of results; None where standard output was closed from the start."""
    return sys.stdout if _Results.stream is None else _Results.stream


def keep_apart() -> None:
    """Let only results reach standard output; what plugins print goes to standard error."""
    if _Results.stream is not None or sys.stdout is None:
        return
    shown = sys.stdout
    shown.flush()
    if shown is sys.__stdout__ and isinstance(shown, io.TextIOWrapper):
        own = _duplicate(1)
        os.dup2(2, 1)
        _Results.stream = _text(_Patient(own, "w"), shown)
    else:  # somebody who runs us in a process of his own has put another in its place
        _Results.stream = shown
        _Results.restore = lambda: setattr(sys, "stdout", shown)
    sys.stdout = sys.stderr


def finish() -> None:
    """Write what is left. Raise OSError."""
    results = stream()
    if results is not None:
        results.flush()


def restore() -> None:
    """Let out what plugins left in the first stream, and give a stream back that is not ours."""
    if _Results.stream is not None and sys.__stdout__ is not None:
        with suppress(OSError, ValueError):  # a plugin may have closed it
            sys.__stdout__.flush()
    if _Results.restore is not None:
        _Results.restore()
        _Results.stream = _Results.restore = None


def discard() -> None:
    """Throw away what could not be written, or Python tries again at its end."""
    results = stream()
    with suppress(OSError):  # io.UnsupportedOperation is one: a stream without a descriptor
        descriptor = -1 if results is None else results.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _duplicate(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:  # so many are not allowed
        return os.dup(descriptor)
