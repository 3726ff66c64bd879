"""The commands about bans: ban, unban, list, history."""

import click

from reconciler.cli.console import ERROR, OK, emit, say
from reconciler.cli.ending import complain_of_damage
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.passes import access, banning, traces
from reconciler.report import json, text
from reconciler.report.times import ahead, iso
from reconciler.toml import duration

_NOT_BANNED = "was not banned; a firewall that still drops it stops with the next pass"

_networks = click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")


@click.command(
    epilog=examples(
        "ban 192.0.2.7 --for 1h --reason 'port scan'", "ban 198.51.100.0/24 2001:db8:7::/48"
    )
)
@_networks
@click.option("--for", "length", default="permanent", show_default=True, metavar="DURATION",
              help="How long: 90s, 10m, 1h, 30d or permanent.")  # fmt: skip
@click.option("--reason", default="", help="Why; stored with the ban.")
@click.option(
    "--force", is_flag=True, help="Store the ban even if the network is too wide, or exempt."
)
@verbosity
@click.pass_obj
def ban(setup: Setup, networks: tuple[str, ...], length: str, reason: str, force: bool) -> int:
    """Store bans of addresses or networks; the next pass enforces them."""
    seconds, wanted = duration.parse(length), [Network.parse(each) for each in networks]
    with access.opened(setup, write=False) as store:
        traces.check_whitelist(setup, store)
        clients = store.clients.active(access.told(store).now)
        exempt = [*setup.whitelist, *access.protection(setup, clients, wanted)]
    if not force:
        for network in wanted:
            banning.refuse(setup, network, exempt)
    with access.opened(setup, write=True) as store:
        now = access.told(store).now
        until = None if seconds is None else now + seconds
        bans = [Ban(network, now, until, "manual", reason) for network in wanted]
        store.bans.add(bans)
    end = "permanently" if until is None else f"until {iso(until)} ({ahead(until, now)})"
    for each in bans:
        say(f"{each.network}: banned {end}{banning.remark(each.network, exempt)}")
    return OK


@click.command(epilog=examples("unban 192.0.2.7"))
@_networks
@verbosity
@click.pass_obj
def unban(setup: Setup, networks: tuple[str, ...]) -> int:
    """Remove bans; the next pass removes them from the firewalls. Overlapping bans stay."""
    wanted = [Network.parse(each) for each in networks]
    with access.opened(setup, write=True) as store:
        now = access.told(store).now
        lifted = store.bans.lift(wanted, now)
        allows = setup.config.treason.min_prefix.allows
        held = {each for each in wanted if store.bans.holds(each, now, allows)}
    for network in wanted:
        note = "unbanned" if network in lifted else _NOT_BANNED
        still = "; still banned as part of a wider network" if network in held else ""
        say(f"{network}: {note}{still}")
    return OK


@click.command("list", epilog=examples("list", "list -o json"))
@output_format
@verbosity
@click.pass_obj
def list_(setup: Setup, form: str) -> int:
    """List the active bans."""
    with access.opened(setup, write=False) as store:
        now = access.told(store).now
        damage = store.integrity.indexes()
        bans = store.bans.active(now, *(["network"] if damage else []))
        emit(form, lambda: {"bans": json.bans(bans)}, text.bans(bans, now))
    complain_of_damage(damage)
    return ERROR if damage else OK


@click.command(epilog=examples("history --limit 10", "history 192.0.2.7"))
@click.argument("network", required=False)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True)
@output_format
@verbosity
@click.pass_obj
def history(setup: Setup, network: str | None, limit: int, form: str) -> int:
    """List past bans, unbans and expiries, the latest first."""
    wanted = None if network is None else Network.parse(network)
    with access.opened(setup, write=False) as store:
        events = store.history.latest(wanted, limit)
    emit(form, lambda: {"events": json.events(events)}, text.events(events))
    return OK
