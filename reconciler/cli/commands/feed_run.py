"""The command of a feed's own process: ``feed run``."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from types import FrameType
from typing import Final

import click

from reconciler import secrets
from reconciler.cli.console import ERROR, OK, complain, emit, trace, warn
from reconciler.cli.options import examples, output_format, verbose, verbosity
from reconciler.config.feeds import known
from reconciler.config.setup import Setup
from reconciler.errors import FeedUnreadable, TreasonError
from reconciler.errors import trace as trace_of
from reconciler.feeding import WakingFeed
from reconciler.feeds import engine, following, outbox
from reconciler.feeds.collecting import Tame, tamed
from reconciler.feeds.engine import Engine, Refreshed
from reconciler.feeds.remarks import Keeper
from reconciler.feeds.writing import DAMAGED, FeedFile, alone, undisturbed
from reconciler.host import owner
from reconciler.log import Log
from reconciler.report import feed_run

_log = Log("feed")

_AGAIN: Final = 600.0
"""Seconds after which a failure is printed again that goes on."""


class _Stopped(SystemExit):
    """A signal asks the process to end: also in the middle of what the plugin does."""


@click.command("run", epilog=examples("feed run spamhaus", "feed run spamhaus --once -v"))
@click.argument("name")
@click.option("--once", is_flag=True, help="Refresh it once, also where it could be waited for.")
@output_format
@verbosity
@click.pass_obj
def run(setup: Setup, name: str, once: bool, form: str) -> int:
    """Read what a feed says now, and write it to its own file; passes take it from there.

    A feed that can be waited for is followed until SIGTERM or Ctrl-C. What it says is cut as a pass
    would cut it, to show that; -v names each network. With -o json it is read once. Started by
    root, it becomes the owner of the file's directory first, once it has read the feed's secrets.
    """
    feed = known(name, setup.feeds, setup.path)
    main = setup.config.treason
    seconds, told = main.pass_timeout, outbox.of(main.database, name)
    if os.geteuid() == 0:
        with suppress(TreasonError):  # of its service; what it reads itself is told by that
            secrets.keep(feed.needs().secrets)
    if owner.become(feed.store.parent):
        _log.info("feed %s: runs as root, which owns %s", name, feed.store.parent)
    with alone(feed.store):
        keeper = Keeper(feed.store)
        with _failing(keeper):
            made = tamed(name, seconds, lambda run: run(feed.make))
            file = FeedFile(feed.store, feed.limits)
        tame = Tame(made, name, feed.settings.max_entries, seconds)
        publishing = told if feed.settings.publish or outbox.is_there(told) else None
        running = Engine(tame, file, feed.limits, publishing, keeper=keeper)
        if not isinstance(made, WakingFeed):
            return _tell(name, engine.once(running), form)
        with closing(following.follow(running, made, feed.settings.refresh)) as results:
            if once or form == "json":
                return _tell(name, next(results), form)
            _follow(name, results)
    return OK


@contextmanager
def _failing(keeper: Keeper) -> Iterator[None]:
    """Keep why it failed before anything could be read."""
    try:
        yield
    except FeedUnreadable as error:
        keeper.read(error)
        raise


def _follow(name: str, results: Iterable[Refreshed]) -> None:
    """Print what is news, and how it stands at the beginning, until a signal comes.

    That it can be read again is news where it was printed that it could not.
    """
    failures, printed = dict[str, float](), False
    with _stoppable():
        for number, result in enumerate(results):
            news = result.is_news or (result.again and printed)
            if not number or (news and not _is_known(result, failures)):
                printed = bool(result.failure) or (printed and not result.again)
                with undisturbed():  # or a line may come twice, or half
                    _tell(name, result, "text")


def _is_known(result: Refreshed, failures: dict[str, float]) -> bool:
    """Whether it failed, and that was printed not long ago in the same words."""
    if result.failure is None:
        return False
    now, text = time.monotonic(), str(result.failure)
    for old in [each for each, when in failures.items() if now - when >= _AGAIN]:
        del failures[old]
    known = text in failures
    failures.setdefault(text, now)
    return known


def _tell(name: str, result: Refreshed, form: str) -> int:
    """Print what a refresh has brought, and return the exit code."""
    emit(
        form,
        lambda: feed_run.value(name, result),
        feed_run.lines(name, result, verbose=verbose()),
    )
    if result.damage:
        warn(f"{result.damage}\n  all was read anew; what was there got {DAMAGED} behind its name")
    if result.doubt:
        warn(f"no pass that took it before takes this: {result.doubt}")
    if result.failure is None:
        return OK
    complain(str(result.failure))
    if verbose() and result.failure.__cause__:
        trace(trace_of(result.failure.__cause__))
    return ERROR


@contextmanager
def _stoppable() -> Iterator[None]:
    """End the block quietly once SIGTERM or SIGINT comes."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stopped

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _Stopped:
        pass
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
