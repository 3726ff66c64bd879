"""The daemon that guards the same firewall by the same database, as commands see it.

What it has in force and not stored yet must stay. What a command has stored, it enforces at once.
While a command holds it, it changes nothing.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from reconciler.config.setup import Setup
from reconciler.errors import DaemonError
from reconciler.networks import NOTHING, Networks

if TYPE_CHECKING:
    from reconciler.host.control import Client, DaemonStatus, Enforced

UNTAKEN: Final = 3
"""How a scheduled pass ends that has brought all in line, and could only not take some feed."""


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

    def resting(self) -> str:
        """Return why the daemon changes nothing now; empty if it does, or there is none."""
        how = self.status()
        return f"the daemon (process {how.pid}) {how.rests}" if how and how.rests else ""

    def go_on(self) -> None:
        """Let the daemon stand still no more."""
        if not self.silence:
            try:
                go_on(self.setup)
            except DaemonError as error:
                self.silence = str(error)


@frozen
class Hold:
    """A daemon that changes nothing: it is held."""

    _client: "Client"

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self._client.pid

    def stand_still(self, by: str) -> None:
        """Let it change nothing after that either, until it is told to go on; ``by`` a command.

        Raise `DaemonError`.
        """
        self._client.stand_still(by)


def beside(setup: Setup, backends: Collection[str]) -> Resident | None:
    """Return the daemon to ask in a pass over these backends; None where it has none of them."""
    return None if set(setup.config.treason.backends).isdisjoint(backends) else Resident(setup)


def enforce(setup: Setup) -> "Enforced | None":
    """Let the daemon take in what is stored, and wait; None where there is none.

    Raise `DaemonError`.
    """
    with connected(setup) as client:
        return client.enforce() if client else None


def go_on(setup: Setup) -> None:
    """Let the daemon stand still no more, if it does; it begins anew at once. Raise `DaemonError`.

    Ask inside the lock of the passes: a teardown that comes later is not to be undone.
    """
    with connected(setup) as client:
        if client:
            client.go_on()


@contextmanager
def held(setup: Setup, backends: Collection[str], timeout: float) -> Iterator[Hold | None]:
    """Hold the daemon of these backends: None where there is none.

    It changes nothing meanwhile, and begins anew behind it, as it does if this process is killed.
    Take the lock of the passes inside: a pass of the daemon's own may wait for it, and is waited
    for, ``timeout`` seconds. Raise `DaemonError` where the daemon does not answer.
    """
    with ExitStack() as stack:
        try:
            asked = beside(setup, backends)
            client = stack.enter_context(connected(setup)) if asked else None
            if client:
                client.hold(timeout)
        except DaemonError as error:
            raise DaemonError(
                error.what,
                "nothing was changed; stop the daemon first: systemctl stop treason treason.timer",
            ) from None
        yield Hold(client) if client else None


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
