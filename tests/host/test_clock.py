"""The clock: which looks at it are believed, and what follows when it was set."""

from attrs import evolve

from reconciler.host import clock
from reconciler.host.clock import EARLIEST, Clock, Look, Mark, Move, believed, judge

T = 1_800_000_000
DAY = 86400
START = Mark("a", 1000, T, T)


def seen(wall: float, after: float, boot: str = "a") -> Look:
    """Look at a clock some seconds after the start."""
    return Look(wall, 1000 + after, boot)


def test_a_look_tells_this_boot_and_goes_on() -> None:
    """The kernel tells which boot it is, and CLOCK_BOOTTIME never goes back."""
    first, second = clock.look(), clock.look()
    assert first.boot == second.boot
    assert len(first.boot) == 36
    assert 0 < first.uptime <= second.uptime


def test_what_goes_on_alike_is_believed() -> None:
    """Also after a suspend of a month, which CLOCK_BOOTTIME counts, and a step of minutes."""
    for wall, after in ((T + 60, 60), (T + 30 * DAY, 30 * DAY), (T + 900, 60), (T - 900, 60)):
        assert judge(START, seen(wall, after)) == (Mark("a", 1000 + after, wall, wall), None)
        assert believed(START, seen(wall, after)).now == wall
        assert not believed(START, seen(wall, after)).doubt


def test_a_jump_is_not_believed_at_once() -> None:
    """Ahead or back, within a boot: time goes on as CLOCK_BOOTTIME does."""
    for wall, word in ((T + 26_000 * DAY, "26,000 days ahead"), (T - 5 * 3600, "5 hours behind")):
        told = believed(START, seen(wall, 60))
        assert told.now == T + 61
        assert word in told.doubt
        new, move = judge(START, seen(wall, 60))
        assert (new.time, new.told, new.steady, move) == (T + 61, wall, 1060, None)
        back, moved = judge(new, seen(T + 120, 120))
        assert (back.time, back.steady, moved) == (T + 120, None, Move(-1, T + 61))


def test_a_clock_that_was_set_is_believed_after_ten_steady_minutes() -> None:
    """What was stored meanwhile follows; another jump begins the time anew."""
    first, _ = judge(START, seen(T + DAY, 0))
    again, _ = judge(first, seen(T + 9 * DAY + 500, 500))
    assert again.steady == 1500
    still, move = judge(again, seen(T + 9 * DAY + 1099, 1099))
    assert (still.time, still.doubted, move) == (T + 1100, T + 1, None)
    wall = T + 9 * DAY + 1100
    new, move = judge(still, seen(wall, 1100))
    assert (new, move) == (Mark("a", 2100, wall, wall), Move(9 * DAY - 1, T + 1))
    assert believed(still, seen(wall, 1100)).now == T + 1101, "as long as nothing has followed"


def test_after_a_reboot_only_going_back_is_doubted() -> None:
    """A machine may have been off for months; but not for years."""
    assert judge(START, seen(T + 90 * DAY, -990, "b"))[0].steady is None
    for wall in (T - 2 * 3600, T + 800 * DAY, 5.0):
        told = believed(START, seen(wall, -990, "b"))
        assert told.now == T + 11
        assert told.doubt


def test_what_went_by_since_a_boot_counts_before_the_first_look() -> None:
    """No pass may have been made for days; a clock that was never set tells nothing of them."""
    told = believed(START, Look(5 + 2 * DAY, 2 * DAY, "b"))
    assert (told.now, "never set" in told.doubt) == (T + 2 * DAY + 1, False)
    assert told.doubt


def test_a_clock_that_was_never_set_is_never_believed() -> None:
    """However steadily it goes on; a machine without a real-time clock begins in 1970."""
    mark, _ = judge(None, Look(10, 10, "a"))
    for hours in range(1, 50):
        mark, move = judge(mark, Look(10 + hours * 3600, 10 + hours * 3600, "a"))
        assert move is None
        told = believed(mark, Look(10 + hours * 3600, 10 + hours * 3600, "a"))
        assert told == Clock(10 + hours * 3600, told.doubt, 10 + hours * 3600, 10 + hours * 3600)
        assert "never set" in told.doubt
    _, move = judge(mark, Look(T, 49 * 3600 + 20, "a"))
    assert move is None
    mark, _ = judge(mark, Look(T, 49 * 3600 + 20, "a"))
    assert judge(mark, Look(T + 700, 49 * 3600 + 720, "a"))[1] == Move(T - 49 * 3600 - 20, 10)


def test_what_was_stored_by_a_clock_that_went_back_follows_it_forward() -> None:
    """From when it went back on: nobody knows which of the two clocks was right."""
    mark, _ = judge(START, seen(T - 100 * DAY, 0))
    mark, move = judge(mark, seen(T - 100 * DAY + 600, 600))
    assert move == Move(-100 * DAY - 1, T + 1)
    assert mark.frame == T - 100 * DAY
    mark, move = judge(mark, seen(T + 700, 700))
    assert (mark.time, move) == (T - 100 * DAY + 701, None)
    mark, move = judge(mark, seen(T + 1300, 1300))
    assert (mark.frame, move) == (None, Move(100 * DAY - 1, T - 100 * DAY))


def test_a_mark_is_written_seldom() -> None:
    """When what it tells has changed, and each hour: a pass that changes nothing writes nothing."""
    assert START.aged(None)
    assert not evolve(START, uptime=1600, time=T + 600, told=T + 600).aged(START)
    assert evolve(START, uptime=4600).aged(START)
    assert evolve(START, boot="b").aged(START)
    assert evolve(START, steady=1000).aged(START)


def test_only_times_of_the_doubted_clock_are_not_believed() -> None:
    """A log tells older times too; a clock without doubt is believed in any case."""
    told = Clock(T, "doubt", 5000, 4000)
    assert [told.told_wrong(each) for each in (5000, 1000, T, None)] == [True, True, False, False]
    assert not evolve(told, doubt="").told_wrong(5000)
    assert EARLIEST < T


def test_one_boot_may_have_two_names() -> None:
    """In a container: it began at the same moment, and its seconds count once."""
    for after in (0, 5, 2 * DAY):
        there = seen(T + after, after, boot="b")
        assert believed(START, there) == Clock(T + after, "", T + after, 1000 + after)
    assert "hours behind" in believed(evolve(START, uptime=9000), Look(T + 5, 9005.5, "b")).doubt
    assert not believed(evolve(START, uptime=9000), Look(T + 5, 9005.005, "b")).doubt
