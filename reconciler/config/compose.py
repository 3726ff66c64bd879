"""Make the sources and backends that the configuration or the command line chose."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from reconciler.config.plugins import Plugins
from reconciler.config.tables import Config
from reconciler.errors import ConfigError, PluginError, TreasonError, guarded, said
from reconciler.interfaces import Backend, BackendPlugin, Needs, Source, SourcePlugin, Spec
from reconciler.toml import schema
from reconciler.toml.file import TomlFile
from reconciler.toml.schema import Problem

if TYPE_CHECKING:
    from reconciler.host.sandbox import Asked


def sources(
    config: Config, plugins: Plugins, file: TomlFile, named: Sequence[str] = ()
) -> dict[str, partial[Source]]:
    """Return makers of the sources, by the names that people gave them.

    ``named`` are ``NAME`` or ``NAME:ARGUMENT`` from the command line and replace the configured
    list. ``file`` is the configuration file. Raise `ConfigError` for what is refused; the maker of
    what a broken plugin should make raises `PluginError`.
    """
    kind = _Kind("source", plugins.sources, config.source, plugins, file)
    return kind.makers(named, config.treason.sources, {"trusted": True})


def witness(
    config: Config, plugins: Plugins, file: TomlFile
) -> tuple[Callable[[], Source] | None, bool]:
    """Return the maker of a source that confirms messages, and whether it is configured.

    Of several, one that is configured does. Raise `ConfigError`.
    """
    kind = _Kind("source", plugins.sources, config.source, plugins, file)
    listed = {Spec.parse(spec).name: spec for spec in config.treason.sources}
    able = [plugin.name for plugin in plugins.sources.values() if plugin.witness]
    chosen = next((name for name in able if name in listed), next(iter(able), None))
    if chosen is None:
        return None, False
    return kind.made(listed.get(chosen, chosen)), chosen in listed


def problems(config: Config, plugins: Plugins, file: TomlFile) -> list[TreasonError]:
    """Return all that is wrong with the chosen plugins and with every plugin's table."""
    kinds = (
        (_Kind("source", plugins.sources, config.source, plugins, file), config.treason.sources),
        (
            _Kind("backend", plugins.backends, config.backend, plugins, file),
            config.treason.backends,
        ),
    )
    steps: list[Callable[[], object]] = []
    for kind, listed in kinds:
        steps += [partial(kind.listed, spec) for spec in listed]
        steps += [partial(kind.table, name) for name in kind.tables]
    steps.append(partial(backends, config, plugins, file))
    found: list[TreasonError] = []
    for step in steps:
        try:
            step()
        except TreasonError as error:
            found.append(error)
    return found


def backends(
    config: Config, plugins: Plugins, file: TomlFile, named: Sequence[str] = ()
) -> dict[str, partial[Backend]]:
    """Return makers of the backends; see `sources`.

    Backends that would own the same object are refused.
    """
    kind = _Kind("backend", plugins.backends, config.backend, plugins, file)
    makers = kind.makers(named, config.treason.backends, {})
    if len(makers) > 1:
        _keep_apart(makers, plugins.backends)
    return makers


def needs(config: Config, plugins: Plugins, file: TomlFile) -> "list[Asked]":
    """Return what each configured source and backend needs of the machine.

    Raise `ConfigError`, or `PluginError` of one that cannot tell it.
    """
    from reconciler.host.sandbox import Asked  # noqa: PLC0415 - only `init` asks

    found: list[Asked] = []
    chosen: tuple[tuple[str, Mapping[str, partial[Any]], Mapping[str, Any]], ...] = (
        ("backend", backends(config, plugins, file), plugins.backends),
        ("source", sources(config, plugins, file), plugins.sources),
    )
    for noun, makers, known in chosen:
        for spec, make in makers.items():
            if make.func is _broken:
                make()
            plugin = known[Spec.parse(spec).name]
            told = needed(noun, spec, plugin.needs, *make.args)
            found.append(Asked(f"{noun} {spec!r}", plugin, told))
    return found


