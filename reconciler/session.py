"""What every command needs, made when it is first asked for."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import click

from reconciler import compose, config, lock, output, plugins
from reconciler.desired import collapse
from reconciler.interfaces import Backend, Source
from reconciler.loop import Scanner
from reconciler.network import Network
from reconciler.store import Store, open_store


class Session:
    """The configuration that the command line names, and what follows from it."""

    def __init__(self, named: str | None) -> None:
        self._named = named
        self.now = int(time.time())

    @property
    def where(self) -> str:
        """How messages name the configuration file."""
        return self._named or str(config.DEFAULT)

    @cached_property
    def config(self) -> config.Config:
        """The configuration; what is only for tests is warned of."""
        loaded = config.load(None if self._named is None else Path(self._named))
        if loaded.trust.userspace:
            warn("[trust] userspace = true believes what any process writes; use it for tests only")
        return loaded

    @cached_property
    def plugins(self) -> plugins.Plugins:
        """The plugins; each broken one is warned of."""
        found = plugins.load()
        for line in found.broken:
            warn(line)
        return found

    @cached_property
    def exempt(self) -> list[Network]:
        """The whitelist."""
        return collapse(entry.network for entry in self.config.whitelist.networks)

    def store(self, *, write: bool) -> AbstractContextManager[Store]:
        """Open the database."""
        return open_store(self.config.treason.database, write=write)

    def lock(self, timeout: float) -> AbstractContextManager[None]:
        """Keep other passes away."""
        return lock.held(self.config.treason.lock, timeout)

    def backends(self, named: tuple[str, ...]) -> dict[str, Callable[[], Backend]]:
        """Give makers of the backends."""
        return compose.backends(self.config, self.plugins, self.where, named)

    def sources(self, named: tuple[str, ...]) -> dict[str, Callable[[], Source]]:
        """Give makers of the sources."""
        return compose.sources(self.config, self.plugins, self.where, named)

    def scanner(self, store: Store, *, write: bool) -> Scanner:
        """Give what reads sources into the store."""
        userspace = self.config.trust.userspace
        return Scanner(store, self.config.policy, self.now, write, userspace)


def warn(text: str) -> None:
    """Tell of something that changes no result."""
    complain(f"warning: {text}")


def complain(text: str) -> None:
    """Tell of an error, on stderr."""
    click.echo(f"treason: {output.plain_lines(text)}", err=True)
