"""The daemon, commands by hand, the timer's pass, pauses, reloads, a feed and faults, all at once.

A state machine of Hypothesis on the real kernel. After each step: no packet of a whitelisted
customer is lost, and nothing was lifted but for a cause. Once all is quiet: nothing is lost, and
packets tell that all is as it should be.
"""

import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from harness import REAL_ROOT
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from saying import SPOILT, Saying
from stressed import PATIENCE, Stressed
from troubled import own_mounts

from reconciler import Network

pytestmark = pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root")

CUSTOMER: Final = "192.0.2.9"
PEERS: Final = [f"203.0.113.{number}" for number in range(1, 9)]
BANNED: Final = [f"198.51.100.{number}" for number in range(1, 7)]
GUESTS: Final = [f"198.51.100.{number}" for number in range(20, 23)]
CROWD: Final = [f"192.0.2.{number}" for number in range(100, 112)]
LISTED: Final = [f"198.51.100.{number}" for number in range(40, 52)]
ALL: Final = [*PEERS, *BANNED, *GUESTS, *LISTED]
NAMED: Final = st.sets(
    st.sampled_from([*LISTED, *LISTED, BANNED[0], GUESTS[0], PEERS[0], CUSTOMER]), max_size=14
)
EVERYBODY: Final = [*ALL, *CROWD, CUSTOMER]
DAY: Final = 86_400

QUIET: Final = 2.0
"""Seconds of quiet after which all is as it should be."""

BRAKE: Final = 10.0
"""Seconds that the brake may make a repair wait for where somebody fought, or a pass for a feed."""

MINUTE: Final = 60.0

CONFIGURATION: Final = """\
[treason]
database = "{database}"
lock = "{run}/lock"
sources = ["file"]
[run]
socket = "{run}/control"
[whitelist]
networks = ["{customer}"]
[source.file]
path = "{log}"
trusted = true
{feed}# {comment}
"""

DAMAGE: Final = (
    "flush ruleset",
    "delete table inet treason",
    "flush chain inet treason prerouting",
    "add table inet treason { flags dormant; }",
    "flush set inet treason banned4",
    "insert rule inet treason prerouting accept",
    "add table ip other",
)


