"""The command line: it composes everything and does nothing by itself.

Exit codes: 0 done or in sync, 1 error, 2 drift (``reconcile --check``), 64 for the shape of the
command line alone (EX_USAGE of sysexits.h).
"""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, Final

import click

from reconciler import config, duration, loop, output
from reconciler.desired import collapse, covered, desired
from reconciler.errors import ConfigError, TreasonError
from reconciler.loop import Outcome, Reading, State
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.session import Session, complain, warn

OK: Final = 0
ERROR: Final = 1
DRIFT: Final = 2
USAGE: Final = 64


def main() -> None:
    """Run the command line, and end with its exit code."""
    try:
        code = cli.main(prog_name="treason", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        code = USAGE
    except click.ClickException as error:
        error.show()
        code = ERROR
    except TreasonError as error:
        complain(str(error))
        code = ERROR
    except click.Abort:
        complain("interrupted")
        code = ERROR
    sys.exit(code)


def verbose() -> bool:
    """Whether ``-v`` stands anywhere on the command line."""
    return bool(click.get_current_context().meta.get(__name__))


def _remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[__name__] = context.meta.get(__name__) or value


verbosity = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=_remember, help="Tell more."
)
output_format = click.option(
    "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text",
    help="What to print on standard output.",
)  # fmt: skip
source_names = click.option(
    "--source", "source_names", multiple=True, metavar="NAME[:ARGUMENT]",
    help="Read this source instead of the configured ones. Repeatable.",
)  # fmt: skip
backend_names = click.option(
    "--backend", "backend_names", multiple=True, metavar="NAME[:ARGUMENT]",
    help="Use this backend instead of the configured ones. Repeatable.",
)  # fmt: skip
lock_timeout = click.option(
    "--lock-timeout", type=click.FloatRange(min=0), default=10.0, show_default=True,
    metavar="SECONDS", help="How long to wait for another pass to end.",
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "named", envvar="TREASON_CONFIG", metavar="FILE",
    help=f"The configuration (default: {config.DEFAULT}, if it exists). [env: TREASON_CONFIG]",
)  # fmt: skip
@verbosity
@click.version_option(package_name="treason", message="treason %(version)s")
@click.pass_context
def cli(context: click.Context, named: str | None) -> None:
    """Keep hostile peers out: make the firewall hold what the bans and the whitelist desire."""
    context.obj = Session(named)


@cli.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 2 if something differs.")
@click.option("--diff", is_flag=True, help="Print every change, however many.")
@source_names
@backend_names
@click.option("--no-scan", is_flag=True, help="Read no source; enforce what is stored.")
@click.option("--full", is_flag=True, help="Compare every element, as each pass does so far.")
@click.option("--force", is_flag=True, help="Lift however much the plan says.")
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
    no_scan: bool,
    full: bool,  # noqa: ARG001 - every pass is a full one
    force: bool,
    lock_timeout: float,
    form: str,
) -> int:
    """Scan the sources, then make the firewall hold what is desired.

    Exits with 0 when every backend holds it, read back and compared; with 1 on any error; with
    --check, 2 means that something differs.
    """
    sources = {} if no_scan else session.sources(source_names)
    backends = session.backends(backend_names)
    with (
        nullcontext() if check else session.lock(lock_timeout),
        session.store(write=not check) as store,
    ):
        readings = list(session.scanner(store, write=not check).scan(sources))
        if not check:
            store.expire(session.now)
        banned, invalid = store.banned(session.now)
        if invalid:
            warn(f"{len(invalid)} stored bans are no networks, so not enforced: {invalid[0]!r}")
        wanted = desired(
            [*banned, *(ban.network for reading in readings for ban in reading.bans)],
            session.exempt,
        )
        guard = None if force else loop.Guard(session.config.treason.max_removals, store.lifted)
        outcomes = list(loop.enforce(backends, wanted, guard, check=check, render=verbose()))
    code = _code(readings, outcomes)
    if form == "json":
        result = {OK: "in sync" if check else "converged", DRIFT: "drift", ERROR: "error"}[code]
        value: dict[str, Any] = {"check": check, "result": result}
        value["sources"] = output.readings_json(readings)
        value["backends"] = output.outcomes_json(outcomes)
        click.echo(output.dump(value))
    else:
        _print(output.readings_text(readings, verbose=verbose()))
        _print(output.outcomes_text(outcomes, every=diff))
    _complain_of(readings, outcomes)
    return code


