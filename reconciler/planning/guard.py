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
    are enforced: the bans may be stored, and not to be read. Where ``unasked`` is true nothing is
    removed at all: the daemon may have in force what is not stored yet.
    """

    share: float
    causes: Callable[[], Causes]
    damaged: Callable[[], bool] = lambda: False
    unasked: Callable[[], bool] = lambda: False

    def refused_removals(self, plan: Plan, enforced: int) -> Networks:
        """Return the removals without a known cause, if they are too many of what is enforced."""
        if self.unasked():
            return Networks.of(plan.banned.remove)
        if self.damaged():
            return unexplained(plan, self.causes())
        limit = self.share * enforced
        if enforced < GUARDED_FROM or len(plan.banned.remove) <= limit:
            return NOTHING
        networks = unexplained(plan, self.causes())
        return networks if len(networks) > limit else NOTHING

    def refusal(self, backend: str, removals: Sequence[Network], enforced: int) -> str:
        """Return the text about refused removals: which, of how many that are enforced."""
        some = f"{len(removals):,} of {enforced:,} enforced bans"
        if self.unasked():
            return (
                f"{backend}: keeping {some} while the daemon does not tell what it has in force"
                f" ({first_few(removals)})"
            )
        if self.damaged():
            return (
                f"{backend}: keeping {some} that cannot be read in the damaged database"
                f" ({first_few(removals)})"
            )
        return (
            f"{backend}: refusing to remove {some}: no unban, expiry or whitelist entry explains"
            f" this, and max_removals does not allow so many ({first_few(removals)})\n"
            "  check that the database is the right one (treason status); to remove them all the"
            " same, use --force"
        )
