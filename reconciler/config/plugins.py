"""Find the plugins, one by one, so that a broken one is named and the others work."""

import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import Any, Generic, TypeVar

import pluggy
from attrs import define, field, frozen

from reconciler import hookspecs
from reconciler.errors import PluginError, guarded, said
from reconciler.interfaces import BackendPlugin, SourcePlugin

Descriptor = TypeVar("Descriptor", SourcePlugin, BackendPlugin)


@frozen(eq=False)
class Plugins:
    """What was found: the kinds by their names, and what is wrong with each broken plugin.

    ``providers`` names the plugin that brought ``("source" or "backend", name)``; ``contested``
    are those that two brought, and that nobody can use.
    """

    sources: Mapping[str, SourcePlugin]
    backends: Mapping[str, BackendPlugin]
    broken: tuple[str, ...] = ()
    providers: Mapping[tuple[str, str], str] = field(factory=dict)
    contested: Mapping[tuple[str, str], PluginError] = field(factory=dict)


def load(found: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load every entry point of the group ``treason``."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    broken: list[str] = []
    for entry_point in entry_points(group=hookspecs.PROJECT) if found is None else found:
        pressed: list[int] = []
        try:
            with _interruptible(pressed):
                _register(manager, entry_point)
        except BaseException as error:  # a module that ends the program is broken
            if pressed:
                raise
            broken.append(f"plugin {entry_point.name!r} ({entry_point.value}): {said(error)}")
    sources = _Provided("source", SourcePlugin, broken)
    sources.collect(manager.hook.treason_sources)
    backends = _Provided("backend", BackendPlugin, broken)
    backends.collect(manager.hook.treason_backends)
    return Plugins(
        sources.plugins,
        backends.plugins,
        tuple(broken),
        sources.providers | backends.providers,
        sources.contested | backends.contested,
    )


@contextmanager
def _interruptible(pressed: list[int]) -> Iterator[None]:
    """Note in ``pressed`` that a person pressed Ctrl-C: a module may raise the same by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if callable(before):
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
            guarded(partial(self._call, implementation, where), partial(self._fails, where))

    def _call(self, implementation: Any, where: str) -> None:  # noqa: ANN401 - see above
        for descriptor in [*implementation.function()]:
            if isinstance(descriptor, self.kind):
                self._take(descriptor, implementation.plugin_name)
            else:
                self.broken.append(f"{where}: {descriptor!r} is no {self.kind.__name__}")

    def _fails(self, where: str, error: BaseException) -> None:
        self.broken.append(f"{where}: {said(error)}")

    def _take(self, descriptor: Descriptor, plugin: str) -> None:
        key = self.noun, descriptor.name
        if key not in self.providers:
            self.plugins[descriptor.name], self.providers[key] = descriptor, plugin
            return
        self.plugins.pop(descriptor.name, None)
        self.contested[key] = PluginError(
            f"{descriptor.name!r} is provided by two plugins:"
            f" {self.providers[key]!r} and {plugin!r}",
            "uninstall one of them",
        )
        self.broken.append(self.contested[key].what)
