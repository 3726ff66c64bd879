"""The commands about feeds: what was taken of them, and what a person accepts."""

import click

from reconciler.cli.commands.reconcile import Chosen, reconciled, tell
from reconciler.cli.console import ERROR, OK, emit, say, show
from reconciler.cli.ending import code_of
from reconciler.cli.options import examples, lock_timeout, output_format, verbose, verbosity
from reconciler.config.feeds import ConfiguredFeed, known, unknown
from reconciler.config.setup import Setup
from reconciler.passes import access
from reconciler.passes.feeds import standings
from reconciler.passes.run import Options
from reconciler.report import feed_standing as text
from reconciler.report import feeds_json, json
from reconciler.report import text as lists
from reconciler.store.feeds import FeedState
from reconciler.store.listing import FEED, Choice


@click.command("list", epilog=examples("feed list"))
@output_format
@verbosity
@click.pass_obj
def list_(setup: Setup, form: str) -> int:
    """List the feeds: what was taken of each, when, and what keeps more from being taken.

    Ends with 1 if anything keeps more from being taken.
    """
    with access.opened(setup, write=False) as store:
        now = access.told(store).now
        found = standings(setup, store, now)
    emit(form, lambda: {"feeds": [feeds_json.value(each) for each in found]},
         text.listed(found, now))  # fmt: skip
    return ERROR if any(each.trouble for each in found) else OK


@click.command("show", epilog=examples("feed show spamhaus", "feed show spamhaus --networks"))
@click.argument("name")
@click.option("--networks", is_flag=True, help="List all its networks instead, as `list` does.")
@output_format
@verbosity
@click.pass_obj
def show_(setup: Setup, name: str, networks: bool, form: str) -> int:
    """Show all that is known of a feed: its settings, its members, what they name, and why.

    Ends with 1 if anything keeps more from being taken.
    """
    with access.opened(setup, write=False) as store:
        now = access.told(store).now
        found = {each.name: each for each in standings(setup, store, now)}.get(name)
        if found is None:
            raise unknown(name, setup.feeds, setup.path)
        if networks:
            rows = store.listed(now, Choice(rule=f"{FEED}{name}"))
            show(json.listed("bans", json.bans(rows)) if form == "json" else lists.bans(rows, now))
            return OK
        groups = store.feeds.groups(name, now).get(name, [])
        groups = [each for each in groups if each.networks]  # of some all was cut
    emit(form, lambda: feeds_json.whole(found, groups), text.page(found, groups, now))
    return ERROR if found.trouble else OK


@click.command(epilog=examples("feed accept spamhaus"))
@click.argument("name")
@lock_timeout
@verbosity
@click.pass_obj
def accept(setup: Setup, name: str, lock_timeout: float) -> int:
    """Believe a feed once: take all that it names now, and enforce it.

    That may be another epoch, or leave out or name more than max_removals and max_share allow, and
    whoever is quarantined is not any more. max_entries, min_prefix and the private space hold.
    """
    doubt = _doubt(setup, known(name, setup.feeds, setup.path))
    chosen = Chosen(None, (), None, create=True, scheduled=False)
    options = Options(accepted=frozenset([name]), render=verbose())
    result = reconciled(setup, chosen, options, lock_timeout)
    if any(each.judged for each in result.feeds if each.feed == name) and not result.unwritten:
        say(f"feed {name}: accepted{f', though {doubt}' if doubt else ''}")
    tell(result, "text", check=False, diff=False)
    return code_of(result)


def _doubt(setup: Setup, of: ConfiguredFeed) -> str:
    """Return why nothing could be taken of it without being accepted; empty if it could."""
    from reconciler.passes.taking import Taker  # noqa: PLC0415 - only this command takes by itself

    with access.opened(setup, write=False) as store:
        state = store.feeds.states().get(of.name, FeedState(of.name))
        taker = Taker(store, access.told(store).now, write=False)
        [reading] = taker.take({of.name: of}, {of.name: state}).readings
    what = reading.error.partition("\n")[0]
    return what.removeprefix(f"feed {of.name} is not believed: ")
