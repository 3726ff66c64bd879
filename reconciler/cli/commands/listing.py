"""The command that lists bans."""

import click

from reconciler.cli import given
from reconciler.cli.console import ERROR, OK, emit, note, show
from reconciler.cli.ending import complain_of_damage
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.passes import access
from reconciler.report import json, text
from reconciler.store.listing import NETWORK, OFFENCES, ORDERS, Choice


@click.command(
    "list",
    epilog=examples(
        "list --sort since --limit 10",
        "list --rule zero-window --since 24h -o json",
        "list --origin feed:spamhaus --limit 10",
        "list --invalid",
        "list --observed-only",
    ),
)
@click.option(
    "--rule", "--origin", "rule", metavar="NAME",
    help="List only the bans of this rule; manual: by hand; feed:NAME: what that feed names.",
)  # fmt: skip
@click.option(
    "--all", "everything", is_flag=True, help="List also what feeds name, as -o json always does."
)
@click.option(
    "--since", metavar="WHEN",
    help="List only bans that began since: 1h (ago), 2026-11-29, 2026-11-29T18:00:00Z.",
)  # fmt: skip
@click.option(
    "--sort", type=click.Choice([*ORDERS]), default=NETWORK, show_default=True,
    help="since: the newest first; until: the next to end; offences: who offended most.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="List so many at most.")
@click.option(
    "--invalid", is_flag=True, help="List the rows that are not a network, so not enforced."
)
@click.option(
    "--observed-only", "observed", is_flag=True,
    help="List who would have been banned while [policy] mode was observe.",
)  # fmt: skip
@output_format
@verbosity
@click.pass_obj
def list_(
    setup: Setup,
    rule: str | None,
    everything: bool,
    since: str | None,
    sort: str,
    limit: int | None,
    invalid: bool,
    observed: bool,
    form: str,
) -> int:
    """List the active bans.

    What feeds name may be very much: of each feed the number is told, and where to see them.
    """
    if (invalid or observed) and (rule or since or limit or everything or sort != NETWORK):
        raise click.UsageError("--invalid and --observed-only list all, in their own order")
    with access.opened(setup, write=False) as store:
        now = access.told(store).now
        if invalid:
            rows = store.bans.invalid(now)
            emit(form, lambda: {"invalid": json.invalid(rows)}, text.invalid(rows, now))
            return OK
        if observed:
            found = store.withheld.active(now)
            emit(form, lambda: {"withheld": json.withheld(found)}, text.withheld(found, now))
            return OK
        damage = store.integrity.indexes()
        begun = None if since is None else given.moment(since, now)
        feeds = everything or form == "json"
        choice = Choice(rule=rule, since=begun, sort=sort, limit=limit, feeds=feeds)
        bans = store.listed(now, choice, indexed=not damage)
        if form == "json":
            show(json.listed("bans", json.bans(bans)))
        else:
            show(text.bans(bans, now, counted=sort == OFFENCES))
        if rule is None and not feeds:
            for line in text.besides(store.feeds.number(now)):
                note(line)
    complain_of_damage(damage)
    return ERROR if damage else OK
