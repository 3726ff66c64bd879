"""The command that removes everything: ``teardown``."""

from functools import partial

import click

from reconciler.cli.console import ERROR, OK, show
from reconciler.cli.ending import complain_of
from reconciler.cli.options import backend_names, examples, lock_timeout, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import access, enforce
from reconciler.report import text


@click.command(epilog=examples("teardown", "teardown --backend iptables"))
@backend_names
@lock_timeout
@verbosity
@click.pass_obj
def teardown(setup: Setup, backend_names: tuple[str, ...], lock_timeout: float) -> int:
    """Remove everything that treason created in the firewalls; keep the stored bans."""
    with (
        access.locked(setup, lock_timeout, partial(Setup.backends, named=backend_names)) as (
            _,
            backends,
        ),
    ):
        outcomes = list(enforce.teardown(backends))
    show(text.outcomes(outcomes, diff=False))
    complain_of([], outcomes)
    return ERROR if any(outcome.failure for outcome in outcomes) else OK
