"""The guard: refuses to remove many bans at once without a known cause.

A lost or replaced database must not open the gates.
"""

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from reconciler.lines import first_few
from reconciler.model import Plan
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.planning.plan import Causes, unexplained

GUARDED_FROM: Final = 10
"""Removals are not guarded while fewer networks than this are enforced."""


@frozen(eq=False)
class Guard:
    """Refuses plans that remove too much without a known cause.

    ``share`` is the largest part of what is enforced that may go unexplained; ``causes`` is asked
    only when it matters. Where ``damaged`` is true not one removal may go unexplained, however few
    are enforced: the bans may be stored, and not to be read.
    """

    share: float
    causes: Callable[[], Causes]
    damaged: Callable[[], bool] = lambda: False

    def refused_removals(self, plan: Plan, enforced: int) -> Networks:
        """Return the removals without a known cause, if they are too many of what is enforced."""
        if self.damaged():
            return unexplained(plan, self.causes())
        limit = self.share * enforced
        if enforced < GUARDED_FROM or len(plan.banned.remove) <= limit:
            return NOTHING
        networks = unexplained(plan, self.causes())
        return networks if len(networks) > limit else NOTHING


def refusal(
    backend: str, removals: Sequence[Network], enforced: int, *, damaged: bool = False
) -> str:
    """Return the text about refused removals: which, of how many that are enforced."""
    if damaged:
        return (
            f"{backend}: keeping {len(removals):,} of {enforced:,} enforced bans that cannot be"
            f" read in the damaged database ({first_few(removals)})"
        )
    return (
        f"{backend}: refusing to remove {len(removals):,} of {enforced:,} enforced bans: no unban,"
        f" expiry or whitelist entry explains this, and max_removals does not allow so many"
        f" ({first_few(removals)})\n"
        "  check that the database is the right one (treason status); to remove them all the same,"
        " use --force"
    )
