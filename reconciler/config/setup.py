"""What every command needs, made when it is first asked for."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path

from reconciler import __version__
from reconciler.cli.console import warn
from reconciler.config import compose, plugins, tables
from reconciler.detection.detect import RULES, Rule
from reconciler.errors import StoreError
from reconciler.host import lock
from reconciler.interfaces import Backend, Source
from reconciler.model import Desired
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.passes.enforce import Guard, Wish
from reconciler.passes.recall import Memory
from reconciler.passes.scan import Scanner
from reconciler.planning import whitelist
from reconciler.planning.desired import collapse, desired
from reconciler.planning.plan import Causes
from reconciler.planning.protection import CLIENT_KEPT, protected, ssh_client
from reconciler.planning.whitelist import Exemption
from reconciler.store.store import Store, open_store
from reconciler.toml import file as toml_file
from reconciler.toml.file import TomlFile


class Session:
    """The configuration that the command line names, and what follows from it."""

    def __init__(self, named: str | None) -> None:
        self._named = named

    @cached_property
    def now(self) -> int:
        """The time of the pass, in epoch seconds: when it is first asked for, behind the lock."""
        return int(time.time())

    @cached_property
    def path(self) -> Path:
        """The configuration file, which need not exist unless it was named."""
        return tables.DEFAULT if self._named is None else Path(self._named)

    @cached_property
    def file(self) -> TomlFile:
        """What the configuration file says."""
        return toml_file.read(self.path, required=self._named is not None)

    @cached_property
    def config(self) -> tables.Config:
        """The configuration; what is only for tests is warned of."""
        loaded = tables.parse(self.file)
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
    def whitelist(self) -> list[Exemption]:
        """The entries of both files."""
        written = whitelist.load(whitelist.beside(self.path))
        return [*self.config.whitelist.networks, *written.networks]

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are on."""
        tables = self.config.rule
        if not tables:
            return RULES
        from reconciler.detection import rules  # noqa: PLC0415 - most configurations have none

        if problems := rules.unknown_sources(tables, self.plugins.sources):
            raise self.file.refusal(problems)
        return rules.active(tables, self.config.policy)

    def protection(self, store: Store) -> list[Exemption]:
        """Give what is protected without being listed."""
        clients = store.clients.active(self.now)
        if self._client is not None:
            clients.append(self._client)
        return protected(self.config.protect, clients)

    @contextmanager
    def store(self, *, write: bool) -> Iterator[Store]:
        """Open the database; who came through ssh to write is remembered."""
        with open_store(self.config.treason.database, write=write) as store:
            if write and self._client is not None:
                store.clients.remember(self._client, self.now + CLIENT_KEPT, self.now)
            yield store

    @cached_property
    def _client(self) -> Network | None:
        return ssh_client() if self.config.protect.ssh_client else None

    def lock(self, timeout: float) -> AbstractContextManager[None]:
        """Keep other passes away."""
        settings = self.config.treason
        return lock.held(settings.lock, timeout, like=settings.database.parent)

    def backends(self, named: tuple[str, ...]) -> Mapping[str, Callable[[], Backend]]:
        """Give makers of the backends."""
        return compose.backends(self.config, self.plugins, self.file, named)

    @property
    def capabilities(self) -> set[str]:
        """Give what the configured backends need beyond CAP_NET_ADMIN."""
        known = self.plugins.backends
        names = (spec.partition(":")[0] for spec in self.config.treason.backends)
        return {each for name in names if name in known for each in known[name].capabilities}

    @property
    def reading(self) -> tuple[set[str], set[str]]:
        """Give the capabilities and the groups that the configured sources need."""
        known = self.plugins.sources
        names = (spec.partition(":")[0] for spec in self.config.treason.sources)
        used = [known[name] for name in names if name in known]
        return (
            {each for plugin in used for each in plugin.capabilities},
            {each for plugin in used for each in plugin.groups},
        )

    def wish(self, store: Store, new: Iterable[Network], *, write: bool, force: bool) -> Wish:
        """Give what is desired, and what is remembered of the backends.

        ``new`` are banned besides what is stored; ``force`` lifts all that the bans say.
        """
        allows = self.config.treason.min_prefix.allows
        resync = self.config.treason.resync_interval
        whitelist = [entry.network for entry in self.whitelist]
        protected = [entry.network for entry in self.protection(store)]
        untidy, _ = store.bans.exceptions(self.now, allows)
        extra = Networks.of([*new, *untidy])
        if write:
            with suppress(StoreError):  # a full disk does not keep a pass from enforcing
                store.changes.forget(self.now - resync)

        @cache
        def whole() -> Desired:
            banned, _ = store.bans.networks(self.now, allows)
            return desired(banned | extra, whitelist, protected)

        passed, exempt = collapse(whitelist), collapse([*whitelist, *protected])
        digest = self._digest([*passed], [*exempt])
        memory = Memory(store, self.now, digest, resync, exempt, allows, extra, whole, write)
        return Wish(whole, None if force else self._guard(store), memory)

    def refused(self, store: Store) -> list[str]:
        """Give the stored bans that are not enforced: no networks, or too wide and unchecked."""
        return store.bans.exceptions(self.now, self.config.treason.min_prefix.allows)[1]

    def settle(self, store: Store, *, write: bool) -> list[str]:
        """Move the bans that have ended to the history, and prune; give their networks.

        A full disk does not keep a pass from enforcing: they do not count any more, moved or not.
        """
        policy = self.config.policy
        windows = [rule.policy.window for rule in self.rules if rule.policy is not None]
        ended = store.bans.ended(self.now)
        if write:
            try:
                store.bans.expire(self.now)
                kept = max(policy.keep_offences, policy.window, *windows)
                store.prune(self.now, kept, policy.keep_history)
            except StoreError as error:
                warn(str(error))
        return ended

    def _guard(self, store: Store) -> Guard:
        """Give what refuses to lift too much."""

        def causes() -> Causes:
            exempt = [entry.network for entry in self.protection(store)]
            return Causes(*store.history.last_events(self.now), exempt)

        return Guard(self.config.treason.max_removals, causes)

    def _digest(self, *exempt: Iterable[Network]) -> str:
        """Stand for all that a plan depends on besides the bans."""
        said = (__version__, self.config.treason.min_prefix, self.config.backend, exempt)
        return sha256(repr(said).encode()).hexdigest()

    def sources(self, named: tuple[str, ...]) -> Mapping[str, Callable[[], Source]]:
        """Give makers of the sources."""
        return compose.sources(self.config, self.plugins, self.file, named)

    def scanner(self, store: Store, *, write: bool, force: bool) -> Scanner:
        """Give what reads sources into the store; ``force`` lifts the limit of new bans."""
        return Scanner(
            store,
            self.config.policy,
            self.now,
            write,
            self.config.trust.userspace,
            force,
            self.rules,
            collapse(entry.network for entry in (*self.whitelist, *self.protection(store))),
        )
