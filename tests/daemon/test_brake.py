"""The brake on repairs."""

from reconciler.daemon.brake import FIRST, LEAST, LONGEST, QUIET, SHARE, Brake


def test_few_repairs_are_made_at_once() -> None:
    """Five in a second are no fight, nor are twenty in ten."""
    brake = Brake()
    for number in range(20):
        assert brake.wait(number / 2) == 0
        brake.note(number / 2)
    assert not brake.fights


def test_the_sixth_in_a_second_pauses() -> None:
    """And the pauses double, up to the longest."""
    brake = Brake()
    for _ in range(5):
        brake.note(100.0)
    assert not brake.fights
    now, pauses = 100.0, []
    for _ in range(10):
        brake.note(now)
        pauses.append(brake.pause)
        now += brake.wait(now)
    assert pauses[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert pauses[-1] == LEAST
    assert brake.fights


def test_a_repair_that_takes_long_is_followed_by_long_pauses() -> None:
    """A fight costs no more than a fifth of a core, but no pause is without end."""
    for took, longest in ((0.3, SHARE * 0.3), (60.0, LONGEST)):
        brake = Brake()
        for _ in range(20):
            brake.note(100.0, took)
        assert brake.pause == longest


def test_the_twenty_first_in_ten_seconds_pauses() -> None:
    """A slow fight is one, too."""
    brake = Brake()
    for number in range(21):
        brake.note(number * 0.45)
    assert brake.fights


def test_a_quiet_minute_is_forgiven() -> None:
    """Then it begins again as at first."""
    brake = Brake()
    for _ in range(6):
        brake.note(0.0)
    assert brake.wait(0.0) > 0
    assert brake.wait(QUIET) == 0
    brake.note(QUIET)
    assert not brake.fights