def attaching(
    sources: Mapping[str, Callable[[], Source]], plugins: Plugins
) -> Iterator[tuple[str, str]]:
    """Yield the sources that need capabilities to be woken, each with one of these."""
    for spec, make in sources.items():
        plugin = plugins.sources.get(Spec.parse(spec).name)
        if plugin is not None and isinstance(make, partial) and make.func is not _broken:
            with suppress(TreasonError):  # what no unit can do, may be done by hand
                told = needed("source", spec, plugin.needs, *make.args)
                yield from ((spec, name) for name in told.attaching)


def needed(noun: str, spec: str, tell: Callable[[Any], object], settings: object) -> Needs:
    """Return what a plugin tells that it needs. Raise `PluginError` of one that cannot tell it."""
    return guarded(partial(_needs, tell, settings), partial(_untold, noun, spec), spec)


def _needs(tell: Callable[[Any], object], settings: object) -> Needs:
    told = tell(settings)
    if not isinstance(told, Needs):
        raise TypeError(f"{told!r} is not of the class Needs")
    return told


def _untold(noun: str, spec: str, error: BaseException) -> Needs:
    raise error if isinstance(error, TreasonError) else mistake(noun, spec, "needs", error)


def _keep_apart(makers: dict[str, partial[Backend]], known: Mapping[str, BackendPlugin]) -> None:
    """Refuse two backends that own one object; one that does not tell what it owns is not used."""
    owners: dict[str, str] = {}
    for spec, make in makers.items():
        if make.func is _broken:
            continue
        plugin = known[Spec.parse(spec).name]
        claims = guarded(partial(_claims, plugin, make), partial(_mistaken, spec), spec)
        if isinstance(claims, PluginError):
            makers[spec] = partial(_broken, claims)
            continue
        for thing in claims:
            if (owner := owners.setdefault(thing, spec)) != spec:
                raise ConfigError(
                    f"backends {owner!r} and {spec!r} would both manage {thing}",
                    f"use one of them, or move: treason migrate --from {owner} --to {spec}",
                )


def _claims(plugin: BackendPlugin, make: partial[Backend]) -> list[str] | PluginError:
    claims: object = plugin.claims(*make.args)
    if isinstance(claims, str) or not isinstance(claims, Iterable):
        raise TypeError(f"{claims!r} is not a collection of names")
    names = list(claims)
    if strange := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"{strange[0]!r} is not a name")
    return names


def _mistaken(spec: str, error: BaseException) -> list[str] | PluginError:
    """Return what a backend claims that cannot tell it: nothing, since it will say so itself."""
    return [] if isinstance(error, TreasonError) else mistake("backend", spec, "claims", error)


def mistake(noun: str, spec: str, what: str, error: BaseException) -> PluginError:
    """Return what is told of a fault in a plugin."""
    return PluginError(
        f"{noun} {spec!r}: its {what} failed: {said(error)}",
        "this is a fault in the plugin; report it to its author",
    )


def _broken(error: PluginError) -> Any:  # noqa: ANN401 - it stands in for any factory
    """Take the place of a factory, so that the mistake is told of this one, and others go on."""
    raise error


