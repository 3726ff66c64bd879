"""What the checks look at: the set-up, the database, and where the system tells of itself."""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from attrs import define, field

from reconciler.config.setup import Setup
from reconciler.errors import StoreError
from reconciler.host.clock import SURE, Clock
from reconciler.interfaces import Spec
from reconciler.passes import access, traces
from reconciler.passes.resident import Resident
from reconciler.store.store import Store, open_store

T = TypeVar("T")

_PATIENCE: Final = 0.3
"""Seconds to wait for who keeps the database locked; then it is read as it was before."""


@define(eq=False, slots=False)
class Machine:
    """A machine that is looked at; ``root`` is the directory below which its files are.

    ``store`` is None where the database cannot be read: ``refused`` is why.
    """

    setup: Setup
    store: Store | None = None
    refused: StoreError | None = None
    clock: Clock = SURE
    root: Path = field(default=Path("/"))

    def command(self, *words: str) -> str:
        """Return a command of this program's, for a shell, that goes by the same configuration."""
        named = ["--config", self.setup.named] if self.setup.named else []
        return shlex.join(["treason", *named, *words])

    @property
    def is_root(self) -> bool:
        """Whether all may be looked at."""
        return os.geteuid() == 0

    @cached_property
    def resident(self) -> Resident:
        """The daemon, if there is one."""
        return Resident(self.setup)

    @cached_property
    def drops_packets(self) -> bool:
        """Whether one of the backends keeps packets from coming in."""
        known = self.setup.plugins.backends
        names = (Spec.parse(spec).name for spec in self.setup.config.treason.backends)
        return any(name in known and known[name].drops_packets for name in names)

    def stored(self, asked: Callable[[Store], T], otherwise: T) -> T:
        """Ask the database; what it cannot tell is told by its own check."""
        if self.store is None:
            return otherwise
        try:
            return asked(self.store)
        except StoreError:
            return otherwise

    def text(self, path: str) -> str:
        """Return what a file of the system says; nothing where it says nothing, or may not."""
        try:
            return (self.root / path).read_text(errors="replace")
        except OSError:
            return ""


@contextmanager
def opened(setup: Setup) -> Iterator[Machine]:
    """Yield the machine, with its database open for reading, if it can be read."""
    machine = Machine(setup)
    with ExitStack() as stack:
        try:
            traces.check(setup)
            path = setup.config.treason.database
            reading = open_store(path, write=False, timeout=_PATIENCE, past_locks=True)
            store = stack.enter_context(reading)
            machine.clock = access.told(store)
            machine.store = store
        except StoreError as error:
            machine.refused = error
        yield machine
