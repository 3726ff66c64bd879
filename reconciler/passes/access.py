"""What comes before anything is read or changed: the lock, the database, and who is protected."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import TypeVar

from attrs import evolve

from reconciler import embedding
from reconciler.config.setup import Setup
from reconciler.detection.policy import Policy
from reconciler.errors import StoreError
from reconciler.host import clock, lock
from reconciler.log import Log
from reconciler.network import Network
from reconciler.passes import traces
from reconciler.planning.desired import collapse
from reconciler.planning.protection import CLIENT_KEPT, protected, ssh_client
from reconciler.planning.whitelist import Exemption
from reconciler.store.pauses import Pause
from reconciler.store.store import Store, open_store, open_to_enforce

T = TypeVar("T")

_log = Log("access")


@contextmanager
def locked(setup: Setup, timeout: float, made: Callable[[Setup], T]) -> Iterator[tuple[Setup, T]]:
    """Hold the pass lock; give the set-up as the files are now, and what ``made`` makes of it.

    Whoever had the lock before may have changed the files. ``made`` is called before as well: if
    it refuses something, nothing is written, not even the lock. ``timeout`` is in seconds. Raise
    `LockError` or `ConfigError`.
    """
    made(setup)
    begun = time.monotonic()
    while True:
        main = setup.config.treason
        left = max(0.0, round(timeout - (time.monotonic() - begun), 2))
        with lock.held(main.lock, left, like=main.database.parent):
            fresh = setup.reload()
            if fresh.config.treason.lock == main.lock:
                _log.info("lock %s taken after %.3f s", main.lock, time.monotonic() - begun)
                yield fresh, made(fresh)
                return
        setup = fresh  # meanwhile somebody named another lock


@contextmanager
def opened(
    setup: Setup,
    *,
    write: bool,
    backends: traces.Backends | None = None,
    create: bool = True,
    past_locks: bool = False,
) -> Iterator[Store]:
    """Open the database, see `opening.connect`. Raise `StoreError`.

    One that is gone is not begun anew (`reconciler.passes.traces.check`). Whoever writes has a look
    at the clock remembered, and the ssh client that it came through.
    """
    traces.check(setup, backends, create=create)
    database = setup.config.treason.database
    with open_store(database, write=write, past_locks=past_locks) as store:
        if write:
            _remember(setup, store)
        yield store


@contextmanager
def opened_to_enforce(
    setup: Setup, backends: traces.Backends | None = None, *, create: bool = True
) -> Iterator[Store]:
    """Open the database for a pass, which enforces also where nothing can be written.

    Why something could not be written stands in `Store.unwritten`. Raise `StoreError` where the
    database cannot be read, or is gone, as `opened` does.
    """
    traces.check(setup, backends, create=create)
    with open_to_enforce(setup.config.treason.database) as store:
        store.attempt(partial(_remember, setup, store))
        yield store


def told(store: Store) -> clock.Clock:
    """Return the time to go by, which is not always what the wall clock tells."""
    return store.clock.believe(clock.look())


def paused(setup: Setup) -> tuple[Pause, int] | None:
    """Return the pause that counts, and the time now (epoch seconds); None if there is none.

    A mark that cannot be read is not a pause.
    """
    try:
        with opened(setup, write=False) as store:
            now = told(store).now
            found = store.pauses.active(now)
    except StoreError:
        return None
    return (found, now) if found else None


def protection(
    setup: Setup, clients: Iterable[Network], banned: Iterable[Network] = ()
) -> list[Exemption]:
    """Return what is protected without being listed, with the ssh clients that are remembered.

    Of the ``banned`` networks those of Teredo tell which of its addresses are protected.
    """
    now = [client] if (client := _client(setup)) else []
    return protected(setup.config.protect, [*clients, *now], banned=banned)


def apart(setup: Setup, exempt: Iterable[Exemption]) -> Policy:
    """Return the policy under which nobody is banned with an address that is protected."""
    protect = setup.config.protect
    networks = (*embedding.SHARED, *protect.nat64, *(each.network for each in exempt))
    return evolve(setup.config.policy, apart=tuple(collapse(networks)))


def teredo(store: Store, now: int) -> list[Network]:
    """Return the networks of Teredo that are banned, also by feeds. Raise `StoreError`."""
    own = [network for network, _ in store.bans.inside(embedding.TEREDO, now)]
    return [*own, *store.feeds.held_of_six(now).meeting(embedding.TEREDO)]


def _remember(setup: Setup, store: Store) -> None:
    """Remember a look at the clock, and who came through ssh."""
    store.clock.remember(clock.look())
    if client := _client(setup):
        now = told(store).now
        store.clients.remember(client, now + CLIENT_KEPT, now)


def _client(setup: Setup) -> Network | None:
    return _ssh_client(os.getpid()) if setup.config.protect.ssh_client else None


@cache
def _ssh_client(pid: int) -> Network | None:
    """Look for the ssh client once in a process: what /proc says of it stays the same."""
    return ssh_client(pid)
