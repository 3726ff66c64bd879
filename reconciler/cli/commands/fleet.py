"""The group of the commands about a fleet: only what the command needs is imported."""

from typing import Final

import click

from reconciler.cli.lazy import Lazy
from reconciler.cli.options import examples, verbosity

_COMMANDS: Final = {
    "init": (
        "fleet_admin:init",
        "Make a database a fleet: roles, schema and rights; newer versions migrate older ones.",
    ),
    "add-member": (
        "fleet_admin:add_member",
        "Add a machine and print its password, or change its quota or its password.",
    ),
    "remove-member": (
        "fleet_admin:remove_member",
        "Let a machine in no more, and remove all that it bans.",
    ),
    "status": (
        "fleet_admin:status",
        "Show the fleet's clock and its members: when each was seen, and how far it has read.",
    ),
}


@click.group(
    cls=Lazy,
    within=_COMMANDS,
    epilog=examples(
        "fleet init --dsn dbname=fleet",
        "fleet add-member web1 --dsn dbname=fleet",
        "fleet status --feed fleet",
    ),
)
@verbosity
def fleet() -> None:
    """Share bans between machines: make the database, add members, see how they are.

    A fleet's administrator runs these, where the database is; they need no configuration.
    """
