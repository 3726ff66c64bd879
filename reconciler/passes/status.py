"""How things stand: what is stored, desired and enforced, and whether the kernel is heard."""

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from reconciler.host import kernel_message
from reconciler.interfaces import Source
from reconciler.passes.enforce import Outcome
from reconciler.passes.run import Pass
from reconciler.passes.silence import silent
from reconciler.store.store import Counts


@frozen(eq=False)
class Status:
    """Counts of networks, the backends' outcomes of a check, and why sources hear nothing.

    ``invalid`` are stored bans that are not enforced, ``desired`` networks that are to be dropped.
    """

    database: Path
    counts: Counts
    invalid: int
    whitelisted: int
    protected: int
    desired: int
    silent: Mapping[str, str]
    kernel_message: kernel_message.State
    outcomes: tuple[Outcome, ...]


def look(check: Pass, sources: Mapping[str, Callable[[], Source]]) -> Status:
    """Make a pass that only checks, and ask the sources whether they hear the kernel."""
    counts = check.store.counts(check.now)
    result = check.run()
    return Status(
        database=check.setup.config.treason.database,
        counts=counts,
        invalid=len(result.refused),
        whitelisted=len(check.setup.whitelist),
        protected=len(result.protected),
        desired=len(result.desired().banned),
        silent=silent(sources),
        kernel_message=kernel_message.look(kernel_message.HERE),
        outcomes=tuple(result.outcomes),
    )
