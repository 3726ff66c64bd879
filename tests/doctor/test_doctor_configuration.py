"""A configuration that may be so, and is not right; and one that may not."""

from doctors import machine, whats
from harness import Place
from pytest_mock import MockerFixture

from reconciler.config.plugins import Plugins
from reconciler.doctor import configuration


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


def test_a_table_that_nothing_uses_stops_nothing(place: Place) -> None:
    """As that of the source file, whose path a source's own argument may tell."""
    place.configure("[source.file]\ntrusted = true")
    assert configuration.refused(machine(place)) == []
