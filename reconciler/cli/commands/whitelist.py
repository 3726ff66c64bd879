"""The commands about the whitelist."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click

from reconciler.cli import given
from reconciler.cli.console import OK, emit, say, warn
from reconciler.cli.ending import enforce_now
from reconciler.cli.lazy import Whole
from reconciler.cli.options import examples, lock_timeout, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.errors import ConfigError, StoreError
from reconciler.host.clock import Clock
from reconciler.lines import counted
from reconciler.network import Network
from reconciler.passes import access, traces
from reconciler.planning import whitelist as files
from reconciler.planning.whitelist import Exemption
from reconciler.report import json, text
from reconciler.report.times import ahead, iso
from reconciler.toml import duration


@click.group(
    cls=Whole, epilog=examples("whitelist add 203.0.113.9 --comment office", "whitelist list")
)
@verbosity
def whitelist() -> None:
    """Show or change the networks that are never dropped.

    `add` and `remove` write whitelist.toml beside the configuration; the configuration itself is
    never rewritten.
    """


@whitelist.command(
    epilog=examples(
        "whitelist add 203.0.113.9 --comment office",
        "whitelist add 203.0.113.9 --for 8h",
        "whitelist add --file partners.txt",
    )
)
@given.networks
@click.option("--for", "length", default="permanent", show_default=True, metavar="DURATION",
              help="How long: 90s, 10m, 1h, 30d, 2w or permanent.")  # fmt: skip
@click.option("--comment", default="", metavar="TEXT", help="Why; stored with the entry.")
@click.option("--force", is_flag=True, help="Add the network even if it is wider than /8 or /7.")
@lock_timeout
@verbosity
@click.pass_obj
def add(
    setup: Setup,
    networks: tuple[str, ...],
    lists: tuple[str, ...],
    skip: bool,
    length: str,
    comment: str,
    force: bool,
    lock_timeout: float,
) -> int:
    """Add networks; the daemon stops dropping them now, or else the next pass.

    `-` reads networks from standard input. A network wider than /8 (IPv4) or /7 (IPv6) needs
    --force. After the time of --for whoever is banned is dropped again: by the daemon at once, or
    else by the next pass. An entry that is added again has the new end, or none.
    """
    seconds = duration.parse(length)
    refusal = given.allowed if force else partial(_too_wide, setup)
    wanted = given.judged(given.read(networks, lists), refusal, skip=skip)
    with _changing(setup, lock_timeout) as (current, kept):
        now = _clock(setup).now
        until = None if seconds is None else now + seconds
        for network in wanted:
            old = kept.get(network, Exemption(network))
            kept[network] = Exemption(network, comment or old.comment, until)
    end = "" if until is None else f" until {iso(until)} ({ahead(until, now)})"
    lasting = {entry.network for entry in current.config.whitelist.networks} if end else set()
    for network in wanted:
        still = f"; without an end in {setup.path}" if network in lasting else ""
        say(f"{network}: whitelisted{end}{still}")
    for network in wanted:
        if told := files.excess(network):
            warn(told)
    return enforce_now(setup)


@whitelist.command(epilog=examples("whitelist remove 203.0.113.9"))
@given.networks
@lock_timeout
@verbosity
@click.pass_obj
def remove(
    setup: Setup, networks: tuple[str, ...], lists: tuple[str, ...], skip: bool, lock_timeout: float
) -> int:
    """Remove networks that `whitelist add` added.

    `-` reads networks from standard input.
    """
    wanted = given.judged(given.read(networks, lists), skip=skip)
    with _changing(setup, lock_timeout) as (current, kept):
        found = {network for network in wanted if kept.pop(network, None)}
    by_hand = {entry.network for entry in current.config.whitelist.networks}
    for network in wanted:
        note = "removed" if network in found else f"is not in {current.whitelist_file.path}"
        still = f"; still whitelisted: edit networks in {setup.path}" if network in by_hand else ""
        say(f"{network}: {note}{still}")
    return enforce_now(setup)


@whitelist.command("list", epilog=examples("whitelist list"))
@output_format
@verbosity
@click.pass_obj
def list_(setup: Setup, form: str) -> int:
    """List the whitelist: the entries of treason.toml and of whitelist.toml.

    One that has ended exempts nobody any more; the next `add` or `remove` takes it out of
    whitelist.toml.
    """
    if doubt := traces.look_for_whitelist(setup):
        warn(doubt)
    entries = sorted(setup.whitelist, key=lambda entry: entry.network)
    now = _clock(setup).now
    emit(
        form,
        lambda: {"networks": json.whitelisted(entries, now)},
        text.whitelisted(entries, now),
    )
    return OK


@contextmanager
def _changing(
    setup: Setup, lock_timeout: float
) -> Iterator[tuple[Setup, dict[Network, Exemption]]]:
    """Yield what whitelist.toml holds; if that was changed, or the file is gone, write it.

    Then also without what has ended, unless the clock is in doubt.
    """
    with access.locked(setup, lock_timeout, _nothing) as (current, _):
        file = current.whitelist_file
        with traces.opened_whitelist(current) as before:
            kept = {entry.network: entry for entry in before}
            yield current, kept
            if [*kept.values()] != before or (before and not file.data):
                clock = _clock(current)
                over = [each for each, entry in kept.items() if not entry.holds(clock.now)]
                for network in () if clock.doubt else over:
                    del kept[network]
                written = files.save(file.path, kept.values(), mode=0o644)
                traces.wrote_whitelist(current, written)


def _too_wide(setup: Setup, network: Network) -> ConfigError | None:
    """Return what it would do to whitelist so wide a network, if it is."""
    told = files.excess(network)
    if not told:
        return None
    try:
        with access.opened(setup, write=False) as store:
            now = access.told(store).now
            inside = {ban for ban, _ in store.bans.inside(network, now)}
            fed = store.feeds.held(now).meeting(network)
        of_feeds = f" and {counted(len(fed), 'network')} of feeds" if fed else ""
        told += f"; {counted(len(inside), 'stored ban')}{of_feeds} would no longer be enforced"
    except StoreError as error:
        told += f" (how many bans that concerns cannot be told: {error.what})"
    return ConfigError(told, "whitelist a narrower network, or use --force to add it anyway")


def _clock(setup: Setup) -> Clock:
    """Return the time to go by; without a database that can be read, the wall clock's."""
    try:
        with access.opened(setup, write=False) as store:
            return access.told(store)
    except StoreError as error:
        return Clock(int(time.time()), doubt=error.what)


def _nothing(_setup: Setup) -> None:
    """Ask for nothing that could be refused."""
