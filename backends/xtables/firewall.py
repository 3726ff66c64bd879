"""The chain in the kernel: read in both families, and changed by one restore for each.

Each family is enforced by itself. One that cannot be read or changed does not keep the other open.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from backends.xtables import other, programs, reach
from backends.xtables.chain import (
    CHAIN,
    NO_SETS,
    Fixed,
    Listing,
    asks_sets,
    changes,
    contents,
    count,
    is_foreign,
    networks,
    noting,
    owners,
    parse,
    with_hidden,
)
from backends.xtables.hooks import TABLES, Hook, absent, damage, jumps, repairs
from backends.xtables.steps import Step, carry_out, in_each, of_family, performer
from reconciler import (
    BackendError,
    BackendUnreadable,
    Damage,
    Desired,
    Network,
    Networks,
    Observed,
    netlink,
)

if TYPE_CHECKING:
    from backends.xtables.asking import Asked
    from reconciler import Held

FAMILIES: Final = (4, 6)


@frozen
class State:
    """What the save programs of a variant print, as it is and read, by the family's version.

    ``unread`` are the families that cannot be read, and why; ``absent`` the hooks that no family
    has; ``unreached`` says why no packet comes to hooks that a family has.
    """

    variant: str
    saved: Mapping[int, str]
    listings: Mapping[int, Listing]
    unread: Mapping[int, BackendUnreadable] = field(factory=dict)
    absent: Sequence[Hook] = ()
    unreached: Mapping[int, Sequence[BackendError]] = field(factory=dict)

    def only(self, version: int) -> "State":
        """Return what is known of one family; raise `BackendUnreadable` if it cannot be read."""
        if version in self.unread:
            raise self.unread[version]
        saved, listings = self.saved[version], self.listings[version]
        return evolve(self, saved={version: saved}, listings={version: listings})


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
        """Read the families; raise `BackendUnreadable` if none can be."""
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

    def holds(self, network: Network, asked: "Asked") -> "Held":
        """Return what the chain decides about a network, in the family of it alone.

        ``asked`` asks the sets. Raise `BackendUnreadable`.
        """
        from backends.xtables import asking  # noqa: PLC0415 - no pass asks so
        from reconciler import Held  # noqa: PLC0415 - likewise

        version = network.version
        state = self._read([version], counted=True)
        seen = self.observe(state)
        saved, listing = state.saved[version], state.listings[version]
        try:
            tables, comes, why = asking.reached(state.variant, version, listing, self.hooks)
        except netlink.NetlinkError as error:
            tables, comes, why = self._tables(), None, error.what
        decisions = [
            each
            for table in tables[:1]
            for rules in [listing.get(table, {}).get(CHAIN, ())]
            for each in asking.decisions(rules, network, asking.counts(saved, table), asked)
        ]
        return Held(decisions, comes, why, damage=seen.damage, problems=seen.problems)

    def _read(self, versions: Sequence[int] = FAMILIES, *, counted: bool = False) -> State:
        saved: dict[int, str] = {}
        listings: dict[int, Listing] = {}
        unread: dict[int, BackendUnreadable] = {}
        for version in versions:
            try:
                saved[version] = programs.save(version, self._resolved, counted=counted)
                listings[version] = self._completed(version, parse(saved[version], self._tables()))
            except BackendUnreadable as error:
                unread[version] = error
        if not listings:
            raise unread[versions[0]]
        missing = [] if unread else absent(listings.values(), self.hooks)
        unreached = {version: self._unreached(version, each) for version, each in listings.items()}
        return State(
            self._resolved, saved, listings, unread=unread, absent=missing, unreached=unreached
        )

    def _completed(self, version: int, listing: Listing) -> Listing:
        """Mark the rules of our chain that say less in the listing than they are."""
        if self._resolved != "nft":
            return listing
        from backends.xtables.kernel import Kernel  # noqa: PLC0415 - the legacy variant needs none

        done = dict(listing)
        for table in self._tables():
            if rules := listing.get(table, {}).get(CHAIN):
                with suppress(netlink.NetlinkError):
                    sizes = Kernel().sizes(version, table, CHAIN)
                    done[table] = {**listing[table], CHAIN: with_hidden(rules, sizes)}
        return done

    def _unreached(self, version: int, listing: Listing) -> list[BackendError]:
        try:
            return [*reach.unreached(self._resolved, version, listing, self.hooks)]
        except netlink.NetlinkError as error:
            what = f"cannot tell whether packets of IPv{version} come to the chain"
            return [BackendError(f"iptables: {what}: {error.what}", error.hint)]

    def observe(self, state: State) -> Observed:
        """Return what the chains hold, what is wrong with them, and notes on the other variant."""
        self._spare(state)
        banned = passed = Networks()
        flaws: list[Damage] = []
        for version, listing in state.listings.items():
            hooks = self._hooks(state, version)
            tables = sorted({hook.table for hook in hooks})
            held = contents(listing, version, tables, self.fixed.get(version, NO_SETS))
            flaws += damage(listing, version, hooks, held)
            for content in held.values():
                banned |= content.banned
                passed |= content.passed
        problems, lacking = self._problems(state)
        notes = [*lacking, *other.notes(state.variant)]
        versions = frozenset(state.listings)
        owner = "+".join(owners(state.listings.values()))  # of two it is nobody's
        return Observed(
            banned, passed, flaws, notes, versions=versions, problems=problems, owner=owner
        )

    def _problems(self, state: State) -> tuple[list[BackendError], list[str]]:
        """Return what keeps packets from coming to the chain, and what keeps none that can come."""
        problems = [
            BackendError(
                f"iptables: {hook}: the chain to hook into does not exist",
                "start the program that creates it, or remove it from hooks; all else is done",
            )
            for hook in state.absent
        ]
        lacking: list[str] = []
        for version, listing in state.listings.items():
            problems += state.unreached.get(version, ())
            if not state.absent and not any(hook.exists(listing) for hook in self.hooks):
                hint = "name a chain in hooks that is there in both families, such as INPUT"
                error = BackendError("none of the chains in hooks exists there", hint)
                _lacks(version, error, problems, lacking)
        for version, error in state.unread.items():
            _lacks(version, error, problems, lacking)
        return problems, lacking

    def confirm(self, wanted: Desired, versions: Iterable[int] = FAMILIES) -> bool:
        """Whether the kernel counts what is wanted, and the jumps are right, without listing all.

        Where it does not count, in the legacy variant, nothing is confirmed.
        """
        if self._resolved != "nft":
            return False
        from backends.xtables.counts import confirmed  # noqa: PLC0415 - see below

        hooked = {table: [h.chain for h in self.hooks if h.table == table] for table in TABLES}
        return all(
            confirmed(version, table, chains, count(networks(wanted, version), version, fixed))
            for version, fixed in ((each, self.fixed.get(each, NO_SETS)) for each in versions)
            for table, chains in hooked.items()
        )

    def render(
        self, state: State, wanted: Desired, versions: Iterable[int] = FAMILIES, owner: str = ""
    ) -> str:
        """Return what `apply` does; ``wanted`` are the networks that are rules of the chain."""
        return "".join(
            f"# {performer(step, state.variant)}\n{step.text}"
            for version in versions
            for step in self._steps(state.only(version), wanted, owner)
        )

    def apply(
        self, state: State, wanted: Desired, versions: Iterable[int] = FAMILIES, owner: str = ""
    ) -> None:
        """Carry it out in these families, each by itself; where nothing is to be done, do nothing.

        Raise `BackendFailed` when all was refused and nothing was changed, `BackendError` when
        only a part of it was done.
        """
        in_each(
            versions,
            lambda version: carry_out(
                self._steps(state.only(version), wanted, owner), state.variant
            ),
        )

    def teardown(self, state: State, owned: Callable[[Sequence[str]], bool]) -> None:
        """Remove jumps, chain and notes from every table.

        Chains that are not ``owned``, judged by the rules of them all, stay.
        """
        self._spare(state)
        tables = [chains for listing in state.listings.values() for chains in listing.values()]
        if not owned([rule for chains in tables for rule in chains.get(CHAIN, ())]):
            return
        steps = {
            version: [
                *of_family(state.variant, version, repairs(listing, ()), {}),
                *of_family(state.variant, version, (), noting(listing, "", "")),
            ]
            for version, listing in state.listings.items()
        }
        in_each(steps, lambda version: carry_out(steps[version], state.variant))
        for version, error in state.unread.items():
            if reach.has_addresses(version):
                raise BackendError(error.what, error.hint)

    def owns_sets(self, state: State) -> bool:
        """Whether what is there tells that sets of our name are ours: a note, or a chain."""
        tables = [chains for listing in state.listings.values() for chains in listing.values()]
        return bool(owners(state.listings.values())) or any(
            asks_sets(chains.get(CHAIN, ())) for chains in tables
        )

    def _spare(self, state: State) -> None:
        """Refuse a chain of our name that somebody else made. Raise `BackendUnreadable`."""
        if owners(state.listings.values()):
            return
        for version, listing in state.listings.items():
            for table, chains in listing.items():
                rules = chains.get(CHAIN, ())
                if is_foreign(rules, version, self.fixed.get(version, NO_SETS)):
                    raise BackendUnreadable(
                        f"iptables: the chain {CHAIN} of IPv{version} {table} was not made by"
                        f" treason, so it is left as it is: it has {rules[0]!r}",
                        f"give it another name: iptables -t {table} -E {CHAIN} NAME",
                    )

    @cached_property
    def _resolved(self) -> str:
        return programs.resolve(self.variant)

    def _hooks(self, state: State, version: int) -> list[Hook]:
        """Return the places that are to have a jump.

        While a hook is absent, or no packet comes to it, nothing is unhooked: what is left may be
        all that enforces.
        """
        doubtful = state.absent or state.unreached.get(version)
        present = _hooked(state.listings[version]) if doubtful else []
        return list(dict.fromkeys([*self.hooks, *present]))

    def _tables(self) -> list[str]:
        return sorted({hook.table for hook in self.hooks})

    def _steps(self, state: State, wanted: Desired, owner: str = "") -> list[Step]:
        """Return the steps; what is no longer hooked is taken away when all else is done."""
        steps: list[Step] = []
        last: list[Step] = []
        for version, listing in state.listings.items():
            family = networks(wanted, version)
            fixed = self.fixed.get(version, NO_SETS)
            hooks = self._hooks(state, version)
            changed = {
                table: changes(listing.get(table, {}).get(CHAIN), family, version, fixed)
                for table in sorted({hook.table for hook in hooks})
            }
            needed = repairs(listing, hooks)
            steps += of_family(
                state.variant, version, [each for each in needed if not each.removes], changed
            )
            last += of_family(state.variant, version, [each for each in needed if each.removes], {})
            if owner:
                notes = noting(listing, self.hooks[0].table, owner)
                last += of_family(state.variant, version, (), notes)
        return steps + last


def _lacks(
    version: int, error: BackendError, problems: list[BackendError], lacking: list[str]
) -> None:
    """Add why a family is not enforced: to the problems if others can come by it."""
    what = f"IPv{version} cannot be enforced: {error.what}"
    if reach.has_addresses(version):
        problems.append(BackendError(what, error.hint))
    else:
        lacking.append(f"{what}; this machine has no address of it that others can reach")


def _hooked(listing: Listing) -> list[Hook]:
    """Return the places that have a jump now."""
    return [Hook(table, chain) for table in listing for chain in jumps(listing, table)]
