"""The plan: the smallest change from what is observed to what is desired.

  desired          observed
┌─────────────┬─────────────┐
│    add      │   remove    │
│      ┌──────┴──────┐      │
│      │   as it is  │      │
└──────┴─────────────┴──────┘
"""

from collections.abc import Iterable
from typing import Final

from reconciler.desired import collapse, overlaps
from reconciler.model import Change, Desired, Observed, Plan
from reconciler.network import Network

GUARDED_FROM: Final = 10
"""Removals are not guarded while fewer networks than this are enforced."""


def plan(desired: Desired, observed: Observed) -> Plan | None:
    """Give the change that is needed; None means in sync."""
    banned = _change(desired.banned, observed.banned)
    passed = Change() if observed.passed is None else _change(desired.passed, observed.passed)
    if not (banned or passed or observed.damage):
        return None
    return Plan(banned, passed, observed.damage, desired)


def unexplained(plan: Plan, lifted: Iterable[Network]) -> list[Network]:
    """Give the removals that have no known cause.

    Known causes are a ban that was ``lifted`` (unbanned or expired), an entry of the whitelist,
    and a network that takes over (the same addresses, cut differently).
    """
    causes = collapse({*lifted, *plan.desired.passed, *plan.desired.banned})
    return [network for network in plan.banned.remove if not overlaps(network, causes)]


def _change(desired: frozenset[Network], observed: frozenset[Network]) -> Change:
    return Change(sorted(desired - observed), sorted(observed - desired))
