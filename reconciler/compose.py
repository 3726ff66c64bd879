"""Make the sources and backends that the configuration or the command line chose."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from reconciler import schema
from reconciler.config import Config
from reconciler.errors import ConfigError
from reconciler.interfaces import Backend, BackendPlugin, Source, SourcePlugin
from reconciler.plugins import Plugins


def sources(
    config: Config, plugins: Plugins, where: str, named: Sequence[str] = ()
) -> dict[str, Callable[[], Source]]:
    """Give makers of the sources, by the names that people gave them.

    ``named`` are ``NAME`` or ``NAME:ARGUMENT`` from the command line and replace the configured
    list. ``where`` names the configuration file. Raise `ConfigError` for what is refused.
    """
    kind = _Kind("source", plugins.sources, config.source, plugins.broken, where)
    return {
        spec: kind.maker(spec, {"trusted": True} if spec in named else {})
        for spec in named or config.treason.sources
    }


def backends(
    config: Config, plugins: Plugins, where: str, named: Sequence[str] = ()
) -> dict[str, Callable[[], Backend]]:
    """Give makers of the backends; see `sources`."""
    kind = _Kind("backend", plugins.backends, config.backend, plugins.broken, where)
    return {spec: kind.maker(spec, {}) for spec in named or config.treason.backends}


@attrs.frozen
class _Kind:
    """Sources, or backends: their plugins, their tables in the file, and what is broken."""

    noun: str
    known: Mapping[str, SourcePlugin | BackendPlugin]
    tables: Mapping[str, dict[str, Any]]
    broken: Sequence[str]
    where: str

    def __attrs_post_init__(self) -> None:
        for name in self.tables:
            if name not in self.known:
                raise self._unknown(name, f"{self.where}: [{self.noun}.{name}]: ")

    def maker(self, spec: str, by_hand: Mapping[str, Any]) -> Callable[[], Any]:
        """Check the settings of one; ``by_hand`` are those that an argument given by hand adds."""
        name, colon, argument = spec.partition(":")
        if name not in self.known:
            raise self._unknown(name, "")
        plugin = self.known[name]
        table = dict(self.tables.get(name, {}))
        if colon:
            if plugin.argument is None or not argument:
                raise ConfigError(
                    f"{self.noun} {spec!r}: "
                    + (
                        "the argument is empty"
                        if plugin.argument
                        else f"{name!r} takes no argument"
                    )
                )
            fields = attrs.fields_dict(plugin.schema)
            table |= {key: value for key, value in by_hand.items() if key in fields}
            table[plugin.argument] = argument
        try:
            settings = schema.fill(plugin.schema, table, f"{self.where}: [{self.noun}.{name}]")
        except schema.Refused as error:
            raise ConfigError("\n".join(error.problems)) from None
        return partial(plugin.factory, settings)

    def _unknown(self, name: str, place: str) -> ConfigError:
        culprits = "; ".join(self.broken)
        return ConfigError(
            place + schema.unknown(self.noun, name, self.known),
            f"broken: {culprits}" if culprits else f"known: {', '.join(sorted(self.known))}",
        )
