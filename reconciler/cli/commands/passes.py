"""The commands that read sources and firewalls: reconcile, scan, migrate, teardown, export."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import click
from attrs import evolve

from reconciler.cli.console import DRIFT, ERROR, OK, complain, show, warn
from reconciler.cli.ending import code_of, complain_of, emit
from reconciler.cli.options import (
    backend_names,
    lock_timeout,
    output_format,
    source_names,
    verbose,
    verbosity,
)
from reconciler.config.setup import Session
from reconciler.errors import ConfigError
from reconciler.host import kernel_message
from reconciler.interfaces import Source
from reconciler.passes import enforce as loop
from reconciler.passes import migrate as moving
from reconciler.passes import snapshot
from reconciler.passes.scan import Reading
from reconciler.passes.silence import silent
from reconciler.report import text


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
    session: Session,
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
    sources = {} if no_scan else session.sources(source_names)
    backends = session.backends(backend_names)
    if observed is not None:
        backends = snapshot.backends(Path(observed), backends)
    session.whitelist  # noqa: B018 - read it now: nothing is opened if it is wrong
    with (
        nullcontext() if check else session.lock(lock_timeout),
        session.store(write=not check) as store,
    ):
        ended = session.settle(store, write=not check)
        readings = list(session.scanner(store, write=not check, force=force).scan(sources))
        new = [ban.network for reading in readings for ban in reading.bans]
        _warn_of(session.refused(store))
        wish = session.wish(store, new, write=not check, force=force)
        wish = evolve(wish, full=full or diff, render=verbose())
        outcomes = list(loop.enforce(backends, wish, check=check))
    code = code_of(readings, outcomes)
    result = {OK: "in sync" if check else "converged", DRIFT: "drift", ERROR: "error"}[code]
    lines = [
        *text.ended_text(ended, verbose=verbose()),
        *text.readings_text(readings, session.now, verbose=verbose()),
        *text.outcomes_text(outcomes, diff=diff),
    ]
    emit(
        form,
        lambda: {
            "check": check,
            "result": result,
            "sources": text.readings_json(readings),
            "ended": ended,
            "backends": text.outcomes_json(outcomes),
        },
        lines,
    )
    complain_of(readings, outcomes)
    return code


@click.command()
@source_names
@click.option("--force", is_flag=True, help="Store more than max_new_bans.")
@lock_timeout
@output_format
@verbosity
@click.pass_obj
def scan(
    session: Session, source_names: tuple[str, ...], force: bool, lock_timeout: float, form: str
) -> int:
    """Read the sources and store the bans that follow; touch no firewall.

    With -v also tell which sources see nothing of the kernel, and whether it prints its message.
    """
    sources = session.sources(source_names)
    with session.lock(lock_timeout), session.store(write=True) as store:
        ended = session.settle(store, write=True)
        readings = list(session.scanner(store, write=True, force=force).scan(sources))
    emit(
        form,
        lambda: {"sources": text.readings_json(readings), "ended": ended},
        chain(
            text.ended_text(ended, verbose=verbose()),
            text.readings_text(readings, session.now, verbose=verbose()),
            _unheard(sources, readings) if verbose() else (),
        ),
    )
    complain_of(readings, [])
    return code_of(readings, [])


@click.command()
@click.option(
    "--from", "old", required=True, metavar="NAME[:ARGUMENT]", help="The backend to leave."
)
@click.option("--to", "new", required=True, metavar="NAME[:ARGUMENT]", help="The one to use.")
@click.option("--force", is_flag=True, help="Lift however much the move would lift.")
@lock_timeout
@verbosity
@click.pass_obj
def migrate(session: Session, old: str, new: str, force: bool, lock_timeout: float) -> int:
    """Move from one backend to another: the old one is torn down when the new one holds all."""
    if old == new:
        raise ConfigError(f"both are {old!r}", "name two backends; `treason plugins` lists them")
    [leaving], [coming] = session.backends((old,)).items(), session.backends((new,)).items()
    session.whitelist  # noqa: B018 - read it now: nothing is opened if it is wrong
    database = session.config.treason.database
    if not database.exists():
        raise ConfigError(
            f"{database}: there is no database, so the new one would hold nothing",
            "name it under [treason], or make it with `treason init`",
        )
    with session.lock(lock_timeout), session.store(write=False) as store:
        _warn_of(session.refused(store))
        wish = session.wish(store, (), write=False, force=force)
        outcomes = list(moving.move(leaving, coming, evolve(wish, memory=None)))
    show(text.outcomes_text(outcomes, diff=False))
    complain_of([], outcomes)
    code = code_of([], outcomes)
    listed = session.config.treason.backends
    if code != OK and all(outcome.state is not loop.State.REMOVED for outcome in outcomes):
        complain(f"{old} was not torn down")
    elif old in listed or new not in listed:
        names = json.dumps([*(name for name in listed if name not in {old, new}), new])
        warn(f"before the next pass, set backends = {names} under [treason] in {session.path}")
    return code


@click.command()
@backend_names
@lock_timeout
@verbosity
@click.pass_obj
def teardown(session: Session, backend_names: tuple[str, ...], lock_timeout: float) -> int:
    """Remove all that treason made in the firewall; the stored bans stay."""
    backends = session.backends(backend_names)
    with session.lock(lock_timeout):
        outcomes = list(loop.teardown(backends))
    show(text.outcomes_text(outcomes, diff=False))
    complain_of([], outcomes)
    return code_of([], outcomes)


@click.command()
@click.option("--observed", is_flag=True, required=True, help="What the firewalls really hold.")
@backend_names
@verbosity
@click.pass_obj
def export(session: Session, observed: bool, backend_names: tuple[str, ...]) -> int:  # noqa: ARG001 - required
    """Print what the firewalls hold, for `reconcile --check --observed`."""
    text, errors = snapshot.take(session.backends(backend_names))
    click.echo(text)
    for error in errors:
        complain(error)
    return ERROR if errors else OK


def _unheard(
    sources: Mapping[str, Callable[[], Source]], readings: Iterable[Reading]
) -> Iterator[str]:
    """Tell why there may be nothing to read; those that cannot be read are told of as it is."""
    read = {reading.source: sources[reading.source] for reading in readings if not reading.error}
    yield from (f"silent: {line}" for line in text.silence_text(silent(read)))
    if advice := kernel_message.advice(kernel_message.look(kernel_message.HERE)):
        yield f"kernel's message: {advice}"


def _warn_of(refused: list[str]) -> None:
    if refused:
        some = ", ".join(map(repr, refused[:3])) + (", ..." if refused[3:] else "")
        warn(f"{len(refused)} stored bans are no networks, or too wide, so not enforced: {some}")