class Machine(RuleBasedStateMachine):
    """People, peers and faults; what should be is told beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.on = Stressed(directory, CUSTOMER, [*ALL, *CROWD])
        self.stack.callback(self.on.close)
        self.feed = Saying(self.on.etc / "feed" / "feed.db")
        self.told: list[float] = []  # when it has changed
        self.offences = 0
        self.banned: dict[str, bool | None] = {}  # None: the command ended with an error
        self.guests: dict[str, bool | None] = {}
        self.paused: float | bool | None = False  # until then (monotonic), or until it is ended
        self.excused: set[str] = (
            set()
        )  # who may be in force no more, for a cause, until all is quiet
        self.seen: set[str] = set()
        self.fought = 0
        self.wrong = self.broken = self.stopped = False
        self.lock = ExitStack()

    def teardown(self) -> None:
        """Leave it, once all is quiet, unless something was wrong already."""
        with self.stack, self.lock:
            if sys.exc_info()[0] is None:
                self.settle()
                self.nobody_exempt_is_dropped_and_nothing_is_lifted()

    @initialize(crowd=st.booleans())
    def begin(self, crowd: bool) -> None:
        """Begin with nobody, or with so many bans that removals are guarded."""
        self.configure("as it was")
        assert self.on.treason("ban", *(CROWD if crowd else CROWD[:1])).process.returncode == 0
        self.on.start()

    def configure(self, comment: str) -> None:
        """Write the configuration."""
        self.on.configure(
            CONFIGURATION.format(
                database=self.on.database, run=self.on.etc / "run", log=self.on.log,
                customer=CUSTOMER, feed=self.feed.settings, comment=comment,
            )
        )  # fmt: skip

    # Peers.

    @rule(peer=st.sampled_from([*PEERS, CUSTOMER]), times=st.integers(1, 3))
    def offend(self, peer: str, times: int) -> None:
        """The kernel tells of a peer, or of a customer whom somebody accuses."""
        for _ in range(times):
            self.offences += 1
            self.on.offend(peer, self.offences)
        if peer != CUSTOMER:
            self.banned[peer] = True

    # People.

    def changes(self, held: dict[str, bool | None], address: str, value: bool, *args: str) -> None:
        """Begin a command that changes what is stored of an address, behind the one before."""
        for each in [each for each in self.on.commands if address in each.arguments]:
            each.end()
            self.on.commands.remove(each)
        self.excused.add(address)

        def become(value: bool | None) -> None:
            held[address] = value

        before = held.get(address, False)
        failed = None if before is not value else value
        self.on.begin(*args, done=lambda: become(value), failed=lambda: become(failed))

    @rule(address=st.sampled_from(BANNED), forced=st.booleans())
    def ban(self, address: str, forced: bool) -> None:
        """Somebody bans, and insists on the customer as well."""
        more = ["--force", CUSTOMER] if forced else []
        self.changes(self.banned, address, True, "ban", *more, address)

    @rule(address=st.sampled_from(BANNED))
    def unban(self, address: str) -> None:
        """Somebody unbans."""
        self.changes(self.banned, address, False, "unban", address)

    @rule(address=st.sampled_from(GUESTS))
    def whitelist(self, address: str) -> None:
        """Somebody bans a guest who is whitelisted, or is so from now on; or lets him go."""
        wanted = not self.guests.get(address)
        self.changes(
            self.guests, address, wanted, "whitelist", "add" if wanted else "remove", address
        )

    @rule(address=st.sampled_from(GUESTS))
    def ban_a_guest(self, address: str) -> None:
        """Somebody bans a guest, whitelisted or not."""
        self.changes(self.banned, address, True, "ban", "--force", address)

    @rule(scan=st.booleans())
    def make_pass(self, scan: bool) -> None:
        """The timer makes a pass, or a boot does."""
        self.on.begin("reconcile", "--no-create", *([] if scan else ["--no-scan"]))

    @rule()
    def check(self) -> None:
        """A pipeline asks."""
        self.on.begin("reconcile", "--check")

    @rule(seconds=st.sampled_from([None, 1]))
    def pause(self, seconds: int | None) -> None:
        """Somebody pauses; what comes beside it has ended."""
        self.end_commands()
        length = ["--for", f"{seconds}s"] if seconds else []
        self.excused |= {*ALL, *CROWD}
        command = self.on.treason("pause", *length)
        if command.process.returncode:
            assert self.faults or seconds, command.err  # it may be over before all is removed
            self.paused = None
            return
        self.paused = time.monotonic() + seconds if seconds else True
        if seconds is None:
            assert not self.dropped(), "paused, and somebody is dropped"

    @rule()
    def resume(self) -> None:
        """Somebody resumes."""
        self.end_commands()
        command = self.on.treason("resume")
        assert not command.process.returncode or self.faults, command.err
        self.paused = None if command.process.returncode else False

    # The feed.

    @rule(names=NAMED, ended=st.sets(st.sampled_from(LISTED), max_size=3))
    def say(self, names: set[str], ended: set[str]) -> None:
        """The feed names these, and no others any more; some have ended by its word."""
        self.told.append(time.monotonic())
        self.excused |= self.feed.say(names, ended)

    @rule(how=st.sampled_from(SPOILT))
    def spoil(self, how: str) -> None:
        """Its file is damaged, or another; nothing follows from that."""
        self.told.append(time.monotonic())
        self.feed.spoil(how)

    @precondition(lambda self: not self.feed.is_spoilt)
    @rule()
    def accept(self) -> None:
        """Somebody accepts whatever it says."""
        self.end_commands()
        self.excused |= self.feed.may
        command = self.on.treason("feed", "accept", "a")
        self.feed.is_taken(surely=command.process.returncode == 0)

    # What befalls the machine.

    @property
    def faults(self) -> bool:
        """Whether a command may fail."""
        return self.broken or self.wrong or self.stopped or self.feed.is_doubtful

    @rule(command=st.sampled_from(DAMAGE), times=st.sampled_from([1, 1, 1, 8]))
    def damage(self, command: str, times: int) -> None:
        """Somebody else changes the firewall, once or again and again."""
        self.excused |= {*ALL, *CROWD}
        self.fought += times
        for _ in range(times):
            self.on.damage(command)
            time.sleep(0.01)

    @rule(valid=st.booleans(), signalled=st.booleans())
    def edit(self, valid: bool, signalled: bool) -> None:
        """Somebody edits the configuration, rightly or not, and may tell so."""
        self.wrong = not valid
        self.configure(f"edit {self.offences}" if valid else "no\n[policy]\nthreshold = 0")
        if signalled:
            self.on.send(signal.SIGHUP)

    @rule(seconds=st.sampled_from([-30 * DAY, -2 * DAY, -1.5, 0, 1.5, 2 * DAY, 400 * DAY]))
    def jump(self, seconds: float) -> None:
        """The wall clock is set."""
        self.on.set_clock(seconds)

    @rule(fault=st.sampled_from(["full", "read-only", "locked"]))
    def break_disk(self, fault: str) -> None:
        """The database cannot be written."""
        self.mend_disk()
        self.end_commands()
        if fault == "locked":
            self.lock.enter_context(self.on.locked())
        elif fault == "full" or not self.is_open():
            self.on.disk.suffer(fault)
        self.broken = True

    def is_open(self) -> bool:
        """Whether the daemon may have the database open, so that it cannot become read-only."""
        return self.on.daemon is not None

    @precondition(lambda self: self.broken)
    @rule()
    def mend_disk(self) -> None:
        """All is well with it again."""
        self.lock.close()
        self.on.disk.suffer("")
        self.broken = False

    @precondition(lambda self: not self.wrong)
    @rule(again=st.booleans())
    def kill(self, again: bool) -> None:
        """The daemon is killed, and started by the service manager."""
        self.on.kill()
        self.stopped = False
        if again and not self.broken:
            self.on.start()

    @rule(moment=st.floats(0.0, 0.4))
    def kill_pass(self, moment: float) -> None:
        """A pass is killed half-way."""
        command = self.on.begin("reconcile", "--no-create")
        time.sleep(moment)
        command.process.kill()

    @rule()
    def stop(self) -> None:
        """The daemon stands still, as on a machine that swaps."""
        self.on.send(signal.SIGSTOP)
        self.stopped = True

    @rule()
    def go_on(self) -> None:
        """It goes on."""
        self.on.send(signal.SIGCONT)
        self.stopped = False

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.2]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        time.sleep(seconds)

    # What must be true.

    def dropped(self) -> set[str]:
        """Return who is held to be dropped."""
        held = self.on.in_force()
        return {each for each in EVERYBODY if Network.parse(each) in held}

    def end_commands(self) -> None:
        """Wait for the commands that were begun."""
        for each in self.on.join():
            assert "Traceback" not in each.err, each.err

    @invariant()
    def nobody_exempt_is_dropped_and_nothing_is_lifted(self) -> None:
        """The customer's packets arrive; who was dropped is, but for a cause."""
        assert not self.on.customer.lost(), f"a whitelisted packet was lost: {self.on.said}"
        now = self.dropped()
        lifted = self.seen - now - self.excused
        assert not lifted, f"lifted without a cause: {lifted}: {self.on.said}"
        self.seen |= now
        assert not (self.paused is True and now), f"paused, and dropped: {now}: {self.on.said}"

    @rule()
    def settle(self) -> None:
        """Let all be quiet: soon all is as it should be, and nothing is lost."""
        self.go_on()
        self.end_commands()
        self.mend_disk()
        limit = QUIET
        if self.wrong:
            self.edit(valid=True, signalled=False)
            limit += 1.0  # it may be being edited
        if self.on.daemon is None:
            self.on.start()
        self.decide()
        self.told = [each for each in self.told if each > time.monotonic() - 2 * MINUTE]
        self.told.append(time.monotonic())
        self.feed.again()
        self.feed.taken = self.feed.looked()
        limit += BRAKE if self.fought > 5 or len(self.told) > 5 else 0.0
        if isinstance(self.paused, float):
            limit += (
                max(0.0, self.paused - time.monotonic()) + 3.0
            )  # the clock may be set meanwhile
        self.converges(limit)
        self.paused = self.paused is True
        self.excused, self.seen, self.fought = set(), self.dropped(), 0

    def decide(self) -> None:
        """Find out what became of commands that ended with an error."""
        if self.paused is None:
            assert self.on.treason("resume").process.returncode == 0
            self.paused = False
        stored = self.on.stored()
        for each in [each for each, known in self.banned.items() if known is None]:
            self.banned[each] = each in stored
        whitelist = self.on.etc / "whitelist.toml"
        listed = whitelist.read_text() if whitelist.exists() else ""
        for each in [each for each, known in self.guests.items() if known is None]:
            self.guests[each] = f'"{each}"' in listed

    def converges(self, limit: float) -> None:
        """Wait until packets tell that those who should be dropped are, and nobody else."""
        begun = time.monotonic()
        slow = self.slowness()
        stored = {each for each, known in self.banned.items() if known}
        banned = stored | (self.feed.must - {CUSTOMER})
        exempt = {each for each, known in self.guests.items() if known}
        expected = set() if self.paused is True else banned - exempt
        while (arriving := self.on.arriving(ALL)) != {*ALL} - expected:
            spent = time.monotonic() - begun
            wrong = {*ALL} - expected ^ arriving
            assert spent < limit * slow, f"{wrong} after {spent:.1f} s: {self.on.said}"
            time.sleep(0.02)
        while stored - self.on.stored():
            assert time.monotonic() < begun + PATIENCE, f"a ban is lost: {self.on.said}"
            time.sleep(0.1)
        while (check := self.on.treason("reconcile", "--check")).process.returncode:
            spent = time.monotonic() - begun  # what a feed says may not be taken yet
            assert spent < limit * slow, f"{check.err} after {spent:.1f} s: {self.on.said}"
            time.sleep(0.1)

    def slowness(self) -> float:
        """Return how many times slower than it should be this machine is now."""
        begun = time.monotonic()
        self.on.treason("--version")
        return max(1.0, (time.monotonic() - begun) / 0.1)


def run_histories(number: int) -> None:
    """Run so many histories of forty steps."""
    with own_mounts():
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=number, stateful_step_count=40, deadline=None, database=None,
                phases=[Phase.generate],  # a step takes time: nothing is shrunk
                report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip


def test_all_at_once() -> None:
    """Two histories."""
    run_histories(2)


@pytest.mark.slow
def test_all_at_once_in_many_histories() -> None:
    """Ten, or as many as HISTORIES says."""
    run_histories(int(os.environ.get("HISTORIES", "10")))
