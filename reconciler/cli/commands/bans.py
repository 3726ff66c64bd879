"""The commands about bans: ban, unban, history."""

import sys
from collections.abc import Mapping, Sequence

import click

from reconciler.cli import given
from reconciler.cli.console import ERROR, OK, emit, note, say, show
from reconciler.cli.ending import enforce_now, publish_now
from reconciler.cli.given import Given
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.feeding import HELD
from reconciler.lines import counted
from reconciler.model import Ban, Closing, Ground
from reconciler.network import Network
from reconciler.passes import access, traces
from reconciler.passes.banning import Exempt, refuse_closing
from reconciler.report import json, text
from reconciler.report.plain import plain
from reconciler.report.times import ahead, iso
from reconciler.store.bans import InvalidRow
from reconciler.store.listing import FEED
from reconciler.toml import duration

_NOT_BANNED = "was not banned; a firewall that still drops it stops with the next pass"


@click.command(
    epilog=examples(
        "ban 192.0.2.7 --for 1h --reason 'port scan'",
        "ban 198.51.100.0/24 2001:db8:7::/48",
        "ban 192.0.2.7 --close",
        "ban --file hostile.txt --skip-invalid",
    )
)
@given.networks
@click.option("--for", "length", default="permanent", show_default=True, metavar="DURATION",
              help="How long: 90s, 10m, 1h, 30d, 2w or permanent.")  # fmt: skip
@click.option("--reason", default="", metavar="TEXT", help="Why; stored with the ban.")
@click.option(
    "--force", is_flag=True, help="Store the ban even if the network is too wide, or exempt."
)
@click.option(
    "--close", is_flag=True, help="Let the next pass also close every connection of them."
)
@verbosity
@click.pass_obj
def ban(
    setup: Setup,
    networks: tuple[str, ...],
    lists: tuple[str, ...],
    skip: bool,
    length: str,
    reason: str,
    force: bool,
    close: bool,
) -> int:
    """Store bans of addresses or networks; the daemon enforces them now, or else the next pass.

    `-` reads networks from standard input. If one is refused, none is banned: --skip-invalid bans
    the others, names each that was refused, and ends with 0 if there was any other.
    """
    if close:
        refuse_closing(setup)
    seconds, texts = duration.parse(length), given.read(networks, lists)
    with access.opened(setup, write=False) as store:
        traces.check_whitelist(setup, store)
        now = access.told(store).now
        clients = store.clients.active(now)
        exempt = Exempt(setup, access.protection(setup, clients, given.valid(texts)), now)
    refusal = given.allowed if force else exempt.refusal
    wanted = given.judged(texts, refusal, skip=skip)
    with access.opened(setup, write=True) as store:
        now = access.told(store).now
        until = None if seconds is None else now + seconds
        with store.transaction():
            store.bans.add(Ban(network, now, until, "manual", reason) for network in wanted)
            if close:
                every = [Closing(network, Ground.EVERY, now) for network in wanted]
                store.closings.expect(every)
        publish_now(setup, store, now)
    end = "permanently" if until is None else f"until {iso(until)} ({ahead(until, now)})"
    show(f"{network}: banned {end}{exempt.remark(network)}" for network in wanted)
    return enforce_now(setup)


@click.command(
    epilog=examples(
        "unban 192.0.2.7", "unban --file hostile.txt", "unban --rule tcp-md5", "unban --all"
    )
)
@given.networks
@click.option("--all", "everything", is_flag=True, help="Remove every ban instead.")
@click.option(
    "--rule", metavar="NAME", help="Remove every ban of this rule instead; manual: those by hand."
)
@click.option(
    "--yes", is_flag=True, help="Do not ask before --all and --rule, as on a terminal they do."
)
@verbosity
@click.pass_obj
def unban(
    setup: Setup,
    networks: tuple[str, ...],
    lists: tuple[str, ...],
    skip: bool,
    everything: bool,
    rule: str | None,
    yes: bool,
) -> int:
    """Remove bans; the firewalls follow now, by the daemon, or else with the next pass.

    Overlapping bans stay.

    `-` reads networks from standard input. What `list --invalid` shows is removed by its text.
    --all and --rule tell how many bans they removed; on a terminal they ask first. max_removals
    does not limit them. What feeds name stays.
    """
    if everything or rule is not None:
        if networks or lists or skip or (everything and rule is not None):
            raise click.UsageError("--all and --rule go without networks and without each other")
        return _unban_all(setup, rule, yes=yes)
    rows, texts = _rows(setup, given.read(networks, lists))
    wanted = given.judged(texts, skip=skip)
    with access.opened(setup, write=True) as store:
        with store.transaction():
            now = access.told(store).now
            lifted = store.bans.lift(wanted, now)
            store.closings.withdraw(wanted)
            store.bans.remove(rows, now)
            allows = setup.config.treason.min_prefix.allows
            held = {each for each in wanted if store.bans.holds(each, now, allows)}
            fed = store.feeds.holders(wanted, now)
        publish_now(setup, store, now)
    show(f"{plain(row.text)}: removed; it was not a valid network" for row in rows)
    for network in wanted:
        missing = "was not banned" if network in fed else _NOT_BANNED
        done = "unbanned" if network in lifted else missing
        still = "; still banned as part of a wider network" if network in held else ""
        say(f"{network}: {done}{still}{_named(network, fed.get(network, ()))}")
    return enforce_now(setup)


