"""The daemon that guards the same firewall by the same database, as commands see it.

What it has in force and not stored yet must stay. What a command has stored, it enforces at once.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import define

from reconciler.config.setup import Setup
from reconciler.errors import DaemonError
from reconciler.networks import NOTHING, Networks

if TYPE_CHECKING:
    from reconciler.host.control import Client, DaemonStatus, Enforced


@define(eq=False)
class Resident:
    """The daemon, if there is one: each question finds it anew.

    ``silence`` is why it could not be asked, though it is there; then it is not asked again.
    ``told`` says whether it had anything in force that was not stored, ``met`` that it answered.
    """

    setup: Setup
    silence: str = ""
    told: bool = False
    met: bool = False

    def pending(self) -> Networks:
        """Return what is in force and not stored yet; nothing where there is no daemon."""
        found = NOTHING
        if not self.silence:
            try:
                with connected(self.setup) as client:
                    self.met = client is not None
                    found = client.pending() if client else NOTHING
            except DaemonError as error:
                self.silence = str(error)
        self.told = self.told or bool(found)
        return found

    def status(self) -> "DaemonStatus | None":
        """Return how the daemon is; None where there is none, or it does not answer."""
        if not self.silence:
            try:
                with connected(self.setup) as client:
                    return client.status() if client else None
            except DaemonError as error:
                self.silence = str(error)
        return None


def beside(setup: Setup, backends: Collection[str]) -> Resident | None:
    """Return the daemon to ask in a pass over these backends; None where it has none of them."""
    return None if set(setup.config.treason.backends).isdisjoint(backends) else Resident(setup)


def enforce(setup: Setup) -> "Enforced | None":
    """Let the daemon take in what is stored, and wait; None where there is none.

    Raise `DaemonError`.
    """
    with connected(setup) as client:
        return client.enforce() if client else None


def refuse_beside(setup: Setup, backends: Collection[str]) -> None:
    """Raise `DaemonError` where a daemon would put back what is removed from these backends."""
    if beside(setup, backends) is None:
        return
    with connected(setup) as client:
        if client:
            raise DaemonError(
                f"the daemon (process {client.pid}) would put back at once what is removed",
                "stop it first: systemctl stop treason treason.timer",
            )


@contextmanager
def connected(setup: Setup) -> "Iterator[Client | None]":
    """Connect to the daemon, see `control.connected`."""
    path = setup.config.run.socket
    if not os.path.lexists(path):
        yield None
        return
    from reconciler.host import control  # noqa: PLC0415 - on most machines nothing is there

    with control.connected(path, setup.path, setup.config.treason.database) as client:
        yield client
