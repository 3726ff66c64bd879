"""Nothing lost, nothing lifted, nothing believed too soon, whatever becomes of disk and clock.

A state machine of Hypothesis over the whole program, on the kernel's own nftables and a real disk.
`truth` tells beside it what should be dropped.
"""

import os
from functools import cache
from typing import Final

import pytest
from harness import REAL_ROOT, Result
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from trouble import ALL, DAY, GONE, Trouble, move
from troubled import own_mounts
from truth import HOUR

from reconciler.config import plugins

pytestmark = pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root")

ADDRESSES: Final = [f"198.51.100.{number}" for number in range(12)]
PEERS: Final = [f"198.51.100.{number}" for number in range(12, 16)]
NETWORKS: Final = [f"198.51.100.{number}/30" for number in range(0, 16, 4)]
CROWD: Final = [f"203.0.113.{number}" for number in range(1, 13)]
BANS: Final = st.sampled_from([*ADDRESSES[:8], *NETWORKS, CROWD[0]])
EXEMPT: Final = st.sampled_from([*ADDRESSES[:4], PEERS[0], CROWD[0]])


class Machine(Trouble):
    """The machine as people use it, and the passes that are held against the truth."""

    @initialize(crowd=st.booleans())
    def begin(self, crowd: bool) -> None:
        """Begin with nobody, or with so many bans that removals are guarded."""
        self.on.configure(self.feed.settings)
        if crowd:
            assert self.on.treason("ban", *CROWD).code == 0
            for each in CROWD:
                self.stored.ban(each, None, self.time)
        assert self.on.treason("reconcile").code == 0
        self.traced = True

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
        told = f"{result}\nbefore {sorted(before)}\nafter {sorted(after)}\n{self.stored}\n"
        told += f"{self.feed.taken}"
        assert result.code in {0, 1}, told
        assert not (after - before) & self.never, f"somebody exempt is newly dropped: {told}"
        blind = self.gone or self.lost in GONE
        blind = blind or "nothing was changed" in result.err
        if result.code == 0:
            assert not blind, told
            self.feed.is_taken()
        else:
            refused = self.taken and "refusing to remove" in result.err
            assert self.faults or refused, f"a pass failed without a cause: {told}"
        if blind:
            assert after == before, f"a pass that knows nothing changed something: {told}"
            return
        self.stored.scan(now, 2 * HOUR, self.never, stored=result.code == 0)
        must = (self.stored.must(now, ALL) | self.feed.must) - self.never
        may = (self.stored.may(now, ALL) | self.feed.may) - self.never
        assert not after & self.never, f"somebody exempt is dropped: {told}"
        if self.lost:
            assert must & before <= after, f"lifted without a cause: {told}"
            return
        assert must <= after, f"not dropped: {told}"
        if "refusing to remove" not in result.err:
            assert after <= may, f"dropped for ever: {told}"
        if result.code == 0:
            self.known, self.taken, self.hot, self.noted = True, False, False, now
            self.traced = True

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
        must = (self.stored.must(now, ALL) | self.feed.must) - self.never
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
        self.feed.again()
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


def run_histories(number: int) -> None:
    """Run so many histories of forty steps."""
    with pytest.MonkeyPatch.context() as patch, own_mounts():
        patch.setattr(plugins, "load", cache(plugins.load))  # they are always the same
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=number, stateful_step_count=40, deadline=None, database=None,
                phases=[phase for phase in Phase if phase is not Phase.explain],
                report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip


def test_nothing_is_lost_and_nothing_is_lifted() -> None:
    """A few histories."""
    run_histories(4)


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_lifted_in_many_histories() -> None:
    """Fifty, or as many as HISTORIES says."""
    run_histories(int(os.environ.get("HISTORIES", "50")))
