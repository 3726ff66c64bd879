"""What the daemon says on standard error: each trouble once when it begins, and when it is over."""

import os
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from reconciler import log
from reconciler.errors import describe, trace
from reconciler.lines import counted
from reconciler.log import DEBUG, ERROR, INFO, WARNING, Log
from reconciler.report.plain import plain_lines

if TYPE_CHECKING:
    import logging

_WORDS: Final = {DEBUG: "debug: ", INFO: "", WARNING: "warning: ", ERROR: ""}
_PRIORITIES: Final = {DEBUG: 7, INFO: 6, WARNING: 4, ERROR: 3}
"""Syslog's, which the journal reads at the beginning of a line (sd-daemon(3))."""

_PIECE: Final = select.PIPE_BUF
"""Bytes that a pipe, a terminal or the journal's socket takes at once where it takes any."""

_log = Log("daemon")


class Printer:
    """Prints on standard error, and never waits: who reads it may hang, as the journal can.

    What is not taken is counted, and told of before what is printed next.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._turn = threading.Lock()  # or one thread fills what the other has found free
        self._lost = 0

    def print(self, text: str, level: int) -> None:
        """Print it; where that cannot be done, there is nobody to say so to."""
        with self._turn, suppress(OSError):
            if self._lost:
                lost = counted(self._lost, "message")
                if not self._put(
                    f"warning: {lost} could not be printed: nobody took them", WARNING
                ):
                    self._lost += 1
                    return
                self._lost = 0
            if not self._put(f"{_WORDS.get(level, '')}{plain_lines(text)}", level):
                self._lost += 1

    def _put(self, text: str, level: int) -> bool:
        lines = f"treason: {text}\n"
        if self._is_journal():
            lines = "".join(
                f"<{_PRIORITIES.get(level, 3)}>{line}" for line in lines.splitlines(keepends=True)
            )
        rest = lines.encode(errors="backslashreplace")
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        while rest and poll.poll(0):
            rest = rest[os.write(self.descriptor, rest[:_PIECE]) :]
        return not rest

    def _is_journal(self) -> bool:
        """Whether standard error is the journal itself (JOURNAL_STREAM in systemd.exec(5))."""
        here = os.fstat(self.descriptor)
        return os.environ.get("JOURNAL_STREAM") == f"{here.st_dev}:{here.st_ino}"


_printer: Final = Printer(2)


def say(text: str, level: int = INFO) -> None:
    """Print it, unless nobody takes it."""
    _printer.print(text, level)


def failure(error: BaseException, name: str) -> str:
    """Return what is told where the plugin ``name`` raised this; -v says where it did so."""
    if where := trace(error):
        _log.info("%s", where)
    return describe(error, name)


def listen(level: int) -> None:
    """Print what is logged from a level on, as everything else is printed."""
    log.begin(level, _handler)


class Troubles:
    """What is wrong now, by what it concerns."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}

    def begin(self, subject: str, text: str) -> None:
        """Print what is wrong, unless that was done already, for this subject or for another."""
        if self._held.get(subject) != text:
            self._held.pop(subject, None)  # the latest comes last
            if text not in self._held.values():
                say(text, ERROR)
            self._held[subject] = text

    def end(self, subject: str) -> None:
        """Print that it is over, if it was wrong."""
        if self._held.pop(subject, None) is not None:
            say(f"{subject}: all is well again")

    def of(self, subject: str) -> str:
        """Return what is wrong with it; an empty text: nothing is."""
        return self._held.get(subject, "")

    def texts(self) -> tuple[str, ...]:
        """Return what is wrong, the latest last; what concerns two subjects is told once."""
        return tuple(dict.fromkeys(self._held.values()))


def _handler() -> "logging.Handler":
    import logging  # noqa: PLC0415 - most of the time nothing is logged

    class Teller(logging.Handler):
        """Prints each record."""

        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record), record.levelno)

    return Teller()
