"""The command that shells ask for values: ``complete``. No help tells of it."""

import click

from reconciler.cli import completion
from reconciler.cli.console import OK, show


@click.command(hidden=True)
@click.argument("kind", default="")
@click.argument("prefix", default="")
@click.pass_obj
def complete(named: str | None, kind: str, prefix: str) -> int:
    """Print what a value of this kind may be, a line each; nothing where that cannot be told."""
    show(completion.values(kind, prefix, named))
    return OK
