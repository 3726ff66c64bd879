"""A whitelist that covers too much; what is meant is left alone."""

import pytest
from harness import Place

from reconciler.config.setup import Setup
from reconciler.doctor import covering
from reconciler.doctor.machine import opened


def found(place: Place) -> list[tuple[str, str]]:
    """Return what is found, and what mends it."""
    with opened(Setup(str(place.config))) as machine:
        return [(each.what, each.remedy) for each in covering.check(machine)]


@pytest.mark.parametrize("network", ["10.0.0.0/8", "fc00::/7", "198.51.100.0/24", "2001:db8::/32"])
def test_a_real_network(network: str, place: Place) -> None:
    """Is no finding, with a few bans in it."""
    place.treason("ban", *(f"198.51.100.{number}" for number in range(9)))
    place.treason("whitelist", "add", network)
    assert found(place) == []


def test_an_entry_of_the_configuration(place: Place) -> None:
    """Is to be removed where it stands."""
    place.configure('[whitelist]\nnetworks = ["::/0"]')
    [(what, remedy)] = found(place)
    assert what == "whitelisted: ::/0 is wider than /7, the widest private network"
    assert remedy == f"remove it from [whitelist] in {place.config}"
