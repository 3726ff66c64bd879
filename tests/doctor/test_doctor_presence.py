"""A daemon that is there, and cannot do its work."""

from typing import Any

import pytest
from doctors import machine
from harness import Place
from pytest_mock import MockerFixture

from reconciler.doctor import presence
from reconciler.host.control import DaemonStatus
from reconciler.passes.resident import Resident

HELD: dict[str, Any] = {"rests": "is held by process 9", "held": (9,)}


@pytest.mark.parametrize(
    ("how", "what", "remedy"),
    [
        (
            DaemonStatus(7, 1.0, troubles=("the database is locked",)),
            "the daemon is in trouble: the database is locked",
            "what it said of it: journalctl -u {0}; then: systemctl reload {0}".format(
                "treason.service"
            ),
        ),
        (
            DaemonStatus(7, 1.0, troubles=("feed a is not believed\n  look at it",)),
            "the daemon is in trouble: feed a is not believed",
            "look at it",
        ),
        (
            DaemonStatus(7, 1.0, **HELD),
            "the daemon is held by process 9",
            "wait for it, or: kill 9",
        ),
        (
            DaemonStatus(7, 1.0, rests="stands still since then", still=1.0),
            "the daemon stands still since then",
            "treason --config CONFIG resume",
        ),
    ],
)
def test_what_hinders_it(
    how: DaemonStatus, what: str, remedy: str, place: Place, mocker: MockerFixture
) -> None:
    """It is named, with what is to be done."""
    mocker.patch.object(Resident, "status", return_value=how)
    [found] = presence.check(machine(place))
    assert (found.what, found.remedy) == (what, remedy.replace("CONFIG", str(place.config)))


def test_one_that_is_well_and_none_at_all(place: Place, mocker: MockerFixture) -> None:
    """Are no finding."""
    assert [*presence.check(machine(place))] == []
    mocker.patch.object(Resident, "status", return_value=DaemonStatus(7, 1.0))
    assert [*presence.check(machine(place))] == []


def test_one_that_does_not_answer(place: Place) -> None:
    """Is told as other commands tell it."""
    seen = machine(place)
    seen.resident.silence = "the daemon does not answer\n  restart it: systemctl restart treason"
    [found] = presence.check(seen)
    assert found.what == "the daemon does not answer"
    assert found.remedy == "restart it: systemctl restart treason"
