"""What comes before anything is read or changed: the lock, the database, and who is protected."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.config.setup import Setup
from reconciler.host import lock
from reconciler.log import Log
from reconciler.planning.protection import CLIENT_KEPT, protected, ssh_client
from reconciler.planning.whitelist import Exemption
from reconciler.store.store import Store, open_store

_log = Log("lock")


@contextmanager
def locked(setup: Setup, timeout: float) -> Iterator[Setup]:
    """Hold the pass lock; give the set-up as the files are now that it is held.

    Whoever had the lock before may have changed them. ``timeout`` is in seconds. Raise `LockError`
    or `ConfigError`.
    """
    begun = time.monotonic()
    while True:
        main = setup.config.treason
        with lock.held(main.lock, timeout, like=main.database.parent):
            fresh = setup.reload()
            if fresh.config.treason.lock == main.lock:
                _log.info("held after %.3f s: %s", time.monotonic() - begun, main.lock)
                yield fresh
                return
        setup = fresh  # meanwhile somebody named another lock


@contextmanager
def opened(setup: Setup, *, write: bool) -> Iterator[Store]:
    """Open the database; who came through ssh to write is remembered. Raise `StoreError`."""
    with open_store(setup.config.treason.database, write=write) as store:
        if write and setup.config.protect.ssh_client and (client := ssh_client()):
            now = int(time.time())
            store.clients.remember(client, now + CLIENT_KEPT, now)
        yield store


def protection(setup: Setup, store: Store, now: int) -> list[Exemption]:
    """Return what is protected without being listed."""
    clients = store.clients.active(now)
    if setup.config.protect.ssh_client and (client := ssh_client()):
        clients.append(client)
    return protected(setup.config.protect, clients)
