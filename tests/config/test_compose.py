"""Composition: names and arguments become sources and backends with checked settings."""

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from reconciler import BackendPlugin, SourcePlugin
from reconciler.config import compose
from reconciler.config.plugins import Plugins
from reconciler.config.tables import Config, Main
from reconciler.errors import ConfigError, PluginError
from reconciler.toml.file import TomlFile


@attrs.frozen
class Settings:
    """A plugin's settings."""

    path: str
    trusted: bool = False


PLUGINS = Plugins(
    {
        "file": SourcePlugin("file", lambda s: s, Settings, "path"),
        "plain": SourcePlugin("plain", lambda s: s),
    },
    {"list": BackendPlugin("list", lambda s: s, Settings, "path")},
    ("plugin 'cloud' (cloud): ImportError: no luck",),
)
FILE = TomlFile(Path("FILE"))
CONFIG = Config(treason=Main(sources=("file",)), source={"file": {"path": "/log"}})


def settings(maker: Callable[[], object]) -> object:
    """Make it: the factories of these plugins give their settings."""
    return maker()


def refused(config: Config, *named: str) -> ConfigError:
    """Return the refusal."""
    with pytest.raises(ConfigError) as error:
        compose.sources(config, PLUGINS, FILE, named)
    return error.value


def test_the_configured_list_takes_its_tables() -> None:
    """Without names from the command line the configuration decides."""
    made = compose.sources(CONFIG, PLUGINS, FILE)
    assert {name: settings(make) for name, make in made.items()} == {"file": Settings("/log")}


def test_an_argument_given_by_hand_is_trusted() -> None:
    """A person vouches for the file that he names; the list in the file is replaced."""
    made = compose.sources(CONFIG, PLUGINS, FILE, ("file:/a", "file:/b"))
    assert [settings(make) for make in made.values()] == [
        Settings("/a", True),
        Settings("/b", True),
    ]


def test_a_name_without_argument_is_not_trusted_by_that() -> None:
    """Only naming the file itself vouches for it."""
    [make] = compose.sources(CONFIG, PLUGINS, FILE, ("file",)).values()
    assert settings(make) == Settings("/log", False)


def test_backends_know_no_trust() -> None:
    """A backend's field of that name is the plugin's own affair."""
    [make] = compose.backends(CONFIG, PLUGINS, FILE, ("list:/a",)).values()
    assert settings(make) == Settings("/a", False)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("fiel", "unknown source 'fiel'; did you mean 'file'?"),
        ("cloud", "unknown source 'cloud'"),
        ("plain:x", "source 'plain:x': 'plain' takes no argument"),
        ("file:", "source 'file:': the argument is empty"),
    ],
)
def test_a_wrong_name_is_named(spec: str, what: str) -> None:
    """Unknown names come with the nearest one; arguments must be wanted, and be there."""
    assert refused(CONFIG, spec).what == what


def test_an_unknown_name_may_be_a_broken_plugin() -> None:
    """The broken plugins are told with it."""
    assert "ImportError: no luck" in refused(CONFIG, "cloud").hint


def test_missing_and_wrong_settings_are_named() -> None:
    """The table of a plugin is checked as the rest of the file is."""
    assert refused(Config(), "file").what == "FILE: [source.file] path: is missing"
    wrong = Config(source={"file": {"path": 3, "trustd": True}})
    assert refused(wrong, "file").what.splitlines() == [
        "FILE: [source.file] unknown key 'trustd'; did you mean 'trusted'?",
        "FILE: [source.file] path: must be a string, not a whole number",
    ]


def test_a_table_for_nobody_is_refused() -> None:
    """A misspelt plugin's table would otherwise be silently without effect."""
    wrong = Config(source={"flie": {}})
    with pytest.raises(ConfigError) as error:
        compose.sources(wrong, attrs.evolve(PLUGINS, broken=()), FILE, ("plain",))
    assert error.value.what.startswith("FILE: [source] unknown source 'flie'")


def test_a_table_that_may_be_a_broken_plugins_stops_nobody() -> None:
    """All others are made; a check of the configuration names it."""
    config = attrs.evolve(CONFIG, source={**CONFIG.source, "cloud": {}})
    assert [*compose.sources(config, PLUGINS, FILE)] == ["file"]
    found = [str(error) for error in compose.problems(config, PLUGINS, FILE)]
    assert found[0].startswith("FILE: [source] unknown source 'cloud'\n  broken: plugin 'cloud'")


def test_a_listed_name_that_may_be_a_broken_plugins_fails_by_itself() -> None:
    """What is listed beside it is made."""
    config = attrs.evolve(CONFIG, treason=Main(sources=("file", "cloud")))
    made = compose.sources(config, PLUGINS, FILE)
    assert settings(made["file"]) == Settings("/log")
    with pytest.raises(PluginError, match="no luck"):
        made["cloud"]()
    with pytest.raises(ConfigError):
        compose.sources(config, attrs.evolve(PLUGINS, broken=()), FILE)


def test_a_contested_name_fails_by_itself() -> None:
    """Nobody knows which of the two is meant."""
    both = PluginError("'plain' is provided by two plugins: 'a' and 'b'")
    found = attrs.evolve(PLUGINS, contested={("source", "plain"): both})
    made = compose.sources(CONFIG, found, FILE, ("plain", "file:/a"))
    assert settings(made["file:/a"]) == Settings("/a", True)
    with pytest.raises(PluginError, match="two plugins"):
        made["plain"]()
