"""The command that moves from one backend to another: ``migrate``."""

from functools import partial
from json import dumps

import click
from attrs import evolve

from reconciler.cli.console import ERROR, OK, complain, show, warn
from reconciler.cli.ending import complain_of, complain_of_damage, warn_of
from reconciler.cli.options import examples, lock_timeout, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.passes import access, resident
from reconciler.passes.enforce import State
from reconciler.passes.migrate import Maker, move
from reconciler.passes.run import Options, Pass
from reconciler.report import text
from reconciler.store.opening import is_blank


@click.command(epilog=examples("migrate --from iptables --to nftables"))
@click.option(
    "--from", "old", required=True, metavar="NAME[:ARGUMENT]", help="The backend to move from."
)
@click.option(
    "--to", "new", required=True, metavar="NAME[:ARGUMENT]", help="The backend to move to."
)
@click.option(
    "--force", is_flag=True, help="Skip the safety limit, and take over from another database."
)
@lock_timeout
@verbosity
@click.pass_obj
def migrate(setup: Setup, old: str, new: str, force: bool, lock_timeout: float) -> int:
    """Move from one backend to another: remove the old one once the new one is verified."""
    if old == new:
        raise ConfigError(
            f"--from and --to both name {old!r}",
            "name two different backends; `treason plugins` lists them",
        )
    with (
        resident.held(setup, [old, new], lock_timeout) as hold,
        access.locked(setup, lock_timeout, partial(_made, names=(old, new))) as (current, made),
        access.opened(current, write=False) as store,
    ):
        options = Options(write=False, force=force)
        beside = resident.beside(current, (old, new))
        now = access.told(store).now
        prepared = Pass(current, store, now, options=options, resident=beside).prepare()
        leaving, coming = made
        outcomes = list(move(leaving, coming, evolve(prepared.goal, knowledge=None)))
        warn_of(prepared.refused)
        show(filter(None, [text.paused(prepared.paused, now)]))
        show(text.outcomes(outcomes, diff=False))
        complain_of([], outcomes)
        complain_of_damage(store.damage)
        listed = current.config.treason.backends
        removed = any(outcome.state is State.REMOVED for outcome in outcomes)
        if hold and removed and old in listed:
            hold.stand_still("migrate")
    failed = store.damage or any(outcome.failure for outcome in outcomes)
    if failed and not removed:
        complain(f"{old} was not removed; it still drops what it dropped before")
    elif old in listed or new not in listed:
        names = dumps([*(name for name in listed if name not in {old, new}), new])
        what = f"set backends = {names} in [treason] of {current.path}"
        still = f"the daemon (process {hold.pid}) stands still until you" if hold else ""
        warn(f"{still} {what}" if still else f"before the next pass, {what}")
    return ERROR if failed else OK


def _made(setup: Setup, names: tuple[str, str]) -> list[Maker]:
    """Return what makes the two backends. Raise `ConfigError`, also without a database."""
    database = setup.config.treason.database
    if is_blank(database):
        raise ConfigError(
            f"{database}: there is no database, or an empty one: the new backend would drop nobody",
            "set [treason] database to the right file, or create one: treason init",
        )
    setup.whitelist  # noqa: B018 - nothing is opened if it is wrong
    return [maker for name in names for maker in setup.backends((name,)).items()]
