"""What befalls a machine: its disk, its files, its rules and its clock, as moves of Hypothesis.

Each move tells the truth about itself beside the program.
"""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from saying import SPOILT, Saying
from troubled import Troubled
from truth import HOUR, Stored

from reconciler.host import clock
from reconciler.host.clock import EARLIEST

DAY: Final = 24 * HOUR
YEARS: Final = 70 * 365 * DAY
ALL: Final = frozenset(
    [
        *(f"198.51.100.{number}" for number in range(16)),
        *(f"203.0.113.{number}" for number in range(1, 13)),
    ]
)
GONE: Final = ["missing", "empty", "blank"]
PAGES: Final = [
    *("bans", "history", "clients", "offences", "cursors", "changes", "verified", "treason_clock"),
    *("treason_identity", "whitelists", "carried_out", "bans_by_key", "bans_by_end"),
    *("feeds", "feed_bans"),
]
BROKEN: Final = [
    "flush ruleset",
    "delete table inet treason",
    "flush chain inet treason prerouting",
    "insert rule inet treason prerouting accept",
    "flush set inet treason banned4",
    "flush set inet treason passed4",
    "add element inet treason banned4 { 198.51.100.3 }",
    "add element inet treason banned4_nets { 198.51.100.0/30 }",
    "delete element inet treason banned4 { 198.51.100.1 }",
    "add table inet treason { flags dormant; }",
]


