"""How every command speaks to people, and the exit codes."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import click

OK: Final = 0
ERROR: Final = 1
DRIFT: Final = 2
USAGE: Final = 64
"""The shape of the command line is wrong (EX_USAGE of sysexits.h)."""

_TOGETHER: Final = 1000
"""Lines that are printed at once: a list of any length needs no more memory than these."""


def plain(text: str) -> str:
    """Make control characters visible: evidence comes from strangers."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plain_lines(text: str) -> str:
    """Do so, but leave line breaks."""
    return "\n".join(map(plain, text.split("\n")))


def show(lines: Iterable[str]) -> None:
    """Print lines, if there are any."""
    coming = iter(lines)
    while some := [*islice(coming, _TOGETHER)]:
        click.echo("\n".join(some))


def warn(text: str) -> None:
    """Tell of something that changes no result."""
    complain(f"warning: {text}")


def complain(text: str) -> None:
    """Tell of an error, on stderr."""
    click.echo(f"treason: {plain_lines(text)}", err=True)
