"""The pause, as commands begin it and end it."""

from contextlib import suppress

from attrs import evolve

from reconciler.config.setup import Setup
from reconciler.errors import DaemonError
from reconciler.passes import access, resident
from reconciler.passes.run import Options, Pass, PassResult
from reconciler.store.pauses import Pause


def begin(setup: Setup, seconds: int | None, timeout: float, options: Options) -> PassResult:
    """Store the mark, then lift all that is enforced; None: it has no end.

    The pass reads no source. ``timeout`` (seconds) is that of the lock. Raise `TreasonError` where
    the mark cannot be stored: then nothing is lifted.
    """
    with (
        access.locked(setup, timeout, Setup.backends) as (current, backends),
        access.opened(current, write=True, backends=backends) as store,
    ):
        clock = access.told(store)
        now = clock.now
        store.pauses.begin(Pause(now, None if seconds is None else now + seconds))
        options = evolve(options, check=False, write=True)
        this = Pass(current, store, now, backends=backends, options=options, clock=clock)
        return this.run()


def end(setup: Setup, timeout: float) -> Pause | None:
    """Let the mark be over, and the daemon stand still no more; return the pause, if it counted.

    Raise `TreasonError`.
    """
    with (
        access.locked(setup, timeout, Setup.backends) as (current, backends),
        access.opened(current, write=True, backends=backends) as store,
    ):
        paused = store.pauses.active(access.told(store).now)
        store.pauses.end()
        with suppress(DaemonError):  # one that does not answer is told of when it is to enforce
            resident.go_on(current)
        return paused
