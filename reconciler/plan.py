"""The plan: the smallest change from what is observed to what is desired.

  desired          observed
┌─────────────┬─────────────┐
│    add      │   remove    │
│      ┌──────┴──────┐      │
│      │   as it is  │      │
└──────┴─────────────┴──────┘
"""

from typing import Final

from attrs import frozen

from reconciler.desired import collapse, subtract
from reconciler.model import Change, Desired, Observed, Plan
from reconciler.network import Network


@frozen
class Causes:
    """What may explain a removal.

    ``lifted`` and ``banned`` are the networks whose last event was a lift, or a ban; ``exempt``
    is protected.
    """

    lifted: frozenset[Network] = frozenset()
    banned: frozenset[Network] = frozenset()
    exempt: frozenset[Network] = frozenset()


GUARDED_FROM: Final = 10
"""Removals are not guarded while fewer networks than this are enforced."""


def plan(desired: Desired, observed: Observed) -> Plan | None:
    """Give the change that is needed; None means in sync."""
    banned = _change(desired.banned, observed.banned)
    passed = Change() if observed.passed is None else _change(desired.passed, observed.passed)
    if not (banned or passed or observed.damage):
        return None
    return Plan(banned, passed, observed.damage, desired)


def unexplained(plan: Plan, causes: Causes) -> list[Network]:
    """Give the removals that have no known cause.

    A removal is explained when every address of it is exempt, dropped by another network (the
    same addresses, cut differently), or lifted. What a wider lifted ban leaves of a network does
    not count as lifted if that network had a ban of its own.
    """
    present = [*causes.exempt, *plan.desired.passed, *plan.desired.banned]
    still = collapse(present)
    lifted = collapse([*present, *causes.lifted])
    return [
        network
        for network in plan.banned.remove
        if subtract([network], still if network in causes.banned else lifted)
    ]


def _change(desired: frozenset[Network], observed: frozenset[Network]) -> Change:
    return Change(sorted(desired - observed), sorted(observed - desired))
