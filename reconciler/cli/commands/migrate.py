"""The command that moves from one backend to another: ``migrate``."""

from json import dumps
from time import time

import click
from attrs import evolve

from reconciler.cli.console import OK, apart, complain, show, warn
from reconciler.cli.ending import code_of, complain_of, warn_of
from reconciler.cli.options import (
    lock_timeout,
    verbosity,
)
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.passes import access
from reconciler.passes.enforce import State
from reconciler.passes.migrate import move
from reconciler.passes.run import Options, Pass
from reconciler.report import text


@click.command()
@click.option(
    "--from", "old", required=True, metavar="NAME[:ARGUMENT]", help="The backend to leave."
)
@click.option("--to", "new", required=True, metavar="NAME[:ARGUMENT]", help="The one to use.")
@click.option("--force", is_flag=True, help="Lift however much the move would lift.")
@lock_timeout
@verbosity
@click.pass_obj
def migrate(setup: Setup, old: str, new: str, force: bool, lock_timeout: float) -> int:
    """Move from one backend to another: the old one is torn down when the new one holds all."""
    if old == new:
        raise ConfigError(f"both are {old!r}", "name two backends; `treason plugins` lists them")
    database = setup.config.treason.database
    if not database.exists():
        raise ConfigError(
            f"{database}: there is no database, so the new one would hold nothing",
            "name it under [treason], or make it with `treason init`",
        )
    with apart():
        for name in (old, new):
            setup.backends((name,))  # nothing is made if it is wrong, not even the lock
        setup.whitelist  # noqa: B018 - likewise
        with (
            access.locked(setup, lock_timeout) as current,
            access.opened(current, write=False) as store,
        ):
            [leaving], [coming] = (current.backends((name,)).items() for name in (old, new))
            options = Options(check=True, force=force)
            goal, refused = Pass(current, store, int(time()), options=options).goal()
            outcomes = list(move(leaving, coming, evolve(goal, knowledge=None)))
    warn_of(refused)
    show(text.outcomes(outcomes, diff=False))
    complain_of([], outcomes)
    code = code_of([], outcomes)
    listed = current.config.treason.backends
    if code != OK and all(outcome.state is not State.REMOVED for outcome in outcomes):
        complain(f"{old} was not torn down")
    elif old in listed or new not in listed:
        names = dumps([*(name for name in listed if name not in {old, new}), new])
        warn(f"before the next pass, set backends = {names} under [treason] in {current.path}")
    return code
