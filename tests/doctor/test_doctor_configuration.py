"""A configuration that may be so, and is not right; and one that may not."""

import pytest
from doctors import machine, whats
from harness import Place
from pytest_mock import MockerFixture

from reconciler.config.plugins import Plugins
from reconciler.config.setup import Setup
from reconciler.doctor import configuration
from reconciler.doctor.machine import Machine


def test_nothing_to_read_and_nothing_to_enforce(place: Place) -> None:
    """Both empty lists are named."""
    place.configure(main="sources = []\nbackends = []")
    assert whats(configuration.check, machine(place)) == [
        "[treason] sources is empty",
        "[treason] backends is empty",
    ]


def test_a_broken_plugin(place: Place, mocker: MockerFixture) -> None:
    """It is named with the reason."""
    seen = machine(place)
    seen.setup.plugins = Plugins({}, {}, broken=("acme: ImportError: no module",))
    [found] = configuration.check(seen)
    assert found.what == "a plugin is broken: acme: ImportError: no module"


def test_every_mistake_is_named(place: Place) -> None:
    """In the configuration and in the whitelist."""
    place.configure('[policy]\nmode = "off"\nthreshold = 0')
    place.path.joinpath("whitelist.toml").write_text('networks = ["192.0.2.1/24"]\n')
    found = configuration.refused(machine(place))
    assert len(found) == 3
    assert all(str(place.path) in each.what for each in found)
    assert all(each.remedy.endswith("config check") for each in found)


def test_a_configuration_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, also from a working directory that somebody has removed."""
    gone = place.path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert [each.what for each in configuration.refused(Machine(Setup("treason.toml")))] == [
        "treason.toml: configuration file not found",
        "treason.toml: the working directory is gone",
    ]


def test_a_table_that_nothing_uses_stops_nothing(place: Place) -> None:
    """As that of the source file, whose path a source's own argument may tell."""
    place.configure("[source.file]\ntrusted = true")
    assert configuration.refused(machine(place)) == []
