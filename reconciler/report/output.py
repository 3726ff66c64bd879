"""Where results go: standard output, which nobody else reaches once plugins are there."""

import fcntl
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

_HIGH: Final = 512
"""Descriptors from here on are seldom closed by programs that close all they do not know."""


class _Results:
    """The stream of results, once it is kept apart, and what puts all else back."""

    stream: TextIO | None = None
    restore: Callable[[], None] | None = None


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
        _Results.stream = os.fdopen(own, "w", encoding=shown.encoding, errors=shown.errors)
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
