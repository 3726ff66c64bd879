"""What the commands share: options, exit codes, and how they speak."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from reconciler import output
from reconciler.loop import Outcome, Reading, State
from reconciler.session import complain

OK: Final = 0
ERROR: Final = 1
DRIFT: Final = 2

_KEY: Final = f"{__name__}.verbose"


def verbose() -> bool:
    """Whether ``-v`` stands anywhere on the command line."""
    return bool(click.get_current_context().meta.get(_KEY))


def _remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[_KEY] = context.meta.get(_KEY) or value


verbosity = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=_remember, help="Tell more."
)
output_format = click.option(
    "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text",
    help="What to print on standard output.",
)  # fmt: skip
source_names = click.option(
    "--source", "source_names", multiple=True, metavar="NAME[:ARGUMENT]",
    help="Read this source instead of the configured ones. Repeatable.",
)  # fmt: skip
backend_names = click.option(
    "--backend", "backend_names", multiple=True, metavar="NAME[:ARGUMENT]",
    help="Use this backend instead of the configured ones. Repeatable.",
)  # fmt: skip
lock_timeout = click.option(
    "--lock-timeout", type=click.FloatRange(min=0), default=10.0, show_default=True,
    metavar="SECONDS", help="How long to wait for another pass to end.",
)  # fmt: skip


def show(lines: Iterable[str]) -> None:
    """Print lines, if there are any."""
    text = "\n".join(lines)
    if text:
        click.echo(text)


def emit(form: str, value: dict[str, Any], lines: Iterable[str]) -> None:
    """Print the result in the form that was asked for."""
    if form == "json":
        click.echo(output.dump(value))
    else:
        show(lines)


def code_of(readings: Sequence[Reading], outcomes: Sequence[Outcome]) -> int:
    """Give the exit code of a pass."""
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
