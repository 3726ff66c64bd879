"""The commands that let nothing be enforced for a while: ``pause`` and ``resume``."""

import click

from reconciler.cli.commands.reconcile import reconcile
from reconciler.cli.console import ERROR, OK, complain, say, show
from reconciler.cli.ending import complain_of, complain_of_damage, complain_of_feeds, doubt_of
from reconciler.cli.options import examples, lock_timeout, verbose, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import DaemonError
from reconciler.passes import pausing, resident
from reconciler.passes.run import Options
from reconciler.report import text
from reconciler.toml import duration

_LATER = "it holds nothing as soon as it reads the database; see: treason status"


@click.command(epilog=examples("pause --for 10m", "pause", "resume"))
@click.option("--for", "length", default="permanent", metavar="DURATION",
              help="How long: 90s, 10m, 1h, 1d; without it, until `treason resume`.")  # fmt: skip
@lock_timeout
@verbosity
@click.pass_obj
def pause(setup: Setup, length: str, lock_timeout: float) -> int:
    """Remove everything that is enforced, and keep it so, also over a reboot.

    Sources are read, and bans are stored, as ever; nothing of it is enforced before the pause
    ends, by itself or by `treason resume`. Pausing again sets another end.
    """
    seconds = duration.parse(length)
    result = pausing.begin(setup, seconds, lock_timeout, Options(render=verbose()))
    doubt_of(result)
    show(text.outcomes(result.outcomes, diff=False))
    complain_of([], result.outcomes, result.unwritten)
    complain_of_feeds(result)
    complain_of_damage(result.damage)
    still = [outcome.backend for outcome in result.outcomes if outcome.failure]
    unaware = _let_daemon_know(setup)
    if result.paused:
        told = text.paused(result.paused, result.now)
        if still:
            until = text.paused_until(result.paused, result.now)
            complain(f"{until}, but {', '.join(still)} may still drop; each pass tries again")
        else:
            say(told)
    return ERROR if result.failed or unaware or not result.paused else OK


@click.command(epilog=examples("resume"))
@lock_timeout
@verbosity
@click.pass_obj
def resume(setup: Setup, lock_timeout: float) -> int:
    """End a pause, and enforce what is stored, at once."""
    paused = pausing.end(setup, lock_timeout)
    say("resumed" if paused else "nothing is paused")
    try:
        enforced = resident.enforce(setup)
    except DaemonError as error:
        complain(str(error))
        _pass(lock_timeout)
        return ERROR
    if enforced is None:
        return _pass(lock_timeout) if paused else OK
    if enforced.error:
        complain(f"not in force yet: {enforced.error}")
        return ERROR
    say(f"in force: {', '.join(enforced.backends)}")
    return OK


def _let_daemon_know(setup: Setup) -> bool:
    """Let the daemon take the pause in, if there is one; return whether that failed."""
    try:
        enforced = resident.enforce(setup)
        error = enforced.error if enforced and not enforced.rests else ""  # at rest it does nothing
    except DaemonError as refused:
        error = str(refused)
    if error:
        complain(f"the daemon has not taken in the pause yet: {error}\n  {_LATER}")
    return bool(error)


def _pass(lock_timeout: float) -> int:
    """Make a pass by ourselves, as `reconcile --no-scan` does."""
    context = click.get_current_context()
    code: int = context.invoke(reconcile, no_scan=True, lock_timeout=lock_timeout)
    return code
