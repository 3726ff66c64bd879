"""A clock that is not believed."""

from doctors import machine, whats
from harness import Place

from reconciler.doctor import clock
from reconciler.host.clock import Look, Mark, believed


def test_a_clock_that_was_set_wrong(place: Place) -> None:
    """How wrong it is, and what follows; one that went on as it should is no finding."""
    mark = Mark("boot", 1000, 1_800_000_000, 1_800_000_000)
    wrong = believed(mark, Look(1_800_864_060, 1060, "boot"))
    [found] = clock.check(machine(place, clock=wrong))
    assert found.what.startswith("the wall clock is 10 days ahead of")
    assert "bans go by the time since boot" in found.why
    right = believed(mark, Look(1_800_000_060, 1060, "boot"))
    assert whats(clock.check, machine(place, clock=right)) == []
