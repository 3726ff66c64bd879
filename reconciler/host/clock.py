"""The wall clock, and how far to believe it: one look at it alone settles nothing.

CLOCK_BOOTTIME goes on through steps of the wall clock and through suspends (clock_gettime(2)). So
within a boot the two must go on alike; over a reboot the wall clock must not go back.
"""

import time
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

STEP: Final = 3600
"""Seconds by which the wall clock may differ from what went by."""

STEADY: Final = 600
"""Seconds for which a clock that was set must have gone on steadily to be believed."""

EARLIEST: Final = 1_735_689_600
"""2025-01-01: a clock from before that was never set."""

_LONGEST_OFF: Final = 366 * 86400
"""Seconds that a machine may have been off, and its clock is believed at once."""

_REFRESHED: Final = 3600
"""Seconds after which what is remembered is worth writing anew, though nothing else changed."""

_AT_ONCE: Final = 0.01
"""Seconds by which the beginning of one boot may differ from look to look."""

_LATEST: Final = 1e10
"""More seconds than any clock of Linux counts (include/linux/ktime.h, KTIME_SEC_MAX)."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@frozen
class Look:
    """A look at the clock: the wall clock (epoch seconds), seconds since boot, and which boot."""

    wall: float
    uptime: float
    boot: str


@frozen
class Mark:
    """What is remembered of the last look: in which ``boot`` it was, and how long after its start.

    ``time`` is what was believed (epoch seconds), ``told`` what the wall clock told. While the two
    differ, ``steady`` is the ``uptime`` from which on it went steadily, and ``doubted`` the time
    that was believed when that began. ``frame`` is the time from which on a clock was believed that
    had gone back: it may go forward again.
    """

    boot: str
    uptime: float
    time: float
    told: float
    steady: float | None = None
    doubted: float | None = None
    frame: float | None = None

    @property
    def is_possible(self) -> bool:
        """Whether clocks can tell such times; somebody may have edited them."""
        times = (self.uptime, self.time, self.told, self.steady, self.doubted, self.frame)
        return all(each is None or abs(each) < _LATEST for each in times)

    def aged(self, old: "Mark | None") -> bool:
        """Whether it tells more than an old one, so that it is worth writing."""
        if old is None or evolve(self, uptime=0, time=0, told=0) != evolve(
            old, uptime=0, time=0, told=0
        ):
            return True
        return self.uptime - old.uptime >= _REFRESHED


@frozen
class Move:
    """How stored times follow a clock that is believed: ``by`` seconds, those from ``start`` on."""

    by: float
    start: float


@frozen
class Clock:
    """The time to go by, in epoch seconds; ``doubt`` says what is wrong with the wall clock.

    ``wall`` is what that tells. It has told that kind of time for ``uptime`` seconds at most.
    """

    now: int = 0
    doubt: str = ""
    wall: float = 0.0
    uptime: float = 0.0

    def told_wrong(self, moment: float | None) -> bool:
        """Whether a record's time was taken from the clock that is not believed."""
        if not self.doubt or moment is None:
            return False
        return self.wall - self.uptime - STEP <= moment <= self.wall + STEP


SURE: Final = Clock()
"""A clock without doubt, for whoever has the time from elsewhere."""


def look() -> Look:
    """Look at the clock now."""
    return Look(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), _boot())


def mark_of(seen: Look) -> Mark:
    """Return what is to be remembered of a look that was believed."""
    return Mark(seen.boot, seen.uptime, seen.wall, seen.wall)


def judge(mark: Mark | None, seen: Look) -> tuple[Mark, Move | None]:
    """Return what is to be remembered of a look, and how stored times are to follow, if they are.

    They follow when the clock is believed again.
    """
    fresh = mark_of(seen)
    unset = seen.wall < EARLIEST
    if mark is None:
        started = evolve(fresh, steady=seen.uptime, doubted=seen.wall)
        return (started if unset else fresh), None
    same = _is_same_boot(mark, seen)
    time = mark.time + max(0.0, seen.uptime - (mark.uptime if same else 0.0))
    ahead = seen.wall - time
    doubted_before = mark.doubted is not None or mark.frame is not None
    off = 0 if same or doubted_before else _LONGEST_OFF
    if -STEP <= ahead <= max(STEP, off) and not unset:
        back = Move(ahead, mark.doubted) if same and mark.doubted is not None else None
        return evolve(fresh, frame=mark.frame if same else None), back
    if mark.doubted is None:
        time = float(int(time) + 1)  # so all that is stored from now on is of a later second
    doubted = time if mark.doubted is None else mark.doubted
    since = mark.steady if same and mark.steady is not None and _alike(mark, seen) else seen.uptime
    if unset or seen.uptime - since < STEADY:
        return evolve(fresh, time=time, steady=since, doubted=doubted, frame=mark.frame), None
    start = doubted if mark.frame is None else min(mark.frame, doubted)
    return evolve(fresh, frame=start + ahead if ahead < 0 else None), Move(ahead, start)


def believed(mark: Mark | None, seen: Look) -> Clock:
    """Return the time to go by, before anything that is stored has followed."""
    new, move = judge(mark, seen)
    time = seen.wall - move.by if move else new.time
    settled = new.steady is None and (move is None or abs(move.by) <= STEP)
    return Clock(int(time), "" if settled else _doubt(seen.wall - time), seen.wall, seen.uptime)


def _is_same_boot(mark: Mark, seen: Look) -> bool:
    """Whether the machine has not been booted in between.

    In a container of systemd-nspawn the boot has two names: a service that has a /proc of its own
    sees the host's. But both began at the same moment.
    """
    if mark.boot == seen.boot:
        return True
    return seen.uptime >= mark.uptime and _drift(mark, seen) <= _AT_ONCE


def _alike(mark: Mark, seen: Look) -> bool:
    """Whether the wall clock has gone on steadily since."""
    return _drift(mark, seen) <= STEP


def _drift(mark: Mark, seen: Look) -> float:
    """Return how many seconds apart the two make the beginning of a boot."""
    return abs((seen.wall - seen.uptime) - (mark.told - mark.uptime))


def _doubt(ahead: float) -> str:
    """Return what is wrong with the wall clock."""
    if abs(ahead) <= STEP:
        what = "the wall clock was never set"
    else:
        hours = abs(round(ahead / 3600))
        much = f"{hours // 24:,} days" if hours >= 48 else f"{hours} hours"
        side = "ahead of" if ahead > 0 else "behind"
        what = f"the wall clock is {much} {side} the time that is known to have gone by"
    return (
        f"{what}; until it has been steady for {STEADY // 60} minutes, bans go by the time since"
        " boot, and nothing is moved to the history or pruned"
    )


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
