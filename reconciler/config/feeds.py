"""The feeds that the configuration names: what each may do, and the plugin that brings it."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os.path import normpath
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, fields, frozen
from attrs.validators import and_, ge, gt, le, optional

from reconciler.config.compose import mistake, needed
from reconciler.config.plugins import Plugins
from reconciler.config.tables import Config, MinPrefix
from reconciler.errors import ConfigError, PluginError, TreasonError, guarded
from reconciler.feeding import Feed, FeedPlugin
from reconciler.feeds.limits import Limits
from reconciler.interfaces import Needs
from reconciler.toml import duration, schema
from reconciler.toml.file import TomlFile
from reconciler.toml.schema import Problem, setting

STORES: Final = Path("/var/lib/treason-feed")
"""Where each feed has a directory of its own."""

ENFORCE, OBSERVE = "enforce", "observe"
"""What is done with what a feed brings: it is dropped, or only listed."""

_BY_HAND: Final = "manual"
"""What stands for a rule where a ban was made by hand."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,17}")
"""A feed's name: the user ``treason-feed-NAME`` has 31 characters at most (useradd(8))."""


def _mode(text: object) -> str:
    if text in (ENFORCE, OBSERVE):
        return str(text)
    raise ValueError(f"{text!r} is unknown: write {ENFORCE!r} or {OBSERVE!r}")


def _store(text: object) -> Path | None:
    if isinstance(text, str) and text and "\0" not in text:
        return Path(text)
    raise ValueError(f"{text!r} is not a path")


@frozen
class FeedMinPrefix(MinPrefix):
    """``min_prefix``: the shortest prefix that a feed's network may have."""

    ipv4: int = field(default=8, validator=and_(ge(0), le(32)))
    ipv6: int = field(default=19, validator=and_(ge(0), le(128)))


@frozen
class FeedSettings:
    """The keys of ``[feed.NAME]`` that every feed has.

    ``store`` is the feed's own file; ``refresh`` is in seconds. ``max_removals`` is the largest
    share of the feed's networks that a snapshot may leave out at once, ``max_share`` the largest
    share of the public IPv4 addresses, and of those of 2000::/3, that it may name. ``max_new`` is
    how many networks a member may ban in an hour; 0 is no limit, None what the plugin says.
    With ``private`` its networks may be private ones. ``publish`` names rules whose bans it tells.
    """

    type: str
    store: Path | None = setting(None, _store, str)
    mode: str = setting(ENFORCE, _mode)
    refresh: int = setting(3600, duration.finite, duration.render)
    max_entries: int = field(default=1_000_000, validator=ge(1))
    max_removals: float = field(default=0.5, validator=and_(ge(0), le(1)))
    min_prefix: FeedMinPrefix = FeedMinPrefix()
    max_share: float = field(default=0.05, validator=and_(gt(0), le(1)))
    max_new: int | None = field(default=None, validator=optional(ge(0)))
    private: bool = False
    publish: tuple[str, ...] = ()


_COMMON: Final = frozenset(each.name for each in fields(FeedSettings))


@frozen(eq=False)
class ConfiguredFeed:
    """A feed of the configuration; `make` raises `PluginError` where its plugin is broken."""

    name: str
    settings: FeedSettings
    plugin: FeedPlugin | None
    make: Callable[[], Feed]
    own: object = None
    """The instance of the plugin's schema."""

    @property
    def store(self) -> Path:
        """The feed's own file."""
        return _own_file(self.name, self.settings)

    def needs(self) -> Needs:
        """Return what its process needs. Raise `TreasonError` where that cannot be told or had."""
        tell = self.plugin.needs if self.plugin else lambda _settings: self.make()  # it raises why
        return needed("feed", self.name, tell, self.own)

    @property
    def limits(self) -> Limits:
        """What may be taken of it."""
        own = self.settings
        usual = self.plugin.max_new if self.plugin else 0
        return Limits(
            max_entries=own.max_entries,
            max_removals=own.max_removals,
            min_prefix=(own.min_prefix.ipv4, own.min_prefix.ipv6),
            max_share=own.max_share,
            max_new=usual if own.max_new is None else own.max_new,
            private=own.private,
        )


def feeds(config: Config, plugins: Plugins, file: TomlFile) -> dict[str, ConfiguredFeed]:
    """Return the configured feeds by their names. Raise `ConfigError` for what is refused."""
    _check_stores(config, file)
    return {name: _feed(name, table, plugins, file) for name, table in config.feed.items()}


def own_files(config: Config, file: TomlFile) -> dict[str, Path]:
    """Return each configured feed's own file, for which no plugin need be known."""
    return {
        name: _own_file(name, _settings(table, name, file)) for name, table in config.feed.items()
    }


