"""A pause is a finding as long as it lasts."""

from harness import Place

from reconciler.config.setup import Setup
from reconciler.doctor import paused
from reconciler.doctor.machine import opened


def found(place: Place) -> list[str]:
    """Return the commands that mend it."""
    with opened(Setup(str(place.config))) as machine:
        return [each.remedy for each in paused.check(machine)]


def test_a_pause(place: Place, host: None) -> None:
    """It is ended by the command that is printed."""
    assert found(place) == []
    place.treason("pause", "--for", "1h")
    assert found(place) == [f"treason --config {place.config} resume"]
    place.treason("resume")
    assert found(place) == []
