"""The command that tells how things stand."""

from collections.abc import Callable, Mapping
from typing import Any

import click
from attrs import evolve

from reconciler.cli.console import ERROR, OK, emit, show
from reconciler.cli.ending import complain_of_damage
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.doctor import quick
from reconciler.errors import StoreError
from reconciler.interfaces import Backend, Source
from reconciler.passes import access, resident
from reconciler.passes.run import Options, Pass
from reconciler.passes.status import Status, look
from reconciler.report import json, text
from reconciler.report import status as report


@click.command(epilog=examples("status", "status --protection"))
@click.option("--protection", is_flag=True, help="List only what is protected, and why.")
@output_format
@verbosity
@click.pass_obj
def status(setup: Setup, protection: bool, form: str) -> int:
    """Show what is stored, what is exempt, and whether each backend is in sync.

    Also name the sources that see no kernel message, and whether the kernel prints its message at
    all. Ends with 1 if anything is paused, is in trouble, or cannot be told.
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
    try:
        found = _looked(setup, sources, backends)
    except StoreError:
        if form != "json" and (how := resident.Resident(setup).status()):
            show(report.daemon(how))  # which goes on, whatever became of the database
        raise
    found = evolve(found, warnings=(*found.warnings, *quick.warnings(setup)))
    emit(form, lambda: _value(found), report.status(found))
    complain_of_damage(found.damage)
    failed = found.damage or found.unasked or any(outcome.failure for outcome in found.outcomes)
    daemon = found.daemon
    hindered = daemon is not None and (daemon.troubles or daemon.rests)
    return ERROR if failed or found.paused or found.troubled or hindered else OK


def _value(found: Status) -> dict[str, Any]:
    from reconciler.report import status_json  # noqa: PLC0415 - people read no JSON

    return status_json.status(found)


def _looked(
    setup: Setup,
    sources: Mapping[str, Callable[[], Source]],
    backends: Mapping[str, Callable[[], Backend]],
) -> Status:
    """Look at all of it. Raise `StoreError` where the database cannot be read."""
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
        return look(check, sources)
