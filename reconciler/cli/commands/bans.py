"""The commands about bans: ban, unban, list, history."""

from time import time

import click

from reconciler.cli.console import OK, emit
from reconciler.cli.options import output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.passes import access
from reconciler.planning.desired import collapse, overlaps, subtract
from reconciler.planning.whitelist import Exemption
from reconciler.report import json, text
from reconciler.report.plain import plain
from reconciler.report.times import iso
from reconciler.toml import duration

_networks = click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")


@click.command()
@_networks
@click.option("--for", "length", default="permanent", show_default=True, metavar="DURATION",
              help="How long: 90s, 10m, 1h, 30d, permanent.")  # fmt: skip
@click.option("--reason", default="", help="Why; kept with the ban.")
@click.option("--force", is_flag=True, help="Even if it is too wide, or exempt.")
@verbosity
@click.pass_obj
def ban(setup: Setup, networks: tuple[str, ...], length: str, reason: str, force: bool) -> int:
    """Store bans of addresses or networks; the next pass enforces them."""
    seconds, now = duration.parse(length), int(time())
    until = None if seconds is None else now + seconds
    bans = [Ban(Network.parse(each), now, until, "manual", reason) for each in networks]
    with access.opened(setup, write=False) as store:
        exempt = [*setup.whitelist, *access.protection(setup, store, now)]
    if not force:
        for each in bans:
            _refuse(setup, each.network, exempt)
    with access.opened(setup, write=True) as store:
        store.bans.add(bans)
    end = "for good" if until is None else f"until {iso(until)}"
    for each in bans:
        click.echo(f"{each.network}: banned {end}{_note(each.network, exempt)}")
    return OK


@click.command()
@_networks
@verbosity
@click.pass_obj
def unban(setup: Setup, networks: tuple[str, ...]) -> int:
    """Lift bans; the next pass enforces that. Other bans that overlap stay."""
    wanted, now = [Network.parse(each) for each in networks], int(time())
    with access.opened(setup, write=True) as store:
        lifted = store.bans.lift(wanted, now)
        allows = setup.config.treason.min_prefix.allows
        held = {each for each in wanted if store.bans.holds(each, now, allows)}
    for network in wanted:
        note = "unbanned" if network in lifted else "had no ban of its own"
        still = "; a wider ban still holds" if network in held else ""
        click.echo(f"{network}: {note}{still}")
    return OK


@click.command("list")
@output_format
@verbosity
@click.pass_obj
def list_(setup: Setup, form: str) -> int:
    """List the bans that are stored and have not ended."""
    now = int(time())
    with access.opened(setup, write=False) as store:
        bans = store.bans.active(now)
        emit(form, lambda: {"bans": json.bans(bans)}, text.bans(bans, now))
    return OK


@click.command()
@click.argument("network", required=False)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True)
@output_format
@verbosity
@click.pass_obj
def history(setup: Setup, network: str | None, limit: int, form: str) -> int:
    """Tell what was banned, unbanned and expired, the latest first."""
    wanted = None if network is None else Network.parse(network)
    with access.opened(setup, write=False) as store:
        events = store.history.latest(wanted, limit)
    emit(form, lambda: {"events": json.events(events)}, text.events(events))
    return OK


def _refuse(setup: Setup, network: Network, exempt: list[Exemption]) -> None:
    if not setup.config.treason.min_prefix.allows(network):
        raise ConfigError(
            f"{network} is wider than [treason] min_prefix allows",
            "ban a narrower network, or say --force",
        )
    if _left(network, exempt):
        return
    entry = next(entry for entry in exempt if overlaps(network, [entry.network]))
    raise ConfigError(
        f"{network} is exempt ({entry.network}: {plain(entry.comment)}), "
        "so a ban would not be enforced",
        "remove the exemption first, or store the ban anyway with --force",
    )


def _note(network: Network, exempt: list[Exemption]) -> str:
    left = _left(network, exempt)
    if not left:
        return "; exempt, so it is not enforced"
    return "" if network in left else "; exempt addresses inside stay open"


def _left(network: Network, exempt: list[Exemption]) -> Networks:
    """Return what of the network is not exempt."""
    return subtract(Networks.of([network]), collapse(entry.network for entry in exempt))
