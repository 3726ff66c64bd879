"""Find the plugins, one by one, so that a broken one is named and the others work."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

import pluggy
from attrs import define, field, frozen

from reconciler import hookspecs
from reconciler.errors import PluginError, said
from reconciler.feeding import FeedPlugin
from reconciler.interfaces import BackendPlugin, SourcePlugin

Descriptor = TypeVar("Descriptor", SourcePlugin, BackendPlugin, FeedPlugin)


class EntryPoint(Protocol):
    """Where a plugin is, as `importlib.metadata` finds it."""

    @property
    def name(self) -> str:
        """Its name in the group."""

    @property
    def value(self) -> str:
        """``MODULE`` or ``MODULE:NAME``."""

    def load(self) -> object:
        """Import it."""


@frozen
class Resolved:
    """An entry point that another process has found: to load it, nothing is searched."""

    name: str
    value: str

    def load(self) -> object:
        """Import it."""
        module, _, path = self.value.partition(":")
        found: object = import_module(module.strip())
        for part in path.strip().split(".") if path else ():
            found = getattr(found, part)
        return found


@frozen(eq=False)
class Plugins:
    """What was found: the kinds by their names, and what is wrong with each broken plugin.

    ``providers`` names the plugin that brought ``("source", "backend" or "feed", name)``;
    ``contested`` are those that two brought, and that nobody can use. ``resolved`` are those that
    were loaded.
    """

    sources: Mapping[str, SourcePlugin]
    backends: Mapping[str, BackendPlugin]
    broken: tuple[str, ...] = ()
    providers: Mapping[tuple[str, str], str] = field(factory=dict)
    contested: Mapping[tuple[str, str], PluginError] = field(factory=dict)
    resolved: tuple[Resolved, ...] = ()
    feeds: Mapping[str, FeedPlugin] = field(factory=dict)


def load(found: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load every entry point of the group ``treason``."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    broken: list[str] = []
    resolved: list[Resolved] = []
    for entry_point in _entry_points(broken) if found is None else found:
        where = f"plugin {entry_point.name!r} ({entry_point.value})"
        _shielded(partial(_register, manager, entry_point), where, broken)
        resolved.append(Resolved(entry_point.name, entry_point.value))
    sources = _Provided("source", SourcePlugin, broken)
    sources.collect(manager.hook.treason_sources)
    backends = _Provided("backend", BackendPlugin, broken)
    backends.collect(manager.hook.treason_backends)
    feeds = _Provided("feed", FeedPlugin, broken)
    feeds.collect(manager.hook.treason_feeds)
    return Plugins(
        sources.plugins,
        backends.plugins,
        tuple(broken),
        sources.providers | backends.providers | feeds.providers,
        contested=sources.contested | backends.contested | feeds.contested,
        resolved=tuple(resolved),
        feeds=feeds.plugins,
    )


def _entry_points(broken: list[str]) -> Iterator[EntryPoint]:
    """Yield the entry points of every distribution, each read by itself if one is damaged."""
    from importlib.metadata import (  # noqa: PLC0415 - six megabytes that a daemon can spare
        distributions,
        entry_points,
    )

    try:
        yield from entry_points(group=hookspecs.PROJECT)
    except Exception:  # noqa: BLE001 - whatever the reading of a damaged file raises
        seen: set[str] = set()
        for each in distributions():
            try:
                name = each.name
                if name not in seen:  # the first on the path is the one that is imported
                    seen.add(name)
                    yield from each.entry_points.select(group=hookspecs.PROJECT)
            except Exception as error:  # noqa: BLE001 - likewise
                broken.append(f"distribution {getattr(each, '_path', '')}: {said(error)}")


def _shielded(work: Callable[[], object], where: str, broken: list[str]) -> None:
    """Load a part of a plugin: whatever that raises is its failure, also what ends the program.

    Only a person ends it meanwhile, by Ctrl-C; a module may raise the same by itself.
    """
    pressed: list[int] = []
    try:
        with _noting_interrupts(pressed):
            work()
    except BaseException as error:
        if pressed:
            raise
        broken.append(f"{where}: {said(error)}")


@contextmanager
def _noting_interrupts(pressed: list[int]) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not callable(before) or not in_main:  # ignored, left to the kernel, or not ours to handle
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _register(manager: pluggy.PluginManager, entry_point: EntryPoint) -> None:
    plugin = entry_point.load()
    taken = manager.has_plugin(entry_point.name)
    manager.register(plugin, name=entry_point.value if taken else entry_point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        manager.unregister(plugin)
        raise


@define
class _Provided(Generic[Descriptor]):
    """What the plugins provide of one kind; what is wrong goes to ``broken``."""

    noun: str
    kind: type[Descriptor]
    broken: list[str]
    plugins: dict[str, Descriptor] = field(factory=dict)
    providers: dict[tuple[str, str], str] = field(factory=dict)
    contested: dict[tuple[str, str], PluginError] = field(factory=dict)

    def collect(self, hook: pluggy.HookCaller) -> None:
        """Call each plugin by itself; one that fails does not silence the others."""
        implementation: Any  # pluggy types what a hook returns as object
        for implementation in hook.get_hookimpls():
            where = f"plugin {implementation.plugin_name!r}, hook {hook.name}"
            _shielded(partial(self._call, implementation, where), where, self.broken)

    def _call(self, implementation: Any, where: str) -> None:  # noqa: ANN401 - see above
        for descriptor in [*implementation.function()]:
            if isinstance(descriptor, self.kind):
                self._take(descriptor, implementation.plugin_name)
            else:
                self.broken.append(f"{where}: {descriptor!r} is not a {self.kind.__name__}")

    def _take(self, descriptor: Descriptor, plugin: str) -> None:
        key = self.noun, descriptor.name
        if key not in self.providers:
            self.plugins[descriptor.name], self.providers[key] = descriptor, plugin
            return
        self.plugins.pop(descriptor.name, None)
        self.contested[key] = PluginError(
            f"{descriptor.name!r} is provided by two plugins:"
            f" {self.providers[key]!r} and {plugin!r}",
            "uninstall one of the two",
        )
        self.broken.append(self.contested[key].what)
