"""How a pass ends: its result, what went wrong, and its exit code."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from reconciler.cli.console import DRIFT, ERROR, OK, complain, show, warn
from reconciler.cli.options import verbose
from reconciler.lines import first_few
from reconciler.passes.enforce import Outcome, State
from reconciler.passes.scan import Reading
from reconciler.report import json


def emit(form: str, value: Callable[[], dict[str, Any]], lines: Iterable[str]) -> None:
    """Print the result in the form that was asked for; only that one is made."""
    if form == "json":
        click.echo(json.dump(value()))
    else:
        show(lines)


def code_of(readings: Sequence[Reading], outcomes: Sequence[Outcome]) -> int:
    """Return the exit code of a pass."""
    states = {outcome.state for outcome in outcomes}
    if any(outcome.error for outcome in outcomes) or any(reading.error for reading in readings):
        return ERROR
    return DRIFT if State.DRIFT in states else OK


def complain_of(readings: Iterable[Reading], outcomes: Iterable[Outcome]) -> None:
    """Tell what went wrong in a pass, on stderr."""
    results: list[Reading | Outcome] = [*readings, *outcomes]
    for each in results:
        if each.error:
            complain(each.error)
        if each.trace and verbose():
            click.echo(each.trace, err=True, nl=False)


def warn_of(refused: Sequence[str]) -> None:
    """Tell which stored bans are not enforced."""
    if refused:
        some = first_few([*map(repr, refused)])
        warn(f"{len(refused)} stored bans are no networks, or too wide, so not enforced: {some}")
