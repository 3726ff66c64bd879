"""The group of the commands about feeds: a feed's own process imports no more than its command."""

from typing import Final

import click

from reconciler.cli.lazy import Lazy
from reconciler.cli.options import examples, verbosity

_COMMANDS: Final = {
    "accept": (
        "feed_taken:accept",
        "Believe a feed once: take all that it names now, and enforce it.",
    ),
    "list": (
        "feed_taken:list_",
        "List the feeds: what was taken of each, when, and what keeps more from being taken.",
    ),
    "run": (
        "feed_run:run",
        "Read what a feed says now, and write it to its own file; passes take it from there.",
    ),
    "show": (
        "feed_taken:show_",
        "Show all that is known of a feed: its settings, its members, what they name, and why.",
    ),
}


@click.group(
    cls=Lazy,
    within=_COMMANDS,
    epilog=examples("feed list", "feed show spamhaus", "feed accept spamhaus"),
)
@verbosity
def feed() -> None:
    """Show what others say of whom to drop, and refresh or accept it.

    A feed's own process writes what it says to a file of its own; each pass takes what its limits
    allow of that.
    """
