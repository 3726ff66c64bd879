"""The commands that make a pass: reconcile, scan, migrate, teardown, export."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain
from json import dumps
from pathlib import Path
from time import time

import click
from attrs import evolve, frozen

from reconciler.cli.console import ERROR, OK, apart, complain, show, warn
from reconciler.cli.ending import code_of, complain_of, emit, warn_of
from reconciler.cli.options import (
    backend_names,
    lock_timeout,
    output_format,
    source_names,
    verbose,
    verbosity,
)
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.host import kernel_message
from reconciler.interfaces import Backend, Source
from reconciler.passes import access, enforce, snapshot
from reconciler.passes.enforce import State
from reconciler.passes.migrate import move
from reconciler.passes.run import Options, Pass, PassResult
from reconciler.passes.scan import Reading
from reconciler.passes.silence import silent
from reconciler.report import json, text

Sources = Mapping[str, Callable[[], Source]]
Backends = Mapping[str, Callable[[], Backend]]
"""What makes each of them, by the names that people gave them."""


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 2 if something differs.")
@click.option("--diff", is_flag=True, help="Read all, and print every change as a unified diff.")
@source_names
@backend_names
@click.option("--observed", metavar="FILE", help="Check against what `treason export` wrote.")
@click.option("--no-scan", is_flag=True, help="Read no source; enforce what is stored.")
@click.option("--full", is_flag=True, help="Read all that the firewall holds, and compare it.")
@click.option("--force", is_flag=True, help="Ban and lift however much the pass says.")
@lock_timeout
@output_format
@verbosity
@click.pass_obj
def reconcile(  # noqa: PLR0913, PLR0917 - one parameter for each option
    setup: Setup,
    check: bool,
    diff: bool,
    source_names: tuple[str, ...],
    backend_names: tuple[str, ...],
    observed: str | None,
    no_scan: bool,
    full: bool,
    force: bool,
    lock_timeout: float,
    form: str,
) -> int:
    """Scan the sources, then make the firewall hold what is desired.

    Exits with 0 when every backend holds it, verified; with 1 on any error; with
    --check, 2 means that something differs.
    """
    if observed is not None and not check:
        raise click.UsageError("--observed goes with --check")
    chosen = _Chosen(None if no_scan else source_names, backend_names, observed)
    options = Options(check=check, force=force, full=full or diff, render=verbose())
    with apart():
        result = _reconciled(setup, chosen, options, lock_timeout)
    code = code_of(result.readings, result.outcomes)
    warn_of(result.refused)
    emit(
        form,
        lambda: json.passed(result, code, check=check),
        chain(_scanned(result), text.outcomes(result.outcomes, diff=diff)),
    )
    complain_of(result.readings, result.outcomes)
    return code


@frozen
class _Chosen:
    """What the command line names: sources (None: none is read), backends, a snapshot of them."""

    sources: tuple[str, ...] | None
    backends: tuple[str, ...]
    observed: str | None

    def made(self, setup: Setup) -> tuple[Sources, Backends]:
        """Return their makers; refuse what is wrong, in the whitelist too. Raise `ConfigError`."""
        sources = {} if self.sources is None else setup.sources(self.sources)
        backends = setup.backends(self.backends)
        if self.observed is not None:
            backends = snapshot.backends(Path(self.observed), backends)
        setup.whitelist  # noqa: B018 - nothing is opened if it is wrong
        return sources, backends


def _reconciled(setup: Setup, chosen: _Chosen, options: Options, timeout: float) -> PassResult:
    """Make the pass, behind the lock if it changes anything."""
    chosen.made(setup)  # nothing is made if it is wrong, not even the lock
    with nullcontext(setup) if options.check else access.locked(setup, timeout) as current:
        sources, backends = chosen.made(current)
        with access.opened(current, write=not options.check) as store:
            return Pass(
                current, store, int(time()), sources=sources, backends=backends, options=options
            ).run()


@click.command()
@source_names
@click.option("--force", is_flag=True, help="Store more than max_new_bans.")
@lock_timeout
@output_format
@verbosity
@click.pass_obj
def scan(
    setup: Setup, source_names: tuple[str, ...], force: bool, lock_timeout: float, form: str
) -> int:
    """Read the sources and store the bans that follow; touch no firewall.

    With -v also tell which sources see nothing of the kernel, and whether it prints its message.
    """
    with apart():
        setup.sources(source_names)  # nothing is made if it is wrong, not even the lock
        with (
            access.locked(setup, lock_timeout) as current,
            access.opened(current, write=True) as store,
        ):
            sources, options = current.sources(source_names), Options(force=force)
            result = Pass(current, store, int(time()), sources=sources, options=options).run()
        unheard = [*_unheard(sources, result.readings)] if verbose() and form == "text" else []
    emit(form, lambda: json.scanned(result), chain(_scanned(result), unheard))
    complain_of(result.readings, [])
    return code_of(result.readings, [])


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
        _Chosen(None, (old,), None).made(setup)
        _Chosen(None, (new,), None).made(setup)
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


@click.command()
@click.option("--observed", is_flag=True, required=True, help="What the firewalls really hold.")
@backend_names
@verbosity
@click.pass_obj
def export(setup: Setup, observed: bool, backend_names: tuple[str, ...]) -> int:  # noqa: ARG001 - required
    """Print what the firewalls hold, for `reconcile --check --observed`."""
    with apart():
        held, errors = snapshot.take(setup.backends(backend_names))
    click.echo(held)
    for error in errors:
        complain(error)
    return ERROR if errors else OK


def _scanned(result: PassResult) -> Iterator[str]:
    yield from text.ended(result.ended, verbose=verbose())
    yield from text.readings(result.readings, result.now, verbose=verbose())


def _unheard(
    sources: Mapping[str, Callable[[], Source]], readings: Iterable[Reading]
) -> Iterator[str]:
    """Tell why there may be nothing to read; those that cannot be read are told of as it is."""
    read = {reading.source: sources[reading.source] for reading in readings if not reading.error}
    yield from (f"silent: {line}" for line in text.silence(silent(read)))
    if advice := kernel_message.advice(kernel_message.look(kernel_message.HERE)):
        yield f"kernel's message: {advice}"
