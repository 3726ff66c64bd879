"""The command that tells how things stand."""

import click

from reconciler.cli.console import ERROR, OK, emit
from reconciler.cli.ending import complain_of_damage
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import access, resident
from reconciler.passes.run import Options, Pass
from reconciler.passes.status import look
from reconciler.report import json, text


@click.command(epilog=examples("status", "status --protection"))
@click.option("--protection", is_flag=True, help="List only what is protected, and why.")
@output_format
@verbosity
@click.pass_obj
def status(setup: Setup, protection: bool, form: str) -> int:
    """Show what is stored, what is exempt, and whether each backend is in sync.

    Also name the sources that see no kernel message, and whether the kernel prints its message at
    all.
    """
    backends, sources = setup.backends(), setup.sources()
    if setup.config.rule:
        setup.rules  # noqa: B018 - what keeps one from banning is warned of
    if protection:
        with access.opened(setup, write=False) as store:
            now = access.told(store).now
            clients, banned = store.clients.active(now), access.teredo(store, now)
        protected = access.protection(setup, clients, banned)
        emit(form, lambda: {"protection": json.exemptions(protected)}, text.exemptions(protected))
        return OK
    with access.opened(setup, write=False) as store:
        options = Options(check=True, write=False)
        clock = access.told(store)
        check = Pass(
            setup,
            store,
            clock.now,
            backends=backends,
            options=options,
            clock=clock,
            resident=resident.beside(setup, backends),
        )
        found = look(check, sources)
    emit(form, lambda: json.status(found), text.status(found))
    complain_of_damage(found.damage)
    rests = found.daemon is not None and found.daemon.rests
    failed = found.damage or found.unasked or any(outcome.failure for outcome in found.outcomes)
    return ERROR if failed or rests or found.paused else OK