def move(**given: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a rule of a move, and let a pass follow at once, or not.

    By itself Hypothesis rarely lets faults and passes alternate.
    """

    def decorate(work: Callable[..., None]) -> Callable[..., None]:
        as_rule: Any = rule(then=st.booleans(), **given)  # type: ignore[call-overload]

        @wraps(work)
        def moved(self: "Trouble", then: bool = False, **values: Any) -> None:
            work(self, **values)
            if then:
                self.reconcile()

        made: Callable[..., None] = as_rule(moved)
        return made

    return decorate


class Trouble(RuleBasedStateMachine):
    """The machine, and what is true of it.

    ``feed`` is what a feed says. ``lost`` says what is wrong with the database's file, ``copy`` is
    what it was before; ``kept`` and ``fed`` are what that should know. ``gone`` says what is wrong
    with the whitelist, ``text`` is what it was. ``known`` says whether the program can know what it
    held. ``taken`` says that somebody put another state of the database in place, ``hot`` that a
    journal may lie beside it, ``traced`` that something tells since the boot that there was one.
    ``noted`` is when a pass last did all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._directory = TemporaryDirectory()
        self.on = Troubled(Path(self._directory.name))
        self._look, clock.look = clock.look, self.on.clocks.look
        self.stored = Stored()
        self.exempt: set[str] = set()
        self.own: set[str] = set()
        self.lost = self.gone = self.text = ""
        self.copy: dict[Path, bytes] = {}
        self.kept = Stored()
        self.feed = Saying(self.on.etc / "feed" / "feed.db")
        self.fed = self.feed.taken
        self.known = self.taken = self.hot = self.traced = self.doubtful = False
        self.noted = self.on.clocks.time

    def teardown(self) -> None:
        """Let all be well at last, unless something was found, and remove everything."""
        try:
            if sys.exc_info()[0] is None:
                self.settle()
        finally:
            clock.look = self._look
            self.on.close()
            self._directory.cleanup()

    # What is known.

    @property
    def time(self) -> float:
        """What time it really is."""
        return self.on.clocks.time

    @property
    def never(self) -> set[str]:
        """Who is never to be dropped."""
        return self.exempt | self.own

    @property
    def faults(self) -> bool:
        """Whether a pass may fail."""
        return bool(self.on.disk.fault or self.lost or self.gone or self.feed.is_doubtful)

    @property
    def untraced(self) -> bool:
        """Whether nothing tells that a database is gone; the units create none then."""
        return self.lost in GONE and not self.traced

    def goes_by(self, seconds: float) -> None:
        """Let time go by; a clock that is wrong for long is believed, if it was ever set."""
        self.on.clocks.time += seconds
        clocks = self.on.clocks
        if (
            clocks.wrong
            and clocks.time + clocks.wrong >= EARLIEST
            and clocks.time - clocks.since > 500
        ):
            self.doubt()

    def set_clock(self, wrong: float) -> None:
        """Set the wall clock; what is at most an hour is believed at once.

        So is one that is ahead before the first pass of a boot: the machine may have been off.
        """
        self.goes_by(0)
        if wrong > 0 and self.noted < self.on.clocks.booted:
            self.doubt()
        if 0 < self.on.clocks.wrong <= HOUR:  # what was banned by it lasts so much longer
            self.stored.delay(self.on.clocks.wrong)
            self.kept.delay(self.on.clocks.wrong)
        self.on.clocks.set(wrong)
        if 0 < wrong <= HOUR:
            self.doubt()

    def doubt(self) -> None:
        """Let no ban be sure that ends at all."""
        self.stored.doubt(self.time)
        self.kept.doubt(self.time)

    def dropped(self) -> set[str]:
        """Ask the kernel."""
        return self.on.dropped(ALL)

    def reconcile(self) -> None:
        """Make a pass."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let all be well, and find out whether it is."""
        raise NotImplementedError

    # Disk and files.

    @move(fault=st.sampled_from(["full", "read-only"]))
    def fill(self, fault: str) -> None:
        """Let nothing be written to the disk."""
        self.on.disk.suffer(fault)

    @precondition(lambda self: self.on.disk.fault)
    @move()
    def free(self) -> None:
        """Let it be written to again."""
        self.on.disk.suffer("")

    @precondition(lambda self: not (self.lost or self.hot))
    @move(how=st.sampled_from([*GONE, *PAGES]))
    def lose(self, how: str) -> None:
        """Let the database be gone, or damaged in part."""
        self.copy, self.kept = self.on.disk.files(), self.stored.copy()
        self.fed = self.feed.taken
        if how in GONE:
            with self.on.disk.room():
                self.on.disk.put({} if how == "missing" else {self.on.database: b""})
                if how == "blank":
                    self.on.by_hand("VACUUM")
        elif not self.on.damage(how):
            return
        if how == "treason_clock" and self.doubtful:  # nobody knows any more how wrong it was
            self.doubt()
        self.lost = how

    @precondition(lambda self: self.lost)
    @move()
    def restore(self) -> None:
        """Put the database back as it was."""
        with self.on.disk.room():
            self.on.disk.put(self.copy)
        self.taken = self.lost not in GONE
        self.stored, self.lost, self.known = self.kept, "", False
        self.feed.is_restored(self.fed)
        self.hot = False

    @precondition(
        lambda self: (
            self.lost in GONE and not self.untraced and not (self.on.disk.fault or self.gone)
        )
    )
    @move()
    def begin_anew(self) -> None:
        """Begin with an empty database on purpose, and without the log that was read."""
        before = self.dropped()
        result = self.on.treason("init", "--new-database")
        assert (result.code, self.dropped()) == (0, before), result
        self.on.log.write_text("")
        self.stored, self.lost, self.taken, self.known = Stored(), "", True, False
        self.feed.is_forgotten()

    @precondition(lambda self: self.known and self.exempt and not self.gone)
    @move(how=st.sampled_from(["missing", "empty", "of another", "of everybody"]))
    def lose_whitelist(self, how: str) -> None:
        """Let the whitelist be gone, or written by somebody else."""
        path = self.on.whitelist
        self.text, self.gone = path.read_text(), how
        if how == "missing":
            path.unlink()
        elif how == "empty":
            path.write_text("")
        elif how == "of another":
            os.chown(path, 65534, 65534)
        else:
            path.chmod(0o666)
        if how.startswith("of"):
            path.write_text('networks = ["0.0.0.0/0"]\n')

    @precondition(lambda self: self.gone)
    @move()
    def restore_whitelist(self) -> None:
        """Put it back."""
        self.on.whitelist.unlink(missing_ok=True)
        self.on.whitelist.write_text(self.text)
        self.gone = ""

    @move(command=st.sampled_from(BROKEN))
    def break_rules(self, command: str) -> None:
        """Somebody changes the kernel's rules."""
        self.on.break_rules(command)

    # A feed.

    @move(
        names=st.sets(st.sampled_from(sorted(ALL)), max_size=24),
        ended=st.sets(st.sampled_from(sorted(ALL)), max_size=3),
    )
    def say(self, names: set[str], ended: set[str]) -> None:
        """The feed names these, and no others any more; some have ended by its word."""
        self.feed.say(names, ended)

    @move(how=st.sampled_from(SPOILT))
    def spoil(self, how: str) -> None:
        """Its file is damaged, or another."""
        self.feed.spoil(how)

    @precondition(lambda self: not (self.feed.is_spoilt or self.untraced))
    @move()
    def accept(self) -> None:
        """Somebody accepts whatever it says."""
        result = self.on.treason("feed", "accept", "a")
        assert result.code == 0 or self.faults or self.taken, result
        self.feed.is_taken(surely=result.code == 0)

    # Time.

    @move(seconds=st.sampled_from([60, 400, 900, HOUR, 3 * HOUR, 2 * DAY]))
    def wait(self, seconds: int) -> None:
        """Time goes by."""
        self.goes_by(seconds)

    @move(wrong=st.sampled_from([1800, 5 * HOUR, -5 * HOUR, 300 * DAY, -300 * DAY, YEARS, -YEARS]))
    def jump(self, wrong: int) -> None:
        """The wall clock jumps."""
        self.set_clock(wrong)
        self.doubtful = True

    @precondition(lambda self: self.on.clocks.wrong)
    @move()
    def set_right(self) -> None:
        """The wall clock is set right."""
        self.set_clock(0)

    @move(off=st.sampled_from([60, HOUR, DAY]), unset=st.booleans())
    def reboot(self, off: int, unset: bool) -> None:
        """Turn the machine off, and on with a clock that is right, or was never set."""
        self.goes_by(0)
        delay = off + HOUR + self.time - self.noted
        self.on.reboot(off)
        self.set_clock(-self.time if unset else 0)
        self.doubtful |= unset
        self.stored.delay(delay)
        self.kept.delay(delay)
        self.own.clear()
        self.traced = False
