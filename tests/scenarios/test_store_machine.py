"""Nothing lost, nothing lifted, nothing believed too soon, whatever becomes of disk and clock.

A state machine of Hypothesis over the whole program, on the kernel's own nftables and a real disk.
`truth` tells beside it what should be dropped.
"""

import os
import sys
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from harness import REAL_ROOT, Result
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from troubled import Troubled, own_mounts
from truth import HOUR, Stored

from reconciler.config import plugins
from reconciler.host import clock
from reconciler.host.clock import EARLIEST

pytestmark = pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root")

DAY: Final = 24 * HOUR
YEARS: Final = 70 * 365 * DAY
ADDRESSES: Final = [f"198.51.100.{number}" for number in range(12)]
PEERS: Final = [f"198.51.100.{number}" for number in range(12, 16)]
NETWORKS: Final = [f"198.51.100.{number}/30" for number in range(0, 16, 4)]
CROWD: Final = [f"203.0.113.{number}" for number in range(1, 13)]
ALL: Final = frozenset([*ADDRESSES, *PEERS, *CROWD])
BANS: Final = st.sampled_from([*ADDRESSES[:8], *NETWORKS, CROWD[0]])
EXEMPT: Final = st.sampled_from([*ADDRESSES[:4], PEERS[0], CROWD[0]])
GONE: Final = ["missing", "empty", "blank"]
PAGES: Final = [
    *("bans", "history", "clients", "offences", "cursors", "changes", "verified", "treason_clock"),
    *("treason_identity", "whitelists", "carried_out", "bans_by_key", "bans_by_end"),
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
        @wraps(work)
        def moved(self: "Machine", then: bool = False, **values: Any) -> None:
            work(self, **values)
            if then:
                self.reconcile()

        return rule(then=st.booleans(), **given)(moved)

    return decorate


class Machine(RuleBasedStateMachine):
    """The machine, and what is true of it.

    ``lost`` says what is wrong with the database's file, ``copy`` is what it was before; ``kept``
    is what that should know. ``gone`` says what is wrong with the whitelist, ``text`` is what it
    was. ``known`` says whether the program can know what it held. ``torn`` are rules that were
    removed on purpose; ``taken`` says that somebody put another state of the database in place.
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
        self.known = self.taken = self.hot = self.untraced = self.doubtful = False
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

    @initialize(crowd=st.booleans())
    def begin(self, crowd: bool) -> None:
        """Begin with nobody, or with so many bans that removals are guarded."""
        self.on.configure()
        if crowd:
            assert self.on.treason("ban", *CROWD).code == 0
            for each in CROWD:
                self.stored.ban(each, None, self.time)
        assert self.on.treason("reconcile").code == 0

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
        return bool(self.on.disk.fault or self.lost or self.gone or self.hot)

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
        """Set the wall clock; what is at most an hour is believed at once."""
        self.goes_by(0)
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

    # People.

    def changes(self, *arguments: str) -> bool:
        """Run a command that stores something; it may fail for a reason only, and lifts nothing."""
        before = self.dropped()
        result = self.on.treason(*arguments)
        assert result.code == 0 or (result.code == 1 and self.faults), result
        assert self.dropped() == before
        assert result.code or arguments[0] == "whitelist" or self.lost not in GONE, result
        return result.code == 0

    @precondition(lambda self: not self.untraced)
    @move(
        networks=st.lists(BANS, min_size=1, max_size=3, unique=True),
        seconds=st.sampled_from([None, 600, HOUR, DAY]),
    )
    def ban(self, networks: list[str], seconds: int | None) -> None:
        """Somebody bans, also whom nobody may drop."""
        length = ["--for", f"{seconds}s"] if seconds else []
        if self.changes("ban", "--force", *networks, *length):
            for each in networks:
                self.stored.ban(each, seconds, self.time)

    @precondition(lambda self: not self.untraced)
    @move(network=st.one_of(BANS, st.sampled_from(PEERS)))
    def unban(self, network: str) -> None:
        """Somebody unbans."""
        if self.changes("unban", network):
            self.stored.unban(network)

    @move(peer=st.sampled_from(PEERS))
    def offend(self, peer: str) -> None:
        """The kernel tells of a peer."""
        number = int(self.time)
        with self.on.log.open("a") as log:
            log.write(
                f"TCP: Treason uncloaked! Peer {peer}:{number % 60000}/80 shrinks window"
                f" {number}:{number + 1}. Repaired.\n"
            )
        self.stored.offend(peer)
        self.kept.offend(peer)

    @precondition(lambda self: not self.untraced)
    @move(address=EXEMPT)
    def whitelist(self, address: str) -> None:
        """Somebody adds to the whitelist, or takes away."""
        command = "remove" if address in self.exempt else "add"
        if self.changes("whitelist", command, address):
            self.exempt ^= {address}
            self.gone, self.known = "", not self.faults

    @move(address=st.sampled_from(ADDRESSES[4:6]))
    def get_address(self, address: str) -> None:
        """The machine gets an address."""
        if address not in self.own:
            self.on.address(address)
            self.own.add(address)

    @precondition(lambda self: not self.faults)
    @move(network=BANS)
    def edit(self, network: str) -> None:
        """Somebody deletes a ban by SQL."""
        self.on.by_hand("DELETE FROM bans WHERE network = ?", network)
        self.stored.unban(network)

    @precondition(lambda self: not self.faults)
    @move(address=st.sampled_from(ADDRESSES[8:]))
    def insert(self, address: str) -> None:
        """A script of old bans."""
        self.on.by_hand("INSERT OR IGNORE INTO badips (ip) VALUES (?)", address)
        self.stored.ban(address, None, self.time)

    # Passes.

    @rule()
    def reconcile(self) -> None:
        """Make a pass."""
        before = self.dropped()
        options = ["--no-create"] if self.untraced else []
        self.judge(before, self.on.treason("reconcile", *options))

    def judge(self, before: set[str], result: Result) -> None:
        """Hold a pass against the truth."""
        after, now = self.dropped(), self.time
        told = f"{result}\nbefore {sorted(before)}\nafter {sorted(after)}\n{self.stored}"
        assert result.code in {0, 1}, told
        assert not (after - before) & self.never, f"somebody exempt is newly dropped: {told}"
        blind = self.gone or self.lost in GONE
        blind = blind or "nothing was changed" in result.err
        if result.code == 0:
            assert not blind, told
        else:
            refused = self.taken and "refusing to remove" in result.err
            assert self.faults or refused, f"a pass failed without a cause: {told}"
        if blind:
            assert after == before, f"a pass that knows nothing changed something: {told}"
            return
        self.stored.scan(now, 2 * HOUR, self.never, stored=result.code == 0)
        must = self.stored.must(now, ALL) - self.never
        may = self.stored.may(now, ALL) - self.never
        assert not after & self.never, f"somebody exempt is dropped: {told}"
        if self.lost:
            assert must & before <= after, f"lifted without a cause: {told}"
            return
        assert must <= after, f"not dropped: {told}"
        if "refusing to remove" not in result.err:
            assert after <= may, f"dropped for ever: {told}"
        if result.code == 0:
            self.known, self.taken, self.hot, self.noted = True, False, False, now

    @rule()
    def check(self) -> None:
        """Compare only: nothing changes anywhere."""
        before, files = self.dropped(), self.on.disk.files()
        result = self.on.treason("reconcile", "--check")
        assert result.code in {0, 2} or self.faults or self.taken, result
        assert (self.dropped(), self.on.disk.files()) == (before, files)

    @precondition(lambda self: not self.untraced)
    @rule(calls=st.integers(0, 32_000))
    def kill(self, calls: int) -> None:
        """Kill a pass at any moment."""
        before = self.dropped()
        self.on.killed(calls, "reconcile", "--no-create")
        after, now = self.dropped(), self.time
        self.hot = True
        assert not (after - before) & self.never
        if not (self.gone or self.lost):
            self.stored.scan(now, 2 * HOUR, self.never, stored=False)
        must = self.stored.must(now, ALL) - self.never
        assert must & before <= after, f"{sorted(before)}, {sorted(after)}, {self.stored}"

    @precondition(lambda self: not (self.lost or self.on.disk.fault))
    @move()
    def crash(self) -> None:
        """A program is killed in the middle of a commit."""
        self.on.crash_in_commit()
        self.hot = True

    @move()
    def tear_down(self) -> None:
        """Somebody removes all that is in the kernel."""
        before = self.dropped()
        result = self.on.treason("teardown")
        assert self.dropped() == (set() if result.code == 0 else before)
        assert result.code == 0 or self.faults or self.taken, result

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
        if how in GONE:
            with self.on.disk.room():
                self.on.disk.put({} if how == "missing" else {self.on.database: b""})
                if how == "blank":
                    self.on.by_hand("VACUUM")
        elif not self.on.damage(how):
            return
        self.lost = how

    @precondition(lambda self: self.lost)
    @move()
    def restore(self) -> None:
        """Put the database back as it was."""
        with self.on.disk.room():
            self.on.disk.put(self.copy)
        self.taken = self.lost not in GONE
        self.stored, self.lost, self.known, self.untraced = self.kept, "", False, False
        self.hot = False

    @precondition(
        lambda self: (
            self.lost in GONE
            and not self.untraced
            and not (self.on.disk.fault or self.gone)
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
        self.untraced = self.lost in GONE

    @rule()
    def settle(self) -> None:
        """Let all be well, and time go by: two passes are enough, and a check finds nothing."""
        self.goes_by(0)
        self.on.disk.suffer("")
        if self.lost:
            self.restore()
        if self.gone:
            self.restore_whitelist()
        self.set_clock(0)
        force = ["--force"] if self.taken else []
        for _ in range(2):
            before = self.dropped()
            result = self.on.treason("reconcile", *force)
            assert result.code == 0, result
            self.hot = False
            self.judge(before, result)
        assert self.on.treason("reconcile", "--check").code == 0
        for _ in range(3 if self.doubtful else 0):
            self.goes_by(700)
            self.reconcile()
        self.doubtful = False
        result = self.on.treason("reconcile", "--check")
        assert (result.code, result.err) == (0, ""), result
        assert self.on.listed(ALL) == self.dropped(), "nft tells otherwise"


class ManyMachines(Machine):
    """The same."""


def run_histories(number: int) -> None:
    """Run so many histories of forty steps."""
    with pytest.MonkeyPatch.context() as patch, own_mounts():
        patch.setattr(plugins, "load", cache(plugins.load))  # they are always the same
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=number, stateful_step_count=40, deadline=None, database=None,
                phases=[Phase.generate] if os.environ.get("NOSHRINK") else [phase for phase in Phase if phase is not Phase.explain],
                report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip


def test_nothing_is_lost_and_nothing_is_lifted() -> None:
    """A few histories."""
    run_histories(int(os.environ.get("HISTORIES", "5")))
