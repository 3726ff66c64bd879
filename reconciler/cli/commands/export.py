"""The command that prints what firewalls hold: ``export``."""

import click

from reconciler.cli.console import ERROR, OK, complain, say
from reconciler.cli.options import backend_names, examples, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import snapshot


@click.command(epilog=examples("export --observed > observed.json"))
@click.option(
    "--observed", is_flag=True, required=True, help="Print what the firewalls really hold."
)
@backend_names
@verbosity
@click.pass_obj
def export(setup: Setup, observed: bool, backend_names: tuple[str, ...]) -> int:  # noqa: ARG001 - required
    """Print what the firewalls hold, for `reconcile --check --observed`."""
    held, errors = snapshot.take(setup.backends(backend_names))
    say(held)
    for error in errors:
        complain(error)
    return ERROR if errors else OK
