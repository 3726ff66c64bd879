"""Find the plugins, one by one, so that a broken one is named and the others work."""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy
from attrs import field, frozen

from reconciler import hookspecs
from reconciler.errors import PluginError
from reconciler.interfaces import BackendPlugin, SourcePlugin

Descriptor = TypeVar("Descriptor", SourcePlugin, BackendPlugin)


@frozen
class Plugins:
    """What was found: the kinds by their names, and what is wrong with each broken plugin.

    ``providers`` names the plugin that brought ``("source" or "backend", name)``.
    """

    sources: Mapping[str, SourcePlugin]
    backends: Mapping[str, BackendPlugin]
    broken: tuple[str, ...] = ()
    providers: Mapping[tuple[str, str], str] = field(factory=dict)


def load(found: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load every entry point of the group ``treason``.

    Raise `PluginError` when two plugins provide one name.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    broken: list[str] = []
    providers: dict[tuple[str, str], str] = {}
    for entry_point in entry_points(group=hookspecs.PROJECT) if found is None else found:
        try:
            _register(manager, entry_point)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises is named
            broken.append(f"plugin {entry_point.name!r} ({entry_point.value}): {_said(error)}")
    hooks = manager.hook
    sources = _collect("source", hooks.treason_sources, SourcePlugin, providers, broken)
    backends = _collect("backend", hooks.treason_backends, BackendPlugin, providers, broken)
    return Plugins(sources, backends, tuple(broken), providers)


def _register(manager: pluggy.PluginManager, entry_point: EntryPoint) -> None:
    plugin = entry_point.load()
    taken = manager.has_plugin(entry_point.name)
    manager.register(plugin, name=entry_point.value if taken else entry_point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        manager.unregister(plugin)
        raise


def _collect(
    noun: str,
    hook: pluggy.HookCaller,
    kind: type[Descriptor],
    providers: dict[tuple[str, str], str],
    broken: list[str],
) -> dict[str, Descriptor]:
    """Call each plugin by itself; one that fails does not silence the others."""
    provided: dict[str, Descriptor] = {}
    implementation: Any  # pluggy types what a hook returns as object
    for implementation in hook.get_hookimpls():
        plugin = implementation.plugin_name
        try:
            descriptors: list[object] = [*implementation.function()]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises is named
            broken.append(f"plugin {plugin!r}, hook {hook.name}: {_said(error)}")
            continue
        for descriptor in descriptors:
            if not isinstance(descriptor, kind):
                broken.append(
                    f"plugin {plugin!r}, hook {hook.name}: {descriptor!r} is no {kind.__name__}"
                )
            elif descriptor.name in provided:
                raise PluginError(
                    f"{descriptor.name!r} is provided by two plugins: "
                    f"{providers[noun, descriptor.name]!r} and {plugin!r}",
                    "uninstall one of them",
                )
            else:
                provided[descriptor.name] = descriptor
                providers[noun, descriptor.name] = plugin
    return provided


def _said(error: BaseException) -> str:
    first = error.args[0] if error.args else ""  # attrs' validators pass more along
    text = " ".join((first if isinstance(first, str) else str(error)).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
