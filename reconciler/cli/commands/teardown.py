"""The command that lifts everything: ``teardown``."""

import click

from reconciler.cli.console import apart, show
from reconciler.cli.ending import code_of, complain_of
from reconciler.cli.options import (
    backend_names,
    lock_timeout,
    verbosity,
)
from reconciler.config.setup import Setup
from reconciler.passes import access, enforce
from reconciler.report import text


@click.command()
@backend_names
@lock_timeout
@verbosity
@click.pass_obj
def teardown(setup: Setup, backend_names: tuple[str, ...], lock_timeout: float) -> int:
    """Remove all that treason made in the firewall; the stored bans stay."""
    with apart():
        setup.backends(backend_names)  # nothing is made if it is wrong, not even the lock
        with access.locked(setup, lock_timeout) as current:
            outcomes = list(enforce.teardown(current.backends(backend_names)))
    show(text.outcomes(outcomes, diff=False))
    complain_of([], outcomes)
    return code_of([], outcomes)
