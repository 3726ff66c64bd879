"""The options that commands share."""

from typing import Final

import click

from reconciler.cli import console

_KEY: Final = f"{__name__}.verbose"


def verbose() -> bool:
    """Whether ``-v`` stands anywhere on the command line."""
    return bool(click.get_current_context().meta.get(_KEY))


def examples(*lines: str) -> str:
    """Return the end of a command's help: what people really type, a line each."""
    return "\b\n" + "\n".join(["Examples:", *(f"  treason {line}" for line in lines)])


def _count(context: click.Context, _parameter: click.Parameter, value: int) -> None:
    context.meta[_KEY] = context.meta.get(_KEY, 0) + value
    console.listen(context.meta[_KEY])


verbosity = click.option(
    "-v", "--verbose", count=True, expose_value=False, callback=_count,
    help="Show more detail; -vv also logs every step.",
)  # fmt: skip
output_format = click.option(
    "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text",
    help="The format of the result on standard output.",
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
    metavar="SECONDS", help="How long to wait while another pass is running.",
)  # fmt: skip
