"""The chain in the kernel: read in both families, and changed by one restore for each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

from attrs import field, frozen

from backends.xtables import other, programs
from backends.xtables.chain import (
    CHAIN,
    NO_SETS,
    Fixed,
    Listing,
    changes,
    contents,
    count,
    networks,
    parse,
    restore,
)
from backends.xtables.hooks import TABLES, Hook, Repair, absent, damage, jumps, repairs
from reconciler import BackendError, BackendFailed, Damage, Desired, Networks, Observed

FAMILIES: Final = (4, 6)


@frozen
class State:
    """What the save programs of a variant print, as it is and read, by the family's version."""

    variant: str
    saved: Mapping[int, str]
    listings: Mapping[int, Listing]


@frozen
class Step:
    """A text for one family's restore or, with a repair, for python-iptables."""

    version: int
    text: str
    repair: Repair | None = None


@frozen(slots=False)
class Firewall:
    """The chain of one variant (``auto``, ``nft``, ``legacy``), where it is hooked, and its sets.

    ``fixed`` are the rules that refer to sets, by the family's version.
    """

    variant: str
    hooks: tuple[Hook, ...]
    fixed: Mapping[int, Fixed] = field(factory=dict)
    _last: list[tuple[object, State]] = field(factory=list, init=False, eq=False, repr=False)

    def state(self) -> State:
        """Read both families; raise `BackendUnreadable`."""
        before = self._moment()
        state = self._read()
        self._last[:] = [(before, state)] if before and self._moment() == before else []
        return state

    def present(self) -> State:
        """Return what was read last if no ruleset has changed since, else read."""
        for moment, state in self._last:
            if moment == self._moment():
                return state
        return self.state()

    def _moment(self) -> object:
        if self._resolved != "nft":
            return None
        from backends.xtables.counts import moment  # noqa: PLC0415 - the legacy variant needs none

        return moment()

    def _read(self) -> State:
        saved = {version: programs.save(version, self._resolved) for version in FAMILIES}
        tables = self._tables()
        listings = {version: parse(text, tables) for version, text in saved.items()}
        return State(self._resolved, saved, listings)

    def observe(self, state: State) -> Observed:
        """Return what the chains hold, what is wrong with them, and notes on the other variant."""
        banned = passed = Networks()
        flaws = [
            Damage(
                f"chain {hook.chain} ({hook.table})", "does not exist, so nothing is hooked there"
            )
            for hook in absent(state.listings.values(), self.hooks)
        ]
        for version, listing in state.listings.items():
            held = contents(listing, version, self._tables(), self.fixed.get(version, NO_SETS))
            flaws += damage(listing, version, self.hooks, held)
            for content in held.values():
                banned |= content.banned
                passed |= content.passed
        return Observed(banned, passed, flaws, other.notes(state.variant))

    def confirm(self, wanted: Desired) -> bool:
        """Whether the kernel counts what is wanted, and the jumps are right, without listing all.

        Where it does not count, in the legacy variant, nothing is confirmed.
        """
        if self._resolved != "nft":
            return False
        from backends.xtables.counts import confirmed  # noqa: PLC0415 - see below

        hooked = {table: [h.chain for h in self.hooks if h.table == table] for table in TABLES}
        return all(
            confirmed(version, table, chains, count(networks(wanted, version), version, fixed))
            for version, fixed in ((each, self.fixed.get(each, NO_SETS)) for each in FAMILIES)
            for table, chains in hooked.items()
        )

    def render(self, state: State, wanted: Desired) -> str:
        """Return what `apply` does; ``wanted`` are the networks that are rules of the chain."""
        return "".join(
            f"# {_performer(step, state.variant)}\n{step.text}"
            for step in self._steps(state, wanted)
        )

    def apply(self, state: State, wanted: Desired) -> None:
        """Carry it out; a family in which nothing is to be done is left alone.

        Raise `BackendFailed` when it was refused and nothing was changed, `BackendError` when
        only a part of it was done.
        """
        _carry_out(self._steps(state, wanted), state.variant)
        if missing := absent(state.listings.values(), self.hooks):
            raise BackendError(
                f"iptables: {', '.join(map(str, missing))}: the chain to hook into does not exist",
                "start the program that creates it, or remove it from hooks; all else is done",
            )

    def teardown(self, owned: Callable[[Sequence[str]], bool] = lambda _: True) -> bool:
        """Remove jumps and chain from every table; tell whether there was anything.

        Chains that are not ``owned``, judged by the rules of them all, stay.
        """
        state = self.state()
        tables = [chains for listing in state.listings.values() for chains in listing.values()]
        if not owned([rule for chains in tables for rule in chains.get(CHAIN, ())]):
            return False
        steps = [
            step
            for version, listing in state.listings.items()
            for step in _family(state.variant, version, repairs(listing, ()), {})
        ]
        _carry_out(steps, state.variant)
        return bool(steps)

    @cached_property
    def _resolved(self) -> str:
        return programs.resolve(self.variant)

    def _tables(self) -> list[str]:
        return sorted({hook.table for hook in self.hooks})

    def _steps(self, state: State, wanted: Desired) -> list[Step]:
        """Return the steps; what is no longer hooked is taken away when all else is done.

        While a hook is absent nothing is unhooked: what is left may be all that enforces.
        """
        steps: list[Step] = []
        last: list[Step] = []
        missing = absent(state.listings.values(), self.hooks)
        for version, listing in state.listings.items():
            family = networks(wanted, version)
            fixed = self.fixed.get(version, NO_SETS)
            hooks = list(dict.fromkeys([*self.hooks, *(_hooked(listing) if missing else ())]))
            changed = {
                table: changes(listing.get(table, {}).get(CHAIN), family, version, fixed)
                for table in sorted({hook.table for hook in hooks})
            }
            needed = repairs(listing, hooks)
            steps += _family(
                state.variant, version, [each for each in needed if not each.removes], changed
            )
            last += _family(state.variant, version, [each for each in needed if each.removes], {})
        return steps + last


def _hooked(listing: Listing) -> list[Hook]:
    """Return the places that have a jump now."""
    return [Hook(table, chain) for table in listing for chain in jumps(listing, table)]


def _family(
    variant: str, version: int, repaired: Sequence[Repair], changed: Mapping[str, Sequence[str]]
) -> Iterator[Step]:
    """Yield the steps of one family.

    In the nft variant all is one text. In the legacy one the structure comes first: what the
    chain holds is enforced again at once where only a jump was lost.
    """
    lines = {table: [*each] for table, each in changed.items()}
    for repair in repaired:
        if variant == "legacy":
            new = [f"-N {CHAIN}"] if repair.creates else []
            if made := [*new, *repair.lines()]:
                yield Step(version, restore({repair.table: made}), repair)
        else:
            lines.setdefault(repair.table, []).extend(repair.lines())
    if text := restore(lines):
        yield Step(version, text)


def _carry_out(steps: Sequence[Step], variant: str) -> None:
    for done, step in enumerate(steps):
        try:
            if step.repair is not None:
                from backends.xtables import legacy  # noqa: PLC0415 - few need it

                legacy.carry_out(step.version, step.repair)
            else:
                programs.restore(step.version, variant, step.text)
        except BackendFailed as error:
            if done == 0 and step.text.count("COMMIT\n") == 1:
                raise
            what = f"{error.what}; a part of the change was done before"
            raise BackendError(what, error.hint) from None


def _performer(step: Step, variant: str) -> str:
    if step.repair is not None:
        return f"python-iptables, IPv{step.version}, in one commit"
    return " ".join(programs.restoring(step.version, variant))
