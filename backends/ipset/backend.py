"""The sets and the chain together: read back, changed and confirmed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from backends.ipset import Settings, layout, programs, saved
from backends.xtables.chain import Fixed, asks_sets
from backends.xtables.firewall import Firewall, State
from backends.xtables.hooks import chain_hooks
from backends.xtables.steps import in_each
from reconciler import (
    BackendError,
    BackendFailed,
    BackendUnreadable,
    Damage,
    Desired,
    Network,
    Networks,
    Observed,
    Plan,
)

if TYPE_CHECKING:
    from reconciler import Dropped, Finding, Held

_EVERYTHING: Final = Networks.of(Network.of(version, 0, 0) for version in (4, 6))


class Ipset:
    """Six sets and the chain ``TREASON`` in both families, in the caller's network namespace.

    A network of length 0, which no set takes, is a rule of the chain.
    """

    def __init__(self, chosen: Settings) -> None:
        self._variant = chosen.variant
        self._firewall = Firewall(chosen.variant, chain_hooks(chosen.hooks), _fixed({}))

    def observe(self) -> Observed:
        """Read the sets, the chain and its jumps back."""
        chain, found, flaws = self._structure()
        held = {"DROP": chain.banned, "RETURN": chain.passed or Networks()}
        for each in layout.sets(chain.versions):
            header = found.get(each.name)
            if header and header.is_like(each) and header.entries != 0:
                members, strange = layout.members(each, programs.save(each.name))
                held[each.verdict] |= members
                flaws += strange
        notes = [*chain.notes, *saved.notes()]
        return evolve(chain, banned=held["DROP"], passed=held["RETURN"], damage=flaws, notes=notes)

    def holds(self, network: Network) -> "Held":
        """Read the chain of the network's family, and ask its sets for the network by its key."""
        from backends.ipset import asking  # noqa: PLC0415 - no pass asks so

        return self._firewall.holds(network, asking.members)

    def dropped(self) -> "Dropped | None":
        """Return what the rules of the chain that drop have counted."""
        from backends.xtables.dropped import dropped  # noqa: PLC0415 - no pass counts

        return dropped(self._variant)

    def confirm(self, plan: Plan) -> bool:
        """Whether sets, chain and jumps are right, and the kernel counts what is desired."""
        chain, found, flaws = self._structure()
        rules = _everything(plan.desired)
        ruled = chain.banned == rules.banned and chain.passed == rules.passed
        counted = layout.counted(plan.desired, found, chain.versions)
        return not flaws and not chain.problems and ruled and counted

    def render(self, plan: Plan) -> str:
        """Return the texts that `apply` sends, and the program that gets each."""
        state, found = self._firewall.present(), layout.headers(programs.headers())
        parts: list[str] = []
        for version in sorted(plan.versions):
            one, steps = self._steps(plan, state, found, version)
            wanted = _everything(plan.desired.of(version))
            parts += _told(steps.before)
            if steps.stand_ins:
                parts.append(self._using(steps.stand_ins).render(one, wanted, [version]))
                parts += [*_told(steps.between), "# and back\n"]
            parts.append(self._firewall.render(one, wanted, [version], plan.owner))
            parts += _told([steps.after])
        return "".join(parts)

    def apply(self, plan: Plan) -> None:
        """Carry out the plan: the sets, then the chain that asks them, then what is left over.

        Each set and the chain are changed so that what is banned before and after stays enforced.
        """
        state, found = self._firewall.present(), layout.headers(programs.headers())

        def change(version: int) -> bool:
            one, steps = self._steps(plan, state, found, version)
            wanted = _everything(plan.desired.of(version))
            programs.restore(steps.before)
            if steps.stand_ins:
                self._using(steps.stand_ins).apply(one, wanted, [version])
                programs.restore(steps.between)
                one = self._firewall.state().only(version)
            self._firewall.apply(one, wanted, [version], plan.owner)
            _clear_away(steps.after)
            return True

        in_each(sorted(plan.versions), change)

    def diagnose(self) -> "Iterator[Finding]":
        """Yield what is in the way of the chain, and which saved rules cannot be loaded."""
        from backends.xtables import diagnosing  # noqa: PLC0415 - a pass asks nothing of it

        state = self._firewall.present()
        yield from diagnosing.findings("ipset", state, self._firewall.hooks, sets=True)
        yield from saved.findings()

    def teardown(self) -> list[str]:
        """Remove the jumps, the chain and the sets; the backend iptables' chain stays."""
        state = self._firewall.state()
        found = self._headers(state)
        self._firewall.teardown(state, owned=_with_sets)
        _clear_away(layout.clearance(found, state.listings))
        for version, error in state.unread.items():
            if layout.clearance(found, [version]):
                raise BackendError(f"IPv{version} cannot be changed: {error.what}", error.hint)
        return [*saved.left()]

    def _structure(self) -> tuple[Observed, dict[str, layout.Header], list[Damage]]:
        """Read all but the sets' elements: the chain, the sets' headers, and what is wrong."""
        state = self._firewall.state()
        chain, found = self._firewall.observe(state), self._headers(state)
        flaws = [*layout.damage(found, chain.versions), *chain.damage]
        if ruled := _ruled(chain):
            what = f"has rules for {len(ruled):,} networks that belong into sets"
            flaws.append(Damage("chain TREASON", what))
        return chain, found, flaws

    def _headers(self, state: State) -> dict[str, layout.Header]:
        """Read the sets' headers. Raise `BackendUnreadable` if somebody else made one of our name.

        They are ours while a note or the chain says so; else, if they are as we make them.
        """
        found = layout.headers(programs.headers())
        for stranger in () if self._firewall.owns_sets(state) else layout.strangers(found):
            name = stranger.partition(" ")[0]
            raise BackendUnreadable(
                f"ipset: the set {stranger} was not made by treason, so it is left as it is",
                f"give it another name, once no rule uses it: ipset rename {name} NAME",
            )
        return found

    def _steps(
        self, plan: Plan, state: State, found: Mapping[str, layout.Header], version: int
    ) -> tuple[State, layout.Steps]:
        """Return what is known of a family's chain, and how its sets are changed."""
        one = state.only(version)
        ruled = _ruled(self._firewall.observe(one))
        return one, layout.steps(plan, found, version, ruled)

    def _using(self, stand_ins: Mapping[str, str]) -> Firewall:
        """Return the chain with other sets in the place of some."""
        return evolve(self._firewall, fixed=_fixed(stand_ins))


