"""Who has the lock of the passes; that one hangs is in the scenarios."""

import fcntl
import os

from doctors import machine, whats
from harness import Place

from reconciler.doctor import locking


def test_a_lock_that_is_free(place: Place) -> None:
    """Or was never made."""
    assert whats(locking.check, machine(place)) == []
    place.treason("reconcile", "--no-scan", "--backend", f"file:{place.path}/list")
    assert whats(locking.check, machine(place)) == []


def test_who_has_the_lock(place: Place) -> None:
    """The kernel names the process, and how long it runs is known."""
    lock = place.path / "lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert locking.keeper(lock) == os.getpid()
    assert locking.keeper(lock) is None
    age = locking.age_of(machine(place), os.getpid())
    assert age is not None
    assert 0 <= age < 86400 * 365


def test_a_directory_that_anybody_may_use_for_a_while(place: Place) -> None:
    """In one as /tmp nobody removes what is another's."""
    place.path.chmod(0o1777)
    assert whats(locking.check, machine(place)) == []
    place.path.chmod(0o777)
    [found] = locking.check(machine(place))
    assert found.remedy == f"chmod o-w {place.path}"
