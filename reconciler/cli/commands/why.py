"""The command that explains why somebody is dropped, or is not."""

from typing import Any

import click

from reconciler.cli.console import ERROR, OK, complain, emit
from reconciler.cli.options import examples, output_format, verbosity
from reconciler.config.setup import Setup
from reconciler.network import Network
from reconciler.passes import access, resident
from reconciler.passes.question import Question
from reconciler.passes.why import Verdict, Why
from reconciler.report import why as text


@click.command(
    epilog=examples("why 192.0.2.7", "why 192.0.2.7 --expect dropped", "why 198.51.100.0/24")
)
@click.argument("network", metavar="ADDRESS|NETWORK")
@click.option(
    "--expect", type=click.Choice([Verdict.DROPPED.value, Verdict.PASSED.value]),
    help="End with 0 if all of it is dropped, or passes, and with 1 if not.",
)  # fmt: skip
@output_format
@verbosity
@click.pass_obj
def why(setup: Setup, network: str, expect: str | None, form: str) -> int:
    """Explain why an address or a network is dropped, or why it is not.

    The first line is the answer: what the firewalls do with its packets now. Below stand the bans
    that hold it, what exempts it, which rules decide, and what the next pass will change.
    """
    wanted, backends = Network.parse(network), setup.backends()
    with access.opened(setup, write=False) as store:
        found = Question(
            setup,
            store,
            access.told(store).now,
            backends,
            resident.beside(setup, backends),
        ).ask(wanted)
    emit(form, lambda: _value(found), text.page(found))
    failures = [each.error for each in found.standings if each.error]
    for failure in (*failures, *found.damage):
        complain(failure)
    if expect is not None:
        return OK if found.verdict.value == expect else ERROR
    return ERROR if failures or found.unasked or found.damage else OK


def _value(found: Why) -> dict[str, Any]:
    from reconciler.report.why_json import explained  # noqa: PLC0415 - people read no JSON

    return explained(found)
