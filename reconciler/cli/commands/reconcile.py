"""The command that makes a pass: ``reconcile``."""

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Final

import click
from attrs import evolve, frozen

from reconciler.cli.console import emit, warn
from reconciler.cli.ending import (
    code_of,
    complain_of,
    complain_of_damage,
    complain_of_feeds,
    doubt_of,
    feed_lines,
    scan_lines,
    warn_of,
    warn_of_open,
    warn_of_rules,
)
from reconciler.cli.options import (
    backend_names,
    examples,
    lock_timeout,
    output_format,
    source_names,
    verbose,
    verbosity,
)
from reconciler.config.setup import Setup
from reconciler.interfaces import Backend, Source
from reconciler.passes import access, resident
from reconciler.passes.run import Options, Pass, PassResult
from reconciler.report import json, text

Sources = Mapping[str, Callable[[], Source]]
Backends = Mapping[str, Callable[[], Backend]]
"""What makes each of them, by the names that people gave them."""

_LOOKS: Final = 3
"""How often a check looks, before it believes that a daemon leaves something as it is."""


@click.command(
    epilog=examples(
        "reconcile --check --diff",
        "reconcile --no-scan",
        "reconcile --source file:/var/log/kern.log",
    )
)
@click.option("--check", is_flag=True, help="Change nothing; exit with 2 if a backend differs.")
@click.option(
    "--diff",
    is_flag=True,
    help="Read every backend as a whole, and print the differences as a unified diff.",
)
@source_names
@backend_names
@click.option(
    "--observed", metavar="FILE", help="Check against this snapshot, written by `treason export`."
)
@click.option("--no-create", is_flag=True, help="Fail where there is no database yet.")
@click.option("--no-scan", is_flag=True, help="Read no source; enforce what is stored.")
@click.option(
    "--full",
    is_flag=True,
    help="Read back every element instead of trusting the last verified state.",
)
@click.option(
    "--force", is_flag=True, help="Skip the safety limits, and take over from another database."
)
@click.option(
    "--adopt", is_flag=True, help="Take over a list of the backend file, whoever wrote it."
)
@click.option(
    "--scheduled",
    is_flag=True,
    help="Change no firewall while a daemon is held or stands still, as a pass nobody asked for.",
)
@lock_timeout
@output_format
@verbosity
@click.pass_obj
def reconcile(
    setup: Setup,
    check: bool,
    diff: bool,
    source_names: tuple[str, ...],
    backend_names: tuple[str, ...],
    observed: str | None,
    no_create: bool,
    no_scan: bool,
    full: bool,
    force: bool,
    adopt: bool,
    scheduled: bool,
    lock_timeout: float,
    form: str,
) -> int:
    """Read the sources, then bring every firewall in line with the bans and the whitelist.

    Exit codes: 0 every backend is in sync, and was verified; 1 an error; 2 a backend differs, only
    with --check.
    """
    if observed is not None and not check:
        raise click.UsageError("--observed goes with --check")
    sources = None if no_scan else source_names
    chosen = Chosen(sources, backend_names, observed, not no_create, scheduled)
    options = Options(
        check=check,
        write=not check,
        force=force,
        full=full or diff,
        render=verbose(),
        adopt=adopt,
    )
    result = reconciled(setup, chosen, options, lock_timeout)
    tell(result, form, check=check, diff=diff)
    if scheduled and result.failed and not evolve(result, feeds=[]).failed:
        return resident.UNTAKEN
    return code_of(result)


def tell(result: PassResult, form: str, *, check: bool, diff: bool) -> None:
    """Print the result, and what people are to know besides."""
    doubt_of(result)
    warn_of(result.refused)
    warn_of_open(result)
    warn_of_rules(result)
    emit(
        form,
        lambda: json.reconciled(result, check=check),
        chain(
            filter(None, [text.paused(result.paused, result.now)]),
            scan_lines(result),
            feed_lines(result, check=check),
            text.outcomes(result.outcomes, diff=diff),
            text.closed(result.closing, verbose=verbose()),
        ),
    )
    complain_of(result.readings, result.outcomes, result.unwritten, result.unasked)
    complain_of_feeds(result)
    complain_of_damage(result.damage)


@frozen
class Chosen:
    """What the command line names: sources (None: none is read), backends, a snapshot of them.

    ``create`` allows to begin a database. ``scheduled``: nobody asked for the pass, so a daemon
    that rests is left at rest.
    """

    sources: tuple[str, ...] | None
    backends: tuple[str, ...]
    observed: str | None
    create: bool
    scheduled: bool

    def made(self, setup: Setup) -> tuple[Sources, Backends]:
        """Return their makers; refuse what is wrong, in the whitelist too. Raise `ConfigError`."""
        sources = {} if self.sources is None else setup.sources(self.sources)
        backends = setup.backends(self.backends)
        if self.observed is not None:
            from reconciler.passes import snapshot  # noqa: PLC0415 - it is seldom asked for

            backends = snapshot.backends(Path(self.observed), backends)
        setup.whitelist  # noqa: B018 - nothing is opened if it is wrong
        return sources, backends


def reconciled(setup: Setup, chosen: Chosen, options: Options, timeout: float) -> PassResult:
    """Make the pass, behind the lock if it changes anything.

    What differs beside a daemon is looked at once more: it was just about to correct it.
    """
    if not options.check:
        with access.locked(setup, timeout, chosen.made) as (current, made):
            return _run(current, chosen, made, options)[0]
    for _ in range(_LOOKS):
        result, beside = _run(setup, chosen, chosen.made(setup), options)
        if not (result.drifted and beside):
            break
    return result


def _run(
    setup: Setup, chosen: Chosen, made: tuple[Sources, Backends], options: Options
) -> tuple[PassResult, bool]:
    """Make the pass; return also whether a daemon has answered."""
    sources, backends = made
    beside = None if chosen.observed else resident.beside(setup, backends)
    if beside and chosen.scheduled and (resting := beside.resting()):
        warn(f"{resting}; no firewall is changed")
        backends = {}
    opened = (
        access.opened_to_enforce(setup, backends, create=chosen.create)
        if options.write
        else access.opened(setup, write=False, backends=backends, create=chosen.create)
    )
    with opened as store:
        clock = access.told(store)
        this = Pass(
            setup,
            store,
            clock.now,
            sources=sources,
            backends=backends,
            options=options,
            clock=clock,
            resident=beside,
        )
        result = this.run()
        if beside and options.write and not chosen.scheduled:
            beside.go_on()
            result = evolve(result, unasked=result.unasked or beside.silence)
        return result, bool(beside and beside.met)
