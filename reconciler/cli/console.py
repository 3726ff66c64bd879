"""How every command speaks: results on standard output, all else on standard error.

The exit codes stand here too.
"""

import os
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler import log
from reconciler.report import output
from reconciler.report.plain import plain_lines

if TYPE_CHECKING:
    import logging

OK: Final = 0
ERROR: Final = 1
DRIFT: Final = 2
USAGE: Final = 64
"""The shape of the command line is wrong (EX_USAGE of sysexits.h)."""

MEANINGS: Final = {
    OK: "Done, or in sync.",
    ERROR: "An error: something cannot be read, is refused, or is not allowed."
    " What failed has changed nothing.",
    DRIFT: "Only of `reconcile --check`: a backend differs from what is desired.",
    USAGE: "Wrong use: an unknown command or option.",
}
"""What each code says, as the manual has it."""

_TOGETHER: Final = 1000
"""Lines that are printed at once: a list of any length needs no more memory than these."""

_WORDS: Final = {log.DEBUG: "debug: ", log.INFO: "info: ", log.WARNING: "warning: ", log.ERROR: ""}
_PRIORITIES: Final = {log.DEBUG: 7, log.INFO: 6, log.WARNING: 4, log.ERROR: 3}
"""Syslog's, which the journal reads at the beginning of a line (sd-daemon(3))."""


def say(text: str) -> None:
    """Print a result."""
    click.echo(text, file=output.stream())


def show(lines: Iterable[str]) -> None:
    """Print lines, if there are any."""
    coming = iter(lines)
    while not output.is_lost() and (some := [*islice(coming, _TOGETHER)]):
        say("\n".join(some))


def emit(form: str, value: Callable[[], dict[str, Any]], lines: Iterable[str]) -> None:
    """Print a result in the form that was asked for; only that one is made."""
    if form != "json":
        show(lines)
        return
    from reconciler.report import json  # noqa: PLC0415 - `--version` needs none

    say(json.dump(value()))


def note(text: str) -> None:
    """Print on standard error what is to be known beside a result."""
    _print(log.INFO, text, head="")


def warn(text: str) -> None:
    """Print a warning on standard error: something that changes no result."""
    _print(log.WARNING, text)


def complain(text: str) -> None:
    """Print an error on standard error."""
    _print(log.ERROR, text)


def trace(text: str) -> None:
    """Print a traceback on standard error."""
    _print(log.ERROR, text.rstrip("\n"), head="")


def listen(verbosity: int) -> None:
    """Print what is logged: warnings and errors, with one ``-v`` more, with two all."""
    level = (log.WARNING, log.INFO, log.DEBUG)[min(verbosity, 2)]
    log.begin(level, _handler)


def _handler() -> "logging.Handler":
    import logging  # noqa: PLC0415 - most runs log nothing

    class Teller(logging.Handler):
        """Prints each record as the command line prints everything."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                _print(record.levelno, self.format(record))
            except Exception:  # noqa: BLE001 - as every handler does: logging fails nothing
                self.handleError(record)

    return Teller()


def _print(level: int, text: str, head: str = "treason: ") -> None:
    lines = f"{head}{_WORDS.get(level, '')}{plain_lines(text)}"
    if _is_journal():
        mark = f"<{_PRIORITIES.get(level, 3)}>"
        lines = "\n".join(f"{mark}{line}" for line in lines.split("\n"))
    click.echo(lines, err=True)


def _is_journal() -> bool:
    """Whether standard error is the journal itself (JOURNAL_STREAM in systemd.exec(5))."""
    stream = os.environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    here = os.fstat(2)
    return stream == f"{here.st_dev}:{here.st_ino}"
