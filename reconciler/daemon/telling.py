"""What the daemon says on standard error: each trouble once when it begins, and when it is over."""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from reconciler import log
from reconciler.errors import describe, trace
from reconciler.log import DEBUG, ERROR, INFO, WARNING, Log
from reconciler.report.plain import plain_lines

if TYPE_CHECKING:
    import logging

_WORDS: Final = {DEBUG: "debug: ", INFO: "", WARNING: "warning: ", ERROR: ""}
_PRIORITIES: Final = {DEBUG: 7, INFO: 6, WARNING: 4, ERROR: 3}
"""Syslog's, which the journal reads at the beginning of a line (sd-daemon(3))."""

_log = Log("daemon")


def say(text: str, level: int = INFO) -> None:
    """Print it; where that cannot be done, there is nobody to say so to."""
    lines = f"treason: {_WORDS.get(level, '')}{plain_lines(text)}"
    if _is_journal():
        lines = "\n".join(f"<{_PRIORITIES.get(level, 3)}>{line}" for line in lines.split("\n"))
    with suppress(OSError, ValueError):
        print(lines, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints


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
        """Print what is wrong, unless that was done already."""
        if self._held.get(subject) != text:
            self._held.pop(subject, None)  # the latest comes last
            self._held[subject] = text
            say(text, ERROR)

    def end(self, subject: str) -> None:
        """Print that it is over, if it was wrong."""
        if self._held.pop(subject, None) is not None:
            say(f"{subject}: all is well again")

    def of(self, subject: str) -> str:
        """Return what is wrong with it; an empty text: nothing is."""
        return self._held.get(subject, "")

    def texts(self) -> tuple[str, ...]:
        """Return what is wrong, the latest last."""
        return tuple(self._held.values())


def _is_journal() -> bool:
    """Whether standard error is the journal itself (JOURNAL_STREAM in systemd.exec(5))."""
    here = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{here.st_dev}:{here.st_ino}"


def _handler() -> "logging.Handler":
    import logging  # noqa: PLC0415 - most of the time nothing is logged

    class Teller(logging.Handler):
        """Prints each record."""

        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record), record.levelno)

    return Teller()
