"""The command that removes everything: ``teardown``."""

from contextlib import ExitStack
from functools import cache, partial

import click

from reconciler.cli.console import ERROR, OK, say, show
from reconciler.cli.ending import complain_of
from reconciler.cli.options import backend_names, examples, lock_timeout, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import access, enforce, resident
from reconciler.passes.enforce import Goal
from reconciler.passes.run import Options, Pass
from reconciler.report import text


@click.command(epilog=examples("teardown", "teardown --backend iptables"))
@backend_names
@lock_timeout
@verbosity
@click.pass_obj
def teardown(setup: Setup, backend_names: tuple[str, ...], lock_timeout: float) -> int:
    """Remove everything that treason created in the firewalls; keep the stored bans.

    A list that this database did not write stays. A daemon puts nothing back until `treason resume`
    or `treason reconcile`, or until it is restarted.
    """
    made = partial(Setup.backends, named=backend_names)
    names = backend_names or setup.config.treason.backends
    with (
        resident.held(setup, names, lock_timeout) as hold,
        access.locked(setup, lock_timeout, made) as (current, backends),
        ExitStack() as stack,
    ):

        @cache
        def goal() -> Goal:  # only a few backends need the database, which may be gone
            store = stack.enter_context(access.opened(current, write=False))
            now = access.told(store).now
            return Pass(current, store, now, options=Options(write=False)).prepare().goal

        outcomes = list(enforce.teardown(backends, goal))
        show(text.outcomes(outcomes, diff=False))
        complain_of([], outcomes)
        if hold:
            hold.stand_still("teardown")
            say(f"the daemon (process {hold.pid}) stands still; go on: treason resume")
    return ERROR if any(outcome.failure for outcome in outcomes) else OK
