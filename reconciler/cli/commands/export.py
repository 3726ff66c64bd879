"""The command that prints what is desired, what is stored, or what firewalls hold: ``export``."""

import csv
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from typing import Any, Final

import click

from reconciler import lines
from reconciler.cli.console import ERROR, OK, complain, show, warn
from reconciler.cli.ending import complain_of_damage
from reconciler.cli.options import backend_names, examples, verbosity
from reconciler.config.setup import Setup
from reconciler.networks import Networks
from reconciler.passes import access, snapshot
from reconciler.planning.desired import desired
from reconciler.report import json, text
from reconciler.report.plain import plain
from reconciler.store.listing import Choice, ListedBan
from reconciler.store.store import Store

_COLUMNS: Final = ("network", "since", "until", "origin", "reason")


@click.command(
    epilog=examples(
        "export > blocked.txt",
        "export --stored --format csv > bans.csv",
        "export --observed > observed.json",
    )
)
@click.option("--stored", is_flag=True, help="Print the stored bans, as they are, without feeds'.")
@click.option(
    "--observed", is_flag=True,
    help="Print what the firewalls really hold, for `reconcile --check --observed`.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["plain", "csv", "json"]),
    help="plain: a network a line, the default; --observed is always JSON.",
)  # fmt: skip
@backend_names
@verbosity
@click.pass_obj
def export(
    setup: Setup, stored: bool, observed: bool, form: str | None, backend_names: tuple[str, ...]
) -> int:
    """Print the networks that are to be dropped: of bans and feeds, without what is exempt.

    `import` reads what plain and csv print.
    """
    if observed:
        if stored or form not in {None, "json"}:
            raise click.UsageError("--observed goes without --stored, and is always JSON")
        return _observed(setup, backend_names)
    if backend_names:
        raise click.UsageError("--backend goes with --observed only")
    with access.opened(setup, write=False) as store:
        now = access.told(store).now
        if damage := store.integrity.indexes():
            complain_of_damage(damage)
            return ERROR
        if stored:
            show(_bans(store.listed(now, Choice()), form or "plain"))
        else:
            show(_networks(_desired(setup, store, now), form or "plain"))
            if pause := store.pauses.active(now):
                warn(f"none of it is enforced now: {text.paused_until(pause, now)}")
    return OK


def _observed(setup: Setup, backend_names: tuple[str, ...]) -> int:
    held, errors = snapshot.take(setup.backends(backend_names))
    show([held])
    for error in errors:
        complain(error)
    return ERROR if errors else OK


def _desired(setup: Setup, store: Store, now: int) -> Networks:
    """Return what a pass would enforce, if nothing were paused."""
    banned, _ = store.bans.networks(now, setup.config.treason.min_prefix.allows)
    clients, teredo = store.clients.active(now), access.teredo(store, now)
    protected = [each.network for each in access.protection(setup, clients, teredo)]
    return desired(banned | store.feeds.held(now), setup.whitelisted(now), protected).banned


def _networks(networks: Networks, form: str) -> Iterator[str]:
    if form == "json":
        yield from json.listed("desired", map(str, networks))
        return
    if form == "csv":
        yield "network"
    for piece in lines.written(networks):
        yield piece.removesuffix("\n")


def _bans(bans: Iterable[ListedBan], form: str) -> Iterator[str]:
    if form == "json":
        return json.listed("bans", json.bans(bans))
    if form == "csv":
        return _csv(json.ban(each.ban) for each in bans)
    return (str(each.ban.network) for each in bans)


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each row, below the names of its columns."""
    held = StringIO()
    table = csv.writer(held, lineterminator="")
    for row in chain((dict(zip(_COLUMNS, _COLUMNS, strict=True)),), rows):
        table.writerow([plain(row[column] or "") for column in _COLUMNS])
        yield held.getvalue()
        held.seek(0)
        held.truncate()
