"""How a pass ends: its result, what went wrong, and its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from reconciler.cli.console import DRIFT, ERROR, OK, complain, say, trace, warn
from reconciler.cli.options import verbose
from reconciler.errors import DaemonError, TreasonError
from reconciler.lines import counted, first_few
from reconciler.passes import access, resident
from reconciler.report import text

if TYPE_CHECKING:
    from reconciler.config.setup import Setup
    from reconciler.passes.enforce import Outcome
    from reconciler.passes.reading import Reading
    from reconciler.passes.run import PassResult
    from reconciler.store.bans import NotEnforced
    from reconciler.store.store import Store


def code_of(result: PassResult) -> int:
    """Return the exit code of a pass."""
    if result.failed:
        return ERROR
    return DRIFT if result.drifted else OK


def complain_of(readings: Iterable[Reading], outcomes: Iterable[Outcome], *besides: str) -> None:
    """Print what went wrong in a pass."""
    failures = [(each.error, each.trace) for each in readings]
    failures += [(each.failure, each.trace) for each in outcomes]
    for error, where in failures:
        if error:
            complain(error)
        if where and verbose():
            trace(where)
    for each in filter(None, besides):
        complain(each)


def publish_now(setup: Setup, store: Store, now: int) -> None:
    """Write to outboxes what feeds are to tell others of what was stored; or the next pass does."""
    try:
        if publishing := setup.publishing:
            from reconciler.passes.publishing import publish  # noqa: PLC0415 - few do

            publish(store, publishing, now)
    except TreasonError as error:
        warn(f"others hear of it behind the next pass: {error}")


def enforce_now(setup: Setup) -> int:
    """Let the daemon enforce what was stored; where there is none, the next pass does.

    While everything is paused, nobody does.
    """
    if found := access.paused(setup):
        say(f"stored, not enforced: {text.paused_until(*found)}")
        return OK
    try:
        outcome = resident.enforce(setup)
        error = outcome.error if outcome else ""
    except DaemonError as refused:
        outcome, error = None, str(refused)
    if outcome and outcome.rests:
        say(f"stored, not enforced: {error}")
        return OK
    if error:
        complain(f"stored, but not in force yet: {error}")
        return ERROR
    if outcome:
        say(f"in force: {', '.join(outcome.backends)}")
    return OK


def complain_of_damage(damage: Iterable[str]) -> None:
    """Print what of the database cannot be read."""
    for each in damage:
        complain(each)


def warn_of(refused: NotEnforced) -> None:
    """Print which stored bans are not enforced."""
    if rows := refused.texts:
        verb = "is" if len(rows) == 1 else "are"
        some = first_few([*map(repr, rows)])
        warn(
            f"{counted(len(rows), 'stored ban')} {verb} not enforced:"
            f" {text.refused(refused)}: {some}"
        )


def warn_of_open(result: PassResult) -> None:
    """Print which connections were not closed."""
    for note in result.closing.notes if result.closing else ():
        warn(note)


def warn_of_rules(result: PassResult) -> None:
    """Print which rules ban nobody any more."""
    if result.silenced:
        from reconciler.passes import confirmable  # noqa: PLC0415 - it is said once

        warn(confirmable.told(result.silenced))


def doubt_of(result: PassResult) -> None:
    """Print why the clock is not believed."""
    if result.doubt:
        warn(result.doubt)


def feed_lines(result: PassResult, *, check: bool = False) -> Iterator[str]:
    """Yield what was taken of feeds."""
    if result.feeds:
        from reconciler.report import feeds  # noqa: PLC0415 - many configurations have none

        yield from feeds.readings(result.feeds, check=check, verbose=verbose())


def complain_of_feeds(result: PassResult) -> None:
    """Print of which feeds nothing could be taken, and why."""
    if result.feeds:
        from reconciler.report import feeds  # noqa: PLC0415 - as above

        for each in feeds.complaints(result.feeds):
            complain(each)


def scan_lines(result: PassResult) -> Iterator[str]:
    """Yield what ended, and what the sources brought."""
    yield from text.ended(result.ended, verbose=verbose())
    yield from text.readings(result.readings, result.now, verbose=verbose())