def plain(config: Config, file: TomlFile, max_new: Mapping[str, int]) -> dict[str, ConfiguredFeed]:
    """Return the feeds of which ``max_new`` is known, as far as no plugin need be for that."""
    settings = {name: _settings(table, name, file) for name, table in config.feed.items()}
    unknown = PluginError("a feed's plugin is not loaded here")
    return {
        name: ConfiguredFeed(
            name, evolve(each, max_new=max_new[name]), None, partial(_raise, unknown)
        )
        for name, each in settings.items()
        if name in max_new
    }


def publishing(config: Config, file: TomlFile) -> dict[str, tuple[str, ...]]:
    """Return the rules of which feeds tell others, for which no plugin need be known either."""
    return {name: _settings(table, name, file).publish for name, table in config.feed.items()}


def check_publishing(config: Config, file: TomlFile) -> None:
    """Raise `ConfigError` where a feed is to tell others the bans of a rule that there is not."""
    from reconciler.detection import rules  # noqa: PLC0415 - most configurations have none

    there = {_BY_HAND, *(each.name for each in (*rules.known(), *config.rule))}
    problems = [
        Problem(("feed", feed), "publish", f"publish: {schema.unknown('rule', name, there)}")
        for feed, names in publishing(config, file).items()
        for name in names
        if name not in there
    ]
    if problems:
        raise file.refusal(problems)


def _check_stores(config: Config, file: TomlFile) -> None:
    """Raise `ConfigError` where a feed would write what is another's, or treason's.

    By their names alone: links in a feed's directory are a stranger's.
    """
    taken = {normpath(config.treason.database.absolute()): "treason keeps its database there"}
    for name, path in own_files(config, file).items():
        if whose := taken.get(normpath(path)):
            reason = f"store: {path} is refused: {whose}"
            raise file.refusal([Problem(("feed", name), "store", reason)])
        taken[normpath(path)] = f"[feed.{name}] writes it"


def _own_file(name: str, settings: FeedSettings) -> Path:
    return settings.store or STORES / name / "feed.db"


def known(name: str, feeds: Mapping[str, ConfiguredFeed], file: Path) -> ConfiguredFeed:
    """Return the feed of this name. Raise `ConfigError` where none is configured."""
    if feed := feeds.get(name):
        return feed
    raise unknown(name, feeds, file)


def unknown(name: str, feeds: Iterable[str], file: Path) -> ConfigError:
    """Return the refusal of a name that no feed has."""
    names = ", ".join(feeds)
    return ConfigError(
        f"no feed is named {name!r}",
        f"known: {names}" if names else f"{file} has no table [feed.NAME]",
    )


def _feed(name: str, table: Mapping[str, Any], plugins: Plugins, file: TomlFile) -> ConfiguredFeed:
    if not _NAME.fullmatch(name):
        reason = f"{name!r} is not a feed's name: write at most 18 of a-z, 0-9, - and _"
        raise file.refusal([Problem(("feed",), name, reason)])
    own = {key: value for key, value in table.items() if key not in _COMMON}
    settings = _settings(table, name, file)
    try:
        plugin = _plugin(settings.type, name, plugins, file)
        filled = guarded(
            partial(schema.fill, plugin.schema, own, ("feed", name)),
            partial(_refused, name, file),
            name,
        )
    except PluginError as error:
        return ConfiguredFeed(name, settings, None, partial(_raise, error))
    return ConfiguredFeed(name, settings, plugin, partial(plugin.factory, filled), filled)


def _settings(table: Mapping[str, Any], name: str, file: TomlFile) -> FeedSettings:
    common = {key: table[key] for key in table.keys() & _COMMON}
    try:
        settings = schema.fill(FeedSettings, common, ("feed", name))
    except schema.Refused as error:
        raise file.refusal(error.problems) from None
    if settings.store is None:
        return settings
    return evolve(settings, store=file.path.absolute().parent / settings.store)


def _plugin(kind: str, name: str, plugins: Plugins, file: TomlFile) -> FeedPlugin:
    """Return the plugin; raise `PluginError` where a broken one may have been to provide it."""
    if ("feed", kind) in plugins.contested:
        raise plugins.contested["feed", kind]
    if kind in plugins.feeds:
        return plugins.feeds[kind]
    reason = schema.unknown("feed", kind, plugins.feeds)
    if plugins.broken:
        raise PluginError(reason, f"broken: {'; '.join(plugins.broken)}")
    hint = f"known: {', '.join(sorted(plugins.feeds))}"
    raise file.refusal([Problem(("feed", name), "type", f"type: {reason}")], hint)


def _refused(name: str, file: TomlFile, error: BaseException) -> object:
    if isinstance(error, schema.Refused):
        raise file.refusal(error.problems) from None
    raise error if isinstance(error, TreasonError) else mistake("feed", name, "settings", error)


def _raise(error: PluginError) -> Feed:
    """Take the place of a factory: what was taken of the feed stays, and its file is still read."""
    raise error
