"""The chain, and what of it is saved: read back, changed and confirmed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from backends.iptables import Settings, persist
from backends.xtables.chain import CHAIN
from backends.xtables.firewall import Firewall
from backends.xtables.hooks import chain_hooks
from reconciler import (
    BackendError,
    BackendFailed,
    Network,
    Networks,
    Observed,
    Plan,
)

if TYPE_CHECKING:
    from reconciler import Dropped, Finding, Held

MANY: Final = 1000
"""From so many rules on another backend is advised.

Each packet is compared with every rule: 4 to 6 ns each where the figures were taken, so here a
packet that took 5 us takes twice as long; with 20,000 rules it takes 100 us.
"""


class Iptables:
    """The chain ``TREASON`` in both families, in the network namespace of the caller."""

    def __init__(self, chosen: Settings) -> None:
        self._variant = chosen.variant
        self._firewall = Firewall(chosen.variant, chain_hooks(chosen.hooks))
        self._persist = chosen.persist

    def observe(self) -> Observed:
        """Read the chains and their jumps back, and what is saved for the next boot."""
        state = self._firewall.state()
        seen = self._firewall.observe(state)
        saved = persist.damage(state) if self._persist else []
        return evolve(seen, damage=[*seen.damage, *saved], notes=[*seen.notes, *_advice(seen)])

    def holds(self, network: Network) -> "Held":
        """Read the chain of the network's family, with what its rules have counted."""
        return self._firewall.holds(network, lambda _name, _network: Networks())

    def dropped(self) -> "Dropped | None":
        """Return what the rules of the chain that drop have counted."""
        from backends.xtables.dropped import dropped  # noqa: PLC0415 - no pass counts

        return dropped(self._variant)

    def confirm(self, plan: Plan) -> bool:
        """Whether the kernel counts the rules that are desired, and the jumps are right.

        What is saved for the next boot is compared with what is read back, so not confirmed here.
        """
        return not self._persist and self._firewall.confirm(plan.desired, plan.versions)

    def render(self, plan: Plan) -> str:
        """Return the texts that `apply` sends, and the program that gets each."""
        text = self._firewall.render(
            self._firewall.present(), plan.desired, plan.versions, plan.owner
        )
        return text + (persist.announced() if self._persist else "")

    def apply(self, plan: Plan) -> None:
        """Carry out the plan with one restore for each family, judged by what is there now."""
        try:
            self._firewall.apply(self._firewall.present(), plan.desired, plan.versions, plan.owner)
        except BackendFailed:
            raise
        except BackendError:
            self._save()  # what could be done is to survive the next boot too
            raise
        self._save()

    def diagnose(self) -> "Iterator[Finding]":
        """Yield what is in the way of the chain, and that it is too long."""
        from backends.xtables import diagnosing  # noqa: PLC0415 - a pass asks nothing of it
        from reconciler import Finding  # noqa: PLC0415 - as above

        state = self._firewall.present()
        yield from diagnosing.findings("iptables", state, self._firewall.hooks, sets=False)
        tables = (chains for listing in state.listings.values() for chains in listing.values())
        longest = max((len(chains.get(CHAIN, ())) for chains in tables), default=0)
        if longest >= MANY:
            yield Finding(
                f"iptables compares each packet with up to {longest:,} rules",
                "each of them takes time; a set is looked up at once",
                "treason migrate --from iptables --to nftables",
            )

    def teardown(self) -> None:
        """Remove jumps and chain, also from what is saved; the backend ipset's chain stays."""
        self._firewall.teardown(self._firewall.state(), owned=_without_sets)
        if self._persist:
            persist.clear()

    def _save(self) -> None:
        if self._persist:
            persist.write(self._firewall.state())


def _without_sets(rules: Sequence[str]) -> bool:
    return not any("--match-set treason" in rule for rule in rules)


def _advice(seen: Observed) -> list[str]:
    count = len(seen.banned) + len(seen.passed or ())
    if count < MANY:
        return []
    advice = (
        f"iptables: each packet is compared with up to {count:,} rules; use the backend ipset or"
        f" nftables, which look it up at once, from {MANY} on"
    )
    return [advice]