def _named(network: Network, feeds: Sequence[str]) -> str:
    """Return that feeds name it, and what lets it through all the same; empty if none does."""
    if not feeds:
        return ""
    named = [plain(each) for each in feeds]
    which = f"the feed {named[0]} names" if len(named) == 1 else f"{' and '.join(named)} name"
    return f"; {which} it: treason whitelist add {network} lets it through"


def _remark(feeds: Mapping[str, Mapping[str, int]]) -> None:
    """Print what feeds go on to hold."""
    for name, numbers in feeds.items():
        if number := numbers.get(HELD, 0):
            what = counted(number, "network")
            note(f'{what} of feed {name} stay; mode = "observe" in [feed.{name}] removes them')


def _unban_all(setup: Setup, rule: str | None, *, yes: bool) -> int:
    """Remove every ban, or every one of a rule; on a terminal ask first."""
    of = "" if rule is None else f" of {plain(rule)}"
    with access.opened(setup, write=False) as store:
        now = access.told(store).now
        feeds = {} if rule is not None else store.feeds.number(now)
        if not (number := store.number(now, rule)):
            _refuse_unknown(setup, rule, store.origins(now))
            say(f"there is no ban{of}")
            _remark(feeds)
            return OK
    asks = sys.stdin is not None and sys.stdin.isatty() and not yes
    if asks and not click.confirm(f"Remove {counted(number, 'ban')}{of}?", err=True):
        say("nothing was changed")
        return ERROR
    with access.opened(setup, write=True) as store:
        now = access.told(store).now
        number = store.lift_all(now, rule)
        publish_now(setup, store, now)
    say(f"unbanned: {counted(number, 'ban')}{of}")
    _remark(feeds)
    return enforce_now(setup)


def _refuse_unknown(setup: Setup, rule: str | None, origins: Sequence[str]) -> None:
    """Raise `ConfigError` for a rule that neither a ban nor the configuration names."""
    if rule is not None and rule.startswith(FEED):
        raise ConfigError(
            "what a feed names is not unbanned: it would be banned again",
            f'set mode = "observe" in [{rule.replace(":", ".", 1)}], or remove that table;'
            " treason whitelist add lets single networks through",
        )
    known = {each.name for each in setup.rules} if rule is not None else set()
    if rule is not None and rule not in {*known, *origins, "manual", "badips"}:
        some = ", ".join(map(plain, origins)) if origins else "nothing: there are none"
        raise ConfigError(
            f"no rule is named {rule!r}, and no ban is of it", f"the bans are of: {some}"
        )


def _rows(setup: Setup, texts: list[Given]) -> tuple[list[InvalidRow], list[Given]]:
    """Return the stored rows that are named here and are not a network, and what else is named.

    Each is named by its text, or by what `list --invalid` prints of it.
    """
    if all(each.network for each in texts):
        return [], texts
    with access.opened(setup, write=False) as store:
        rows = store.bans.invalid(access.told(store).now)
    wanted = {each.text for each in texts}
    rows = [row for row in rows if not wanted.isdisjoint({row.text, plain(row.text)})]
    named = {text for row in rows for text in (row.text, plain(row.text))}
    return rows, [each for each in texts if each.text not in named]


@click.command(epilog=examples("history --limit 10", "history 192.0.2.7"))
@click.argument("network", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, metavar="N",
    help="List so many at most.",
)  # fmt: skip
@output_format
@verbosity
@click.pass_obj
def history(setup: Setup, network: str | None, limit: int, form: str) -> int:
    """List past bans, unbans, expiries and closed connections, the latest first."""
    wanted = None if network is None else Network.parse(network)
    with access.opened(setup, write=False) as store:
        events = store.history.latest(wanted, limit)
    emit(form, lambda: {"events": json.events(events)}, text.events(events))
    return OK
