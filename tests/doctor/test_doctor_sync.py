"""Backends that differ or fail; that the remedy mends them is in the scenarios."""

from collections.abc import Callable

from doctors import machine
from harness import Place

from reconciler.config.setup import Setup
from reconciler.diagnosis import Finding
from reconciler.doctor import sync
from reconciler.doctor.machine import opened


def found(place: Place) -> list[Finding]:
    """Return what is found of the backends."""
    with opened(Setup(str(place.config))) as machine:
        return [*sync.check(machine)]


def test_a_backend_that_cannot_do_its_work(place: Place, host: None) -> None:
    """It is told with its own advice, and the others are looked at all the same."""
    (place.path / "list").mkdir()
    place.configure(
        f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file", "nftables"]'
    )
    one, *others = found(place)
    assert f"{place.path}/list" in one.what
    assert one.remedy
    assert len(others) == 1


def test_all_in_sync(place: Place, nft: Callable[..., str]) -> None:
    """Is no finding."""
    place.treason("ban", "192.0.2.7")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert found(place) == []


def test_without_a_database(place: Place) -> None:
    """Nothing is known of what is desired, which another check tells."""
    assert [*sync.check(machine(place))] == []
