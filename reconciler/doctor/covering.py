"""Whether the whitelist covers more than it can be meant to."""

from collections.abc import Iterator
from typing import Final

from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.lines import counted
from reconciler.network import Network
from reconciler.planning import whitelist

_MANY: Final = 10
"""Stored bans below an entry that nobody can have meant to keep from being enforced."""


def check(machine: Machine) -> Iterator[Finding]:
    """Yield the entries that are wider than any network, and those that cover many bans."""
    written = {each.network for each in whitelist.entries(machine.setup.whitelist_file).networks}
    for network in machine.setup.whitelisted(machine.clock.now):
        bans = _covered(machine, network)
        remedy = (
            machine.command("whitelist", "remove", str(network))
            if network in written
            else f"remove it from [whitelist] in {machine.setup.path}"
        )
        if excess := whitelist.excess(network):
            what, _, why = excess.partition(": ")
            yield Finding(f"whitelisted: {what}", why, remedy)
        elif bans >= _MANY:
            yield Finding(
                f"{network} is whitelisted, and covers {counted(bans, 'stored ban')}",
                "none of them is enforced",
                remedy,
            )


def _covered(machine: Machine, network: Network) -> int:
    """Return how many stored bans an entry covers."""
    return machine.stored(lambda store: len(store.bans.inside(network, machine.clock.now)), 0)
