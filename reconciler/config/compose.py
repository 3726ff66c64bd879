"""Make the sources and backends that the configuration or the command line chose."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from reconciler.config.plugins import Plugins
from reconciler.config.tables import Config
from reconciler.errors import ConfigError, PluginError, TreasonError
from reconciler.interfaces import Backend, BackendPlugin, Source, SourcePlugin
from reconciler.toml import schema
from reconciler.toml.file import TomlFile
from reconciler.toml.schema import Problem


def sources(
    config: Config, plugins: Plugins, file: TomlFile, named: Sequence[str] = ()
) -> dict[str, partial[Source]]:
    """Give makers of the sources, by the names that people gave them.

    ``named`` are ``NAME`` or ``NAME:ARGUMENT`` from the command line and replace the configured
    list. ``file`` is the configuration file. Raise `ConfigError` for what is refused.
    """
    kind = _Kind("source", plugins.sources, config.source, plugins.broken, file)
    return kind.makers(named, config.treason.sources, {"trusted": True})


def every_table(config: Config, plugins: Plugins, file: TomlFile) -> list[Callable[[], object]]:
    """Give a check for each plugin's table in the file, also of those that are not in use."""
    kinds = (
        _Kind("source", plugins.sources, config.source, plugins.broken, file),
        _Kind("backend", plugins.backends, config.backend, plugins.broken, file),
    )
    return [partial(kind.maker, name, {}) for kind in kinds for name in kind.tables]


def backends(
    config: Config, plugins: Plugins, file: TomlFile, named: Sequence[str] = ()
) -> dict[str, partial[Backend]]:
    """Give makers of the backends; see `sources`.

    Backends that would own the same object are refused.
    """
    kind = _Kind("backend", plugins.backends, config.backend, plugins.broken, file)
    makers = kind.makers(named, config.treason.backends, {})
    if len(makers) > 1:
        _keep_apart(makers, plugins.backends)
    return makers


def _keep_apart(makers: dict[str, partial[Backend]], known: Mapping[str, BackendPlugin]) -> None:
    """Refuse two backends that own one object; one that does not tell what it owns is not used."""
    owners: dict[str, str] = {}
    for spec, make in makers.items():
        if make.func is _broken:
            continue
        try:
            claims = _names(known[spec.partition(":")[0]].claims(*make.args))
        except TreasonError:
            continue  # the backend itself will tell
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the plugin's own code; it is named
            makers[spec] = partial(_broken, _mistake("backend", spec, "claims", error))
            continue
        for thing in claims:
            if (owner := owners.setdefault(thing, spec)) != spec:
                raise ConfigError(
                    f"backends {owner!r} and {spec!r} would both own {thing}",
                    f"use one of them; to move: treason migrate --from {owner} --to {spec}",
                )


def _names(claims: object) -> list[str]:
    if isinstance(claims, str) or not isinstance(claims, Iterable):
        raise TypeError(f"{claims!r} is no collection of names")
    names = list(claims)
    if strange := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"{strange[0]!r} is no name")
    return names


def _mistake(noun: str, spec: str, what: str, error: BaseException) -> PluginError:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return PluginError(
        f"{noun} {spec!r}: its {what} failed: {said}", "this is a mistake in the plugin"
    )


def _broken(error: PluginError) -> Any:  # noqa: ANN401 - it stands in for any factory
    """Take the place of a factory, so that the mistake is told of this one, and others go on."""
    raise error


@attrs.frozen
class _Kind:
    """Sources, or backends: their plugins, their tables in the file, and what is broken."""

    noun: str
    known: Mapping[str, SourcePlugin | BackendPlugin]
    tables: Mapping[str, dict[str, Any]]
    broken: Sequence[str]
    file: TomlFile

    def __attrs_post_init__(self) -> None:
        for name in self.tables:
            if name not in self.known:
                problem = Problem((self.noun,), name, self._unknown(name))
                raise self.file.refusal([problem], self._hint())

    def makers(
        self, named: Sequence[str], listed: Sequence[str], by_hand: Mapping[str, Any]
    ) -> dict[str, partial[Any]]:
        """Make those that the command line names, or else those that the file lists."""
        if named:
            return {spec: self._tried(spec, by_hand) for spec in named}
        for spec in listed:
            if (name := spec.partition(":")[0]) not in self.known:
                problem = Problem(("treason",), f"{self.noun}s", self._unknown(name))
                raise self.file.refusal([problem], self._hint())
        return {spec: self._tried(spec, {}) for spec in listed}

    def _tried(self, spec: str, by_hand: Mapping[str, Any]) -> partial[Any]:
        try:
            return self.maker(spec, by_hand)
        except PluginError as error:
            return partial(_broken, error)

    def maker(self, spec: str, by_hand: Mapping[str, Any]) -> partial[Any]:
        """Check the settings of one; ``by_hand`` are those that an argument given by hand adds."""
        name, colon, argument = spec.partition(":")
        if name not in self.known:
            raise ConfigError(self._unknown(name), self._hint())
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
            settings = schema.fill(plugin.schema, table, (self.noun, name))
        except schema.Refused as error:
            raise self.file.refusal(error.problems) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the plugin's own code; it is named
            raise _mistake(self.noun, name, "settings", error) from None
        return partial(plugin.factory, settings)

    def _unknown(self, name: str) -> str:
        return schema.unknown(self.noun, name, self.known)

    def _hint(self) -> str:
        if self.broken:
            return f"broken: {'; '.join(self.broken)}"
        return f"known: {', '.join(sorted(self.known))}"
