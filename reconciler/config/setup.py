"""The set-up: the configuration, with the plugins, rules and whitelist that belong to it.

It opens neither the database nor a firewall, and prints nothing: what people should know is logged.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import log
from reconciler.config import tables
from reconciler.errors import TreasonError
from reconciler.interfaces import Backend, Source, Spec
from reconciler.log import Log
from reconciler.network import Network
from reconciler.planning import whitelist
from reconciler.planning.whitelist import Exemption
from reconciler.toml import file as toml_file
from reconciler.toml.file import TomlFile

if TYPE_CHECKING:
    from reconciler.config.feeds import ConfiguredFeed
    from reconciler.config.plugins import Plugins
    from reconciler.detection.detect import Rule
    from reconciler.host.sandbox import Asked

_log = Log("config")


class Setup:
    """What the files say. Each part is read when it is first asked for, and then stays as it is."""

    def __init__(
        self, named: str | None, before_plugins: Callable[[], object] = lambda: None
    ) -> None:
        """Stand for the configuration file ``named``; without a name the default, if it exists.

        ``before_plugins`` is called before any code of a plugin runs.
        """
        self._named = named
        self._before_plugins = before_plugins
        self._warned: set[str] = set()

    def reload(self) -> "Setup":
        """Return the set-up as the files are now; plugins are loaded once in a process."""
        fresh = self._anew()
        if "config" in self.__dict__ and fresh.file == self.file:
            fresh.config = self.config
        return fresh

    def is_current(self) -> bool:
        """Whether the configuration file still says the same."""
        try:
            return toml_file.text(self.path) == self.file.text
        except FileNotFoundError:
            return self._named is None and not self.file.text
        except (OSError, UnicodeDecodeError, TreasonError):
            return False

    def sparing(self) -> "Setup":
        """Return this set-up with whom the files whitelist by now as well; a wrong one nobody."""
        anew, more, file = self._anew(), list[Exemption](), self.whitelist_file
        with suppress(TreasonError):
            more += whitelist.entries(anew.whitelist_file).networks
            file = anew.whitelist_file if anew.whitelist_file.data else file
        with suppress(TreasonError):
            more += [] if self.is_current() else anew.config.whitelist.networks
        return self._with([*dict.fromkeys((*self.whitelist, *more))], file)

    def rewhitelisted(self) -> "Setup":
        """Return this configuration with the file that commands write as it is now.

        Raise `ConfigError` if that one is wrong.
        """
        file = self._anew().whitelist_file
        written = whitelist.entries(file).networks
        return self._with([*self.config.whitelist.networks, *written], file)

    @property
    def named(self) -> str | None:
        """The configuration file's name, if it was given one."""
        return self._named

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
        config = tables.parse(self.file)
        if config.trust.userspace:
            self._warn(
                "[trust] userspace = true counts what any process writes as the kernel's;"
                " use it for tests only"
            )
        return config

    @cached_property
    def plugins(self) -> "Plugins":
        """The plugins; each broken one is warned of."""
        from reconciler.config import plugins  # noqa: PLC0415 - most commands need none

        self._before_plugins()
        found = plugins.load()
        log.attach()
        for line in found.broken:
            self._warn(line)
        return found

    @cached_property
    def whitelist_file(self) -> TomlFile:
        """What the file that commands write says."""
        return whitelist.read(self.path)

    @cached_property
    def whitelist(self) -> list[Exemption]:
        """The entries of both files."""
        written = whitelist.entries(self.whitelist_file)
        return [*self.config.whitelist.networks, *written.networks]

    def whitelisted(self, now: float) -> list[Network]:
        """Return the networks of both files whose entries hold at ``now`` (epoch seconds)."""
        return [entry.network for entry in self.whitelist if entry.holds(now)]

    def next_end(self, now: float) -> int | None:
        """Return when the next whitelist entry ends; None where none does."""
        return min((e.until for e in self.whitelist if e.until and now < e.until), default=None)

    @cached_property
    def rules(self) -> "tuple[Rule, ...]":
        """The rules that are on."""
        from reconciler.detection.detect import RULES  # noqa: PLC0415 - a pass may read no source

        if not self.config.rule:
            return RULES
        from reconciler.detection import rules  # noqa: PLC0415 - as above

        if problems := rules.unknown_sources(self.config.rule, self.plugins.sources):
            refusal = self.file.refusal(problems)
            if not self.plugins.broken:
                raise refusal
            self._warn(str(refusal))  # a broken plugin may have been to provide it
        for problem in rules.unprefixed(self.config.rule):
            self._warn(str(self.file.refusal([problem])))
        return rules.active(self.config.rule, self.config.policy)

    def sources(self, named: tuple[str, ...] = ()) -> Mapping[str, Callable[[], Source]]:
        """Return makers of the sources: of those that are named, else of the configured ones."""
        from reconciler.config import compose  # noqa: PLC0415 - as above

        return compose.sources(self.config, self.plugins, self.file, named)

    def source_of(self, log: str) -> str:
        """Return the name of the configured source that reads a log, else of one that does."""
        for name in self.config.treason.sources:
            spec = Spec.parse(name)
            plugin = self.plugins.sources.get(spec.name)
            if plugin is None or plugin.argument is None:
                continue
            table = self.config.source.get(spec.name, {})
            path = spec.argument or table.get(plugin.argument)
            with suppress(OSError):
                if isinstance(path, str) and Path(path).samefile(log):
                    return name
        return f"file:{log}"

    def live(self, sources: Iterable[str]) -> frozenset[str]:
        """Return which of the sources read what the running kernel logs.

        What somebody names by hand with an argument is saved.
        """
        known, listed = self.plugins.sources, self.config.treason.sources
        specs = {name: Spec.parse(name) for name in sources}
        return frozenset(
            name
            for name, spec in specs.items()
            if spec.name in known
            and known[spec.name].live
            and (spec.argument is None or name in listed)
        )

    def witness(self) -> tuple[Callable[[], Source] | None, bool]:
        """Return the maker of a source that confirms messages, and whether it is configured."""
        from reconciler.config import compose  # noqa: PLC0415 - as above

        return compose.witness(self.config, self.plugins, self.file)

    def silenced(self) -> list[str]:
        """Return which rules ban nobody because nothing confirms them, and do not say so."""
        from reconciler.detection.detect import FIREWALL, NONE  # noqa: PLC0415 - as above
        from reconciler.host.forgery import HERE  # noqa: PLC0415 - as above

        config = self.config
        mode, live = config.trust.confirm, self.live(config.treason.sources) if config.rule else ()
        if not live or mode == tables.NEVER or (mode == tables.AUTO and HERE.is_impossible()):
            return []
        from reconciler.detection import rules  # noqa: PLC0415 - most configurations have none

        ways = (NONE, FIREWALL) if HERE.doubt_of_firewall() else (NONE,)
        found = rules.silenced(config.rule, config.policy, ways)
        kinds = {*live, *(Spec.parse(name).name for name in live)}
        return [rule.name for rule in found if not rule.sources or kinds & {*rule.sources}]

    def backends(self, named: tuple[str, ...] = ()) -> Mapping[str, Callable[[], Backend]]:
        """Return makers of the backends: of those that are named, else of the configured ones."""
        from reconciler.config import compose  # noqa: PLC0415 - as above

        return compose.backends(self.config, self.plugins, self.file, named)

    @cached_property
    def feeds(self) -> "Mapping[str, ConfiguredFeed]":
        """The configured feeds by their names."""
        if not self.config.feed:
            return {}
        from reconciler.config import feeds  # noqa: PLC0415 - many configurations have none

        return feeds.feeds(self.config, self.plugins, self.file)

    @property
    def feed_files(self) -> Mapping[str, Path]:
        """Each feed's own file; no plugin need be known for that."""
        if not self.config.feed:
            return {}
        from reconciler.config import feeds  # noqa: PLC0415 - as above

        return feeds.own_files(self.config, self.file)

    @property
    def publishing(self) -> Mapping[str, Sequence[str]]:
        """The rules of which feeds tell others; no plugin need be known for that either."""
        if not self.config.feed:
            return {}
        from reconciler.config import feeds  # noqa: PLC0415 - as above

        return feeds.publishing(self.config, self.file)

    def needs(self) -> "list[Asked]":
        """Return what the configured sources and backends need of the machine."""
        from reconciler.config import compose  # noqa: PLC0415 - as above

        return compose.needs(self.config, self.plugins, self.file)

    def attaching(self, names: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
        """Yield the sources that need capabilities to be woken, each with one of these."""
        from reconciler.config import compose  # noqa: PLC0415 - as above

        return compose.attaching(self.sources(names), self.plugins)

    def problems(self) -> list[str]:
        """Return every mistake in the configuration, the whitelist and the plugins' settings."""
        from reconciler.config import compose, feeds  # noqa: PLC0415 - as above

        found: list[TreasonError] = []
        chosen = self
        try:
            self.config  # noqa: B018 - to ask for it is to check it
        except TreasonError as error:
            found.append(error)
            chosen = self.reload()
            with suppress(TreasonError):  # it cannot be read at all, as is told above
                chosen.config = tables.right(self.file)
        steps: list[Callable[[], object]] = [lambda: whitelist.entries(self.whitelist_file)]
        if "config" in chosen.__dict__:
            steps += [
                lambda: chosen.rules,
                lambda: chosen.feeds,
                lambda: feeds.check_publishing(chosen.config, self.file),
                lambda: found.extend(compose.problems(chosen.config, chosen.plugins, self.file)),
            ]
        for step in steps:
            try:
                step()
            except TreasonError as error:
                found.append(error)
        lines = [line for error in found for line in str(error).splitlines()]
        return [*dict.fromkeys(lines)]

    def _anew(self) -> "Setup":
        """Return what has read nothing yet but the plugins, which are loaded once in a process."""
        anew = Setup(self._named, self._before_plugins)
        anew._warned = self._warned
        if "plugins" in self.__dict__:
            anew.plugins = self.plugins
        return anew

    def _with(self, exemptions: list[Exemption], file: TomlFile) -> "Setup":
        """Return this set-up with another whitelist."""
        made = copy(self)
        made.whitelist, made.whitelist_file = exemptions, file
        return made

    def _warn(self, text: str) -> None:
        """Log a warning, once for this set-up and those that are reloaded from it."""
        if text not in self._warned:
            self._warned.add(text)
            _log.warning("%s", text)
