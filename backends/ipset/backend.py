"""The sets and the chain together: read back, changed and confirmed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import evolve

from backends.ipset import Settings, layout, programs
from backends.xtables.chain import Fixed
from backends.xtables.firewall import Firewall, State
from backends.xtables.hooks import chain_hooks
from reconciler import (
    BackendError,
    BackendFailed,
    Damage,
    Desired,
    Network,
    Networks,
    Observed,
    Plan,
)

_EVERYTHING: Final = Networks.of(Network.of(version, 0, 0) for version in (4, 6))


class Ipset:
    """Six sets and the chain ``TREASON`` in both families, in the caller's network namespace.

    A network of length 0, which no set takes, is a rule of the chain.
    """

    def __init__(self, chosen: Settings) -> None:
        self._firewall = Firewall(chosen.variant, chain_hooks(chosen.hooks), _fixed({}))

    def observe(self) -> Observed:
        """Read the sets, the chain and its jumps back."""
        chain, found, flaws = self._structure()
        held = {"DROP": chain.banned, "RETURN": chain.passed or Networks()}
        for each in layout.SETS:
            header = found.get(each.name)
            if header and header.is_like(each) and header.entries != 0:
                members, strange = layout.members(each, programs.save(each.name))
                held[each.verdict] |= members
                flaws += strange
        return Observed(held["DROP"], held["RETURN"], flaws, chain.notes)

    def confirm(self, plan: Plan) -> bool:
        """Whether sets, chain and jumps are right, and the kernel counts what is desired."""
        chain, found, flaws = self._structure()
        rules = _everything(plan.desired)
        ruled = chain.banned == rules.banned and chain.passed == rules.passed
        return not flaws and ruled and layout.counted(plan.desired, found)

    def render(self, plan: Plan) -> str:
        """Return the texts that `apply` sends, and the program that gets each."""
        state, steps = self._steps(plan)
        wanted = _everything(plan.desired)
        parts = [*_told(steps.before)]
        if steps.stand_ins:
            parts.append(self._using(steps.stand_ins).render(state, wanted))
            parts += [*_told(steps.between), "# and back\n"]
        parts.append(self._firewall.render(state, wanted))
        return "".join([*parts, *_told([steps.after])])

    def apply(self, plan: Plan) -> None:
        """Carry out the plan: the sets, then the chain that asks them, then what is left over.

        Each set and the chain are changed so that what is banned before and after stays enforced.
        """
        state, steps = self._steps(plan)
        wanted = _everything(plan.desired)
        programs.restore(steps.before)
        if steps.stand_ins:
            with _going_on():
                self._using(steps.stand_ins).apply(state, wanted)
            programs.restore(steps.between)
            state = self._firewall.state()
        self._firewall.apply(state, wanted)
        _clear_away(steps.after)

    def teardown(self) -> None:
        """Remove the jumps, the chain and the sets; the backend iptables' chain stays."""
        self._firewall.teardown(owned=_with_sets)
        _clear_away(layout.clearance(layout.headers(programs.headers())))

    def _structure(self) -> tuple[Observed, dict[str, layout.Header], list[Damage]]:
        """Read all but the sets' elements: the chain, the sets' headers, and what is wrong."""
        chain = self._firewall.observe(self._firewall.state())
        found = layout.headers(programs.headers())
        flaws = [*layout.damage(found), *chain.damage]
        if ruled := _ruled(chain):
            what = f"has rules for {len(ruled):,} networks that belong into sets"
            flaws.append(Damage("chain TREASON", what))
        return chain, found, flaws

    def _steps(self, plan: Plan) -> tuple[State, layout.Steps]:
        state = self._firewall.present()
        found = layout.headers(programs.headers())
        return state, layout.steps(plan, found, _ruled(self._firewall.observe(state)))

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
    sets = any("--match-set treason" in rule for rule in rules)
    return sets or not any(rule.startswith("-s ") for rule in rules)


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


@contextmanager
def _going_on() -> Iterator[None]:
    """Let an incomplete chain be told by the next step, which is the same but for the sets."""
    try:
        yield
    except BackendFailed:
        raise
    except BackendError:
        pass
