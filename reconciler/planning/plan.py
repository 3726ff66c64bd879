"""The plan: the smallest change from what is observed to what is desired.

  desired          observed
┌─────────────┬─────────────┐
│    add      │   remove    │
│      ┌──────┴──────┐      │
│      │   as it is  │      │
└──────┴─────────────┴──────┘
"""

from collections.abc import Collection

from attrs import frozen

from reconciler.model import Change, Desired, Observed, Plan
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks, overlaps
from reconciler.planning.desired import collapse, subtract


@frozen(eq=False)
class Causes:
    """What may explain a removal.

    ``lifted`` and ``banned`` are the networks whose last event was a lift, or a ban; ``exempt``
    is protected.
    """

    lifted: Collection[Network] = NOTHING
    banned: Collection[Network] = NOTHING
    exempt: Collection[Network] = NOTHING


def plan(desired: Desired, observed: Observed) -> Plan | None:
    """Return the change that is needed, in the families that are observed; None means in sync."""
    desired = desired.of(*observed.versions)
    held = Desired(observed.banned, observed.passed or NOTHING).of(*observed.versions)
    banned = _change(desired.banned, held.banned)
    passed = Change() if observed.passed is None else _change(desired.passed, held.passed)
    if not (banned or passed or observed.damage):
        return None
    return Plan(banned, passed, observed.damage, desired, versions=observed.versions)


def only_adds(plan: Plan, networks: Networks) -> bool:
    """Whether the plan does nothing but add addresses that ``networks`` hold."""
    if plan.banned.remove or plan.passed or plan.repairs:
        return False
    return not subtract(plan.banned.add.outermost(), collapse(networks))


def unexplained(plan: Plan, causes: Causes) -> Networks:
    """Return the removals that have no known cause.

    A removal is explained when every address of it is exempt, dropped by another network (the
    same addresses, cut differently), or lifted. What a wider lifted ban leaves of a network does
    not count as lifted if that network had a ban of its own.
    """
    present = Networks.of([*causes.exempt, *plan.desired.passed]) | plan.desired.banned
    still = collapse(present)
    lifted = collapse(present | Networks.of(causes.lifted))
    own = Networks.of(plan.banned.remove) & Networks.of(causes.banned)
    return _uncovered(own, still) | _uncovered(Networks.of(plan.banned.remove) - own, lifted)


def _uncovered(networks: Networks, cover: Networks) -> Networks:
    """Return those of the networks that ``cover`` leaves an address of."""
    outermost = networks.outermost()
    left = subtract(outermost, cover)
    if len(outermost) < len(networks):  # which a host of this set may lie inside
        return Networks.of([network for network in networks if overlaps(network, left)])
    wider = (network for version in (4, 6) for network in networks.wider(version))
    return (networks & left) | Networks.of(each for each in wider if overlaps(each, left))


def _change(desired: Networks, observed: Networks) -> Change:
    return Change(desired - observed, observed - desired)
