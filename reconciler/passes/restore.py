"""A backup takes the place of the database: what would follow, the exchange, and a pass."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import evolve, frozen

from reconciler.config.setup import Setup
from reconciler.errors import StoreError
from reconciler.interfaces import Backend
from reconciler.lines import first_few
from reconciler.model import Plan
from reconciler.network import Network
from reconciler.passes import access, resident, traces
from reconciler.passes.enforce import Outcome, enforce
from reconciler.passes.prepared import Preparation
from reconciler.passes.run import Options, Pass, PassResult
from reconciler.planning.guard import Guard
from reconciler.planning.plan import Causes, unexplained
from reconciler.store.store import Store
from reconciler.store.successor import Successor, made

Backends = Mapping[str, Callable[[], Backend]]


@frozen
class Restored:
    """What a restore comes to: ``bans`` that are active, and what each backend is to change.

    ``written`` is the time of the last event that the backup knows (epoch seconds). ``refusals``
    are why it is not to be restored without force. ``kept`` is where the database is that it
    replaced. ``result`` is what the pass behind it did; None where nothing was to be changed.
    """

    bans: int
    written: int | None
    now: int
    outcomes: list[Outcome]
    refusals: list[str]
    kept: Path | None = None
    result: PassResult | None = None


def restore(
    setup: Setup, backends: Backends, backup: Path, *, force: bool, check: bool
) -> Restored:
    """Let a backup take the place of the database, and enforce it; with ``check`` only tell.

    The pass lock is held, and so is the daemon, which stands still no more behind it. Raise
    `StoreError` where it is refused: then nothing was changed.
    """
    with made(setup.config.treason.database, backup) as coming:
        _identify(setup, coming, backup, force=force)
        coming.carry()
        coming.begin_anew()
        found, lifted = _judged(setup, backends, coming.store, force=force)
        if check:
            return found
        if found.refusals:
            raise StoreError(
                f"{backup}: not restored: {'; '.join(found.refusals)}",
                "see what it would change with --check; to restore it all the same, use --force",
            )
        reason = f"not in the backup that was restored: {backup.name}"
        then = found.now if found.written is None else min(found.written, found.now)
        before = then - 1  # what comes from then on, and is read again, is not settled by it
        coming.note_lifts([str(each) for each in sorted(lifted)], reason, before)
        kept = coming.take_place(found.now)
    beside = resident.beside(setup, backends)
    with access.opened_to_enforce(setup, backends) as store:
        clock = access.told(store)
        this = Pass(
            setup,
            store,
            clock.now,
            backends=backends,
            clock=clock,
            resident=beside,
        )
        result = this.run()
    if beside:
        beside.go_on()
        result = evolve(result, unasked=result.unasked or beside.silence)
    return evolve(found, kept=kept, result=result)


def _identify(setup: Setup, coming: Successor, backup: Path, *, force: bool) -> None:
    """Let it be the database that it replaces: firewalls know that by its identity.

    Raise `StoreError` for a backup of another one, unless that is meant.
    """
    identity = ""
    if coming.present is not None:
        present = Store(coming.present)
        identity = present.attempt_to_read(lambda: present.identity) or ""
    identity = identity or traces.noted_identity(setup)
    if not identity:
        return
    if coming.known and coming.known != identity and not force:
        path = setup.config.treason.database
        raise StoreError(
            f"{backup}: is a backup of another database than {path}",
            "name a backup of this one; to let its bans take this one's place: --force",
        )
    coming.store.take_identity(identity)


def _judged(
    setup: Setup, backends: Backends, store: Store, *, force: bool
) -> tuple[Restored, set[Network]]:
    """Return what each backend is to change, and which networks are lifted by that.

    What the backup tells of lifts explains nothing: they are not bans that somebody lifted now.
    That whitelist.toml is gone, which the backup may remember, is for the pass to tell.
    """
    now = access.told(store).now
    store.damage = store.integrity.unreadable()
    protected = access.protection(setup, store.clients.active(now), access.teredo(store, now))
    options = Options(check=True, write=False, force=force)
    beside = resident.beside(setup, backends)
    goal = (
        Preparation(setup, store, now, options, beside)
        .prepared(protected, (), store.pauses.active(now))
        .goal
    )
    outcomes = list(enforce(backends, evolve(goal, guard=None, knowledge=None), check=True))
    if store.damage:
        raise StoreError(store.damage[0])
    causes = Causes(exempt=[entry.network for entry in protected])
    share = float("inf") if force else setup.config.treason.max_removals
    guard = Guard(share, lambda: causes)
    lifted: set[Network] = set()
    refusals = []
    for each in outcomes:
        if each.failure and not force:
            refusals.append(each.failure)
        elif each.plan is not None:
            lifted.update(unexplained(each.plan, causes))
            refusals += _refused(each, each.plan, guard)
    return Restored(store.number(now), store.last_time, now, outcomes, refusals), lifted


def _refused(outcome: Outcome, plan: Plan, guard: Guard) -> Iterator[str]:
    """Yield that a plan lifts too much, if it does."""
    enforced = len(plan.desired.banned) + len(plan.banned.remove) - len(plan.banned.add)
    if removals := guard.refused_removals(plan, enforced):
        yield (
            f"{outcome.backend}: {len(removals):,} of {enforced:,} enforced bans would be removed"
            f" ({first_few(removals)}): more than max_removals allows"
        )
