"""What is to be in force, as the database and the files say now."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from attrs import evolve, frozen

from reconciler.config.setup import Setup
from reconciler.daemon.marks import Mark, is_being_written, mark
from reconciler.model import Desired
from reconciler.network import Network
from reconciler.passes import access
from reconciler.passes.run import Options, Pass
from reconciler.planning.whitelist import Exemption
from reconciler.store.pauses import Pause
from reconciler.store.store import Store

_TOGETHER: Final = 5
"""Seconds within which all that ends of what feeds hold is taken out at once: strangers say when
that is, so there may be an end each second."""


@frozen(eq=False)
class View:
    """What is desired, for which ``owner``, with whom ``protected``, by which ``revision``.

    ``cursors`` are those of the sources. It was looked at ``now`` (epoch seconds). ``ends`` are the
    seconds until the next ban, the pause or a whitelist entry ends, at ``next_end``; None where
    nothing does. ``damage`` is what of the database cannot be read: then passes alone know what is
    to be in force. ``mark`` is the database's, from before it was read. ``noted`` says that every
    change of a ban counts for the revision, from then on. While everything is ``paused``, nothing
    is desired; ``overdue`` says that a pause is over, and no pass has enforced anything since.
    """

    desired: Desired
    owner: str
    protected: list[Exemption]
    cursors: Mapping[str, str | None]
    ends: float | None
    next_end: int | None
    revision: int
    mark: Mark | None
    noted: bool
    damage: tuple[str, ...] = ()
    paused: Pause | None = None
    overdue: bool = False
    now: int = 0


def look(setup: Setup, sources: Iterable[str], known: View | None) -> View:
    """Read the database, and write nothing; what is ``known`` is not read again.

    Where another program keeps it locked, what was committed last is read; the mark may be of what
    that one is about to commit, so none is given. Raise `TreasonError`.
    """
    database = setup.config.treason.database
    before = None if is_being_written(database) else mark(database)
    with access.opened(setup, write=False, backends={}, create=False, past_locks=True) as store:
        view = _seen(setup, store, known)
        cursors = {name: store.cursors.get(name) for name in sources}
        return evolve(view, cursors=cursors, mark=before)


def _seen(setup: Setup, store: Store, known: View | None) -> View:
    """Return what a pass over the open database would let the backends hold."""
    clock = access.told(store)
    this = Pass(setup, store, clock.now, options=Options(write=False), clock=clock)
    prepared = this.prepare()
    revision = store.attempt_to_read(lambda: store.changes.revision) or 0
    owner = prepared.goal.owner
    ends = (_next_end(store, clock.now), setup.next_end(clock.now))
    end = min((each for each in ends if each is not None), default=None)
    view = View(
        desired=known.desired if known else Desired(),
        owner=owner.note if owner else "",
        protected=prepared.protected,
        cursors={},
        ends=None if end is None else max(0.0, end - clock.now),
        next_end=end,
        revision=revision,
        mark=None,
        noted=not store.damage
        and any(store.changes.verified(each) for each in setup.config.treason.backends),
        paused=prepared.paused,
        overdue=bool(store.attempt_to_read(partial(store.pauses.is_over, clock.now))),
        now=clock.now,
    )
    if known is None or store.damage or not _is_same(known, view):
        view = evolve(view, desired=prepared.goal.whole())
    return evolve(view, damage=tuple(store.damage))


def seconds_left(store: Store, now: int) -> float | None:
    """Return the seconds until the next ban ends, or the pause; None where none does."""
    end = _next_end(store, now)
    return None if end is None else max(0.0, end - now)


def _next_end(store: Store, now: int) -> int | None:
    pause = store.attempt_to_read(partial(store.pauses.active, now))
    ban = store.attempt_to_read(partial(store.bans.next_end, now))
    fed = store.attempt_to_read(partial(store.feeds.next_end, now))
    together = None if fed is None else -(-fed // _TOGETHER) * _TOGETHER
    ends = (ban, together, pause.until if pause else None)
    return min((end for end in ends if end is not None), default=None)


def _is_same(known: View, now: View) -> bool:
    """Whether the same must be desired: no ban has changed or ended, nor who is exempt.

    It is certain where every change of a ban was noted since, as passes need it.
    """
    return known.noted and now.noted and not known.damage and _essence(known) == _essence(now)


def _essence(view: View) -> tuple[int, int | None, bool, set[Network]]:
    protected = {each.network for each in view.protected}
    return view.revision, view.next_end, view.paused is not None, protected
