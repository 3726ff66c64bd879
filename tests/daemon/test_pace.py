"""The pace of looks."""

import time

from reconciler.daemon.pace import SHARE, Pace


def test_the_first_look_need_not_wait() -> None:
    """Nothing was looked at yet."""
    assert Pace(5.0).wait() == 0


def test_the_pause_is_as_long_as_the_look_asks_for() -> None:
    """At least as long as was asked for, and else many times as long as the look took."""
    pace = Pace(5.0)
    with pace.look():
        pass
    assert 4 < pace.wait() <= 5
    pace.took(100.0)
    assert SHARE * 99 < pace.wait() <= SHARE * 100


def test_what_is_over_is_waited_for_no_more() -> None:
    """Once the pause is over, the next look may begin."""
    pace = Pace(0.01)
    with pace.look():
        pass
    time.sleep(0.02)
    while pace.wait():
        time.sleep(0.01)
