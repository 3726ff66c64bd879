"""Whatever happens, two passes are enough, the second sends nothing, and nobody exempt is dropped.

A Hypothesis state machine on the real nftables: bans, unbans, expiry, whitelisting, damage by
others and failures, in any order.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from backends.nftables.backend import Nftables
from reconciler import Desired, Network, Networks, Observed, Plan
from reconciler.execute import CommandFailed, run
from reconciler.host.netns import Namespace
from reconciler.model import Ban
from reconciler.networks import overlaps
from reconciler.passes.enforce import Goal, State, enforce
from reconciler.passes.recall import Recall
from reconciler.planning.desired import collapse, desired
from reconciler.planning.guard import Guard
from reconciler.planning.plan import Causes, plan
from reconciler.store.store import open_store

NETWORKS = st.builds(
    lambda version, address, bits: (
        Network.of(4, 0x0A000000 | address >> bits << bits, 32 - bits)
        if version == 4
        else Network.of(6, 0x20010DB8 << 96 | address >> bits << bits, 128 - bits)
    ),
    st.sampled_from([4, 6]),
    st.integers(0, 31),
    st.integers(0, 4),
)
DAMAGES = [
    "flush ruleset",
    "delete table inet treason",
    "flush chain inet treason prerouting",
    "insert rule inet treason prerouting accept",
    "flush set inet treason banned4",
    "flush set inet treason banned6_nets",
    "flush set inet treason passed4",
    "add element inet treason banned4 { 10.0.0.3 }",
    "add element inet treason banned4_nets { 10.0.0.0/30 }",
    "add element inet treason banned6 { 2001:db8::5 }",
    "add table inet treason { flags dormant; }",
    "add chain inet treason foreign",
]


class Failing(Nftables):
    """Fails once when it is to apply, before or after it did."""

    def __init__(self, after: bool) -> None:
        super().__init__()
        self._after: bool | None = after

    def apply(self, plan: Plan) -> None:
        """Fail, once."""
        when, self._after = self._after, None
        if when is not False:
            super().apply(plan)
        if when is not None:
            raise RuntimeError("the power failed")


class Machine(RuleBasedStateMachine):
    """The store, the whitelist and the kernel, as their users change them."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._namespace = Namespace()
        self._entered = self._namespace.entered()
        self._entered.__enter__()
        self._opened = open_store(Path(self._directory.name) / "db", write=True)
        self.store = self._opened.__enter__()
        self.now = 1_000_000
        self.whitelist: set[Network] = set()
        self.settled = False

    def teardown(self) -> None:
        """Leave the namespace and the store."""
        self._opened.__exit__(None, None, None)
        self._entered.__exit__(None, None, None)
        self._namespace.close()
        self._directory.cleanup()

    @rule(networks=st.lists(NETWORKS, min_size=1, max_size=4), length=st.sampled_from([None, 60]))
    def ban(self, networks: list[Network], length: int | None) -> None:
        """Somebody bans."""
        until = None if length is None else self.now + length
        self.store.bans.add(Ban(network, self.now, until, "manual") for network in networks)
        self.settled = False

    @rule(network=NETWORKS)
    def unban(self, network: Network) -> None:
        """Somebody unbans."""
        self.store.bans.lift([network], self.now)
        self.settled = False

    @rule(seconds=st.sampled_from([-30, 30, 90]))
    def wait(self, seconds: int) -> None:
        """Time passes, or the clock is set back."""
        self.now += seconds
        self.settled = False

    @rule(network=NETWORKS)
    def exempt(self, network: Network) -> None:
        """Somebody adds to the whitelist, or takes away."""
        self.whitelist ^= {network}
        self.settled = False

    @rule(damage=st.sampled_from(DAMAGES))
    def damage(self, damage: str) -> None:
        """Somebody else changes the kernel, if there is something to change."""
        try:
            run(["nft", damage])
        except CommandFailed:
            return
        self.settled = False

    @rule(after=st.booleans())
    def fail(self, after: bool) -> None:
        """A pass is interrupted before or after its transaction."""
        self._pass(lambda: Failing(after))
        self.settled = False

    @rule()
    def reconcile(self) -> None:
        """Two passes: the first may change, the second must not."""
        assert self._pass(Nftables) in {State.CHANGED, State.IN_SYNC}
        assert self._pass(Nftables) is State.IN_SYNC
        assert plan(self._desired(), Nftables().observe()) is None, "it is remembered wrongly"
        self.settled = True

    @invariant()
    def nobody_exempt_is_dropped_after_a_pass(self) -> None:
        """Asked of the kernel."""
        if self.settled:
            exempt = collapse(self.whitelist)
            held: Observed = Nftables().observe()
            assert not [network for network in held.banned if overlaps(network, exempt)]

    def _desired(self) -> Desired:
        return desired(self.store.bans.networks(self.now)[0], self.whitelist)

    def _pass(self, make: Callable[[], Nftables]) -> State:
        self.store.bans.expire(self.now)
        whitelist = collapse(self.whitelist)
        self.store.changes.forget(self.now - 200)
        memory = Recall(
            self.store, self.now, str([*whitelist]), 200, whitelist, lambda _: True, Networks(),
            self._desired,
        )  # fmt: skip
        goal = Goal(self._desired, Guard(1.0, Causes), memory)
        [outcome] = enforce({"it": make}, goal, check=False)
        return outcome.state


def test_two_passes_are_enough_whatever_happened(host: None) -> None:
    """Forty histories of up to thirty steps each."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("after", [True, False])
def test_the_machine_would_notice_a_pass_that_does_nothing(after: bool, host: None) -> None:
    """A failing pass is told as one: the machine's own ground."""
    wanted = desired([Network.parse("192.0.2.1")], [])
    [outcome] = enforce({"it": lambda: Failing(after)}, Goal(lambda: wanted), check=False)
    assert outcome.state is State.FAILED
    assert bool(Nftables().observe().banned) is after