@cli.command()
@source_names
@lock_timeout
@output_format
@verbosity
@click.pass_obj
def scan(session: Session, source_names: tuple[str, ...], lock_timeout: float, form: str) -> int:
    """Read the sources and store the bans that follow; touch no firewall."""
    sources = session.sources(source_names)
    with session.lock(lock_timeout), session.store(write=True) as store:
        readings = list(session.scanner(store, write=True).scan(sources))
    if form == "json":
        click.echo(output.dump({"sources": output.readings_json(readings)}))
    else:
        _print(output.readings_text(readings, verbose=verbose()))
    _complain_of(readings, [])
    return _code(readings, [])


@cli.command()
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@click.option("--for", "length", default="permanent", show_default=True, metavar="DURATION",
              help="How long: 90s, 10m, 1h, 30d, permanent.")  # fmt: skip
@click.option("--reason", default="", help="Why; kept with the ban.")
@click.option("--force", is_flag=True, help="Ban a network wider than min_prefix allows.")
@verbosity
@click.pass_obj
def ban(session: Session, networks: tuple[str, ...], length: str, reason: str, force: bool) -> int:
    """Store bans of addresses or networks; the next pass enforces them."""
    seconds = duration.parse(length)
    until = None if seconds is None else session.now + seconds
    bans = [Ban(Network.parse(text), session.now, until, "manual", reason) for text in networks]
    least = session.config.treason.min_prefix
    for each in bans:
        if not (force or least.allows(each.network)):
            raise ConfigError(
                f"{each.network} is wider than [treason] min_prefix allows",
                "ban a narrower network, or say --force",
            )
    with session.store(write=True) as store:
        store.ban(bans)
    for each in bans:
        exempt = covered(each.network, session.exempt)
        note = "; whitelisted, so it is not enforced" if exempt else ""
        end = f"until {output.iso(until)}" if until else "for good"
        click.echo(f"{each.network}: banned {end}{note}")
    return OK


@cli.command()
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@verbosity
@click.pass_obj
def unban(session: Session, networks: tuple[str, ...]) -> int:
    """Lift bans; the next pass enforces that. Other bans that overlap stay."""
    wanted = [Network.parse(text) for text in networks]
    with session.store(write=True) as store:
        lifted = store.unban(wanted, session.now)
        left = collapse(store.banned(session.now)[0])
    for network in wanted:
        note = "unbanned" if network in lifted else "had no ban of its own"
        still = "; a wider ban still holds" if covered(network, left) else ""
        click.echo(f"{network}: {note}{still}")
    return OK


@cli.command("list")
@output_format
@verbosity
@click.pass_obj
def list_(session: Session, form: str) -> int:
    """List the bans that are stored and have not ended."""
    with session.store(write=False) as store:
        bans = sorted(store.bans(session.now), key=lambda each: each.network)
    if form == "json":
        click.echo(output.dump({"bans": output.bans_json(bans)}))
    else:
        _print(output.bans_text(bans))
    return OK


@cli.command()
@backend_names
@lock_timeout
@verbosity
@click.pass_obj
def teardown(session: Session, backend_names: tuple[str, ...], lock_timeout: float) -> int:
    """Remove all that treason made in the firewall; the stored bans stay."""
    backends = session.backends(backend_names)
    with session.lock(lock_timeout):
        outcomes = list(loop.teardown(backends))
    _print(output.outcomes_text(outcomes, every=False))
    _complain_of([], outcomes)
    return _code([], outcomes)


@cli.command()
def demo() -> int:
    """Show it all in a network namespace of its own; needs no root, leaves no trace."""
    from reconciler import demo as story  # noqa: PLC0415 - no other command needs it

    return story.tell()


def _print(lines: Iterable[str]) -> None:
    text = "\n".join(lines)
    if text:
        click.echo(text)


def _code(readings: Iterable[Reading], outcomes: Iterable[Outcome]) -> int:
    states = {outcome.state for outcome in outcomes}
    if State.FAILED in states or any(reading.error for reading in readings):
        return ERROR
    return DRIFT if State.DRIFT in states else OK


def _complain_of(readings: Iterable[Reading], outcomes: Iterable[Outcome]) -> None:
    results: list[Reading | Outcome] = [*readings, *outcomes]
    for each in results:
        if each.error:
            complain(each.error)
        if each.trace and verbose():
            click.echo(each.trace, err=True, nl=False)