@attrs.frozen(eq=False)
class _Kind:
    """Sources, or backends: their plugins, their tables in the file, and all that was found."""

    noun: str
    known: Mapping[str, SourcePlugin | BackendPlugin]
    tables: Mapping[str, dict[str, Any]]
    found: Plugins
    file: TomlFile

    def has(self, name: str) -> bool:
        """Return whether some plugin provides it, or more than one do."""
        return name in self.known or (self.noun, name) in self.found.contested

    def makers(
        self, named: Sequence[str], listed: Sequence[str], by_hand: Mapping[str, Any]
    ) -> dict[str, partial[Any]]:
        """Make those that the command line names, or else those that the file lists."""
        for name in self.tables:
            if not (self.has(name) or self.found.broken):
                self.table(name)
        if named:
            return {spec: self._tried(spec, by_hand) for spec in named}
        return {spec: self._listed(spec) for spec in listed}

    def table(self, name: str) -> None:
        """Check a plugin's table in the file. Raise `ConfigError` or `PluginError`."""
        if not self.has(name):
            problem = Problem((self.noun,), name, self._unknown(name))
            raise self.file.refusal([problem], self._hint())
        self.maker(name, {})

    def listed(self, spec: str) -> partial[Any]:
        """Check what the file lists. Raise `ConfigError` or `PluginError`."""
        if self.has(name := Spec.parse(spec).name):
            return self.maker(spec, {})
        problem = Problem(("treason",), f"{self.noun}s", self._unknown(name))
        raise self.file.refusal([problem], self._hint())

    def _listed(self, spec: str) -> partial[Any]:
        """Return a maker of what the file lists; a broken plugin may have been to provide it."""
        if self.has(name := Spec.parse(spec).name):
            return self._tried(spec, {})
        if self.found.broken:
            return partial(_broken, PluginError(self._unknown(name), self._hint()))
        return self.listed(spec)

    def made(self, spec: str) -> partial[Any]:
        """Return a maker by the settings in the file; what is broken is told when it is used."""
        return self._tried(spec, {})

    def _tried(self, spec: str, by_hand: Mapping[str, Any]) -> partial[Any]:
        try:
            return self.maker(spec, by_hand)
        except PluginError as error:
            return partial(_broken, error)

    def maker(self, text: str, by_hand: Mapping[str, Any]) -> partial[Any]:
        """Check the settings of one; ``by_hand`` are those that an argument given by hand adds."""
        spec = Spec.parse(text)
        if (self.noun, spec.name) in self.found.contested:
            raise self.found.contested[self.noun, spec.name]
        if spec.name not in self.known:
            raise ConfigError(self._unknown(spec.name), self._hint())
        plugin = self.known[spec.name]
        settings = guarded(
            partial(self._settings, plugin, spec, text, by_hand),
            partial(self._refused, spec.name),
            spec.name,
        )
        return partial(plugin.factory, settings)

    def _settings(
        self,
        plugin: SourcePlugin | BackendPlugin,
        spec: Spec,
        text: str,
        by_hand: Mapping[str, Any],
    ) -> object:
        table = dict(self.tables.get(spec.name, {}))
        if spec.argument is not None:
            table |= self._given(plugin, text, spec.argument, by_hand)
        return schema.fill(plugin.schema, table, (self.noun, spec.name))

    def _given(
        self,
        plugin: SourcePlugin | BackendPlugin,
        text: str,
        argument: str,
        by_hand: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the settings that the argument stands for."""
        if plugin.argument is None or not argument:
            wrong = "the argument is empty" if plugin.argument else "takes no argument"
            who = "" if plugin.argument else f"{plugin.name!r} "
            raise ConfigError(f"{self.noun} {text!r}: {who}{wrong}")
        fields = attrs.fields_dict(plugin.schema)
        return {key: value for key, value in by_hand.items() if key in fields} | {
            plugin.argument: argument
        }

    def _refused(self, name: str, error: BaseException) -> Any:  # noqa: ANN401 - it returns nothing
        if isinstance(error, schema.Refused):
            raise self.file.refusal(error.problems) from None
        if isinstance(error, TreasonError):
            raise error
        raise mistake(self.noun, name, "settings", error) from None

    def _unknown(self, name: str) -> str:
        return schema.unknown(self.noun, name, self.known)

    def _hint(self) -> str:
        if self.found.broken:
            return f"broken: {'; '.join(self.found.broken)}"
        return f"known: {', '.join(sorted(self.known))}"