def _fixed(stand_ins: Mapping[str, str]) -> dict[int, Fixed]:
    return {
        version: Fixed(
            tuple(layout.chain_rules(version, stand_ins, "RETURN")),
            tuple(layout.chain_rules(version, stand_ins, "DROP")),
        )
        for version in (4, 6)
    }


def _ruled(chain: Observed) -> Networks:
    """Return the networks that the chain has rules for, though a set would take them."""
    return (chain.banned | (chain.passed or Networks())) - _EVERYTHING


def _everything(state: Desired) -> Desired:
    """Return the networks that are rules of the chain: those of length 0."""
    return Desired(_EVERYTHING & state.banned, _EVERYTHING & state.passed)


def _with_sets(rules: Sequence[str]) -> bool:
    """Whether the chain is ours: not one that has rules for networks, and none for sets."""
    return asks_sets(rules) or not any(rule.startswith("-s ") for rule in rules)


def _clear_away(text: str) -> None:
    """Destroy what is left over, each set by itself, so that one that is in use stops no other."""
    refused: dict[str, BackendFailed] = {}
    for line in text.splitlines(keepends=True):
        try:
            programs.restore(line)
        except BackendFailed as error:
            refused[line.split()[1]] = error
    for first in refused.values():
        raise BackendError(f"{first.what} ({', '.join(refused)})", first.hint)


def _told(pieces: Iterable[str]) -> list[str]:
    told = "".join(pieces)
    return ["# ipset restore\n", told] if told else []
