"""A disk without room: the rest is in the scenarios, on a real one."""

import os

from doctors import machine, whats
from harness import Place
from pytest_mock import MockerFixture

from reconciler.doctor import disk


def test_a_disk_that_takes_no_more_files(place: Place, mocker: MockerFixture) -> None:
    """Though there is room."""
    place.treason("ban", "192.0.2.7")
    assert whats(disk.check, machine(place)) == []
    room = {"f_bavail": 9**9, "f_bfree": 9**9, "f_frsize": 4096}
    full = mocker.Mock(f_flag=0, f_files=9, f_ffree=0, **room)
    mocker.patch.object(os, "statvfs", return_value=full)
    assert whats(disk.check, machine(place)) == [
        f"{place.path}: the file system takes no more files"
    ]


def test_a_disk_that_is_not_there(place: Place) -> None:
    """Is told by who looks at the database."""
    assert whats(disk.check, machine(place)) == []
