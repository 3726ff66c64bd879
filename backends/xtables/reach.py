"""Whether packets reach the chain: what is in place, and reached by nothing, drops nobody.

A listing tells neither whether a table is dormant nor whether a built-in chain is hooked: nf_tables
does. In the legacy variant neither can be otherwise. None of it is ours to mend.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Final

from attrs import define, field

from backends.xtables.chain import Listing, bare, leads_to
from backends.xtables.hooks import BUILT_IN, JUMP, Hook
from backends.xtables.kernel import Kernel
from reconciler import BackendError, Network, netlink

_LOCAL: Final = tuple(map(Network.parse, ("127.0.0.0/8", "::1", "169.254.0.0/16", "fe80::/10")))
"""Loopback and link-local: RFC 1122 §3.2.1.3, RFC 3927, RFC 4291 §2.5."""

_FAMILY: Final = {4: "ip", 6: "ip6"}
_INCOMING: Final = {"PREROUTING", "INPUT", "FORWARD"}
"""Built-in chains that packets from others enter."""

_FINAL: Final = {"ACCEPT", "DROP", "REJECT"}
_ALWAYS: Final = re.compile(
    r"(?:-m comment --comment(?: \S+)? )?-[jg] (?:\S+)(?: --reject-with \S+)?"
)
"""A rule without a condition, its quoted text left out."""

_DEEPEST: Final = 200
"""Chains that lead to each other, from which on the ways are not followed."""


def has_addresses(version: int) -> bool:
    """Whether others can speak to this machine by a family, as far as can be told."""
    try:
        own = [each for each in netlink.addresses() if each.version == version]
    except netlink.NetlinkError:
        return True
    return not all(any(local <= each <= local.end for local in _LOCAL) for each in own)


def unreached(
    variant: str, version: int, listing: Listing, hooks: Sequence[Hook]
) -> Iterator[BackendError]:
    """Yield why packets of a family do not come to those of the hooks that exist.

    Raise `NetlinkError` where the kernel cannot be asked.
    """
    kernel = Kernel() if variant == "nft" else None
    existing = [hook for hook in hooks if hook.exists(listing)]
    for table in sorted({hook.table for hook in existing}):
        if kernel is not None and kernel.is_dormant(version, table):
            yield BackendError(
                f"iptables: the table {table} (IPv{version}) is dormant, so it drops nothing",
                f"wake it up: nft add table {_FAMILY[version]} {table}",
            )
            continue
        chains = listing.get(table, {})
        asked = {hook.chain for hook in existing if hook.table == table}
        entered = {
            chain
            for chain in BUILT_IN[table]
            if kernel is None or kernel.is_hooked(version, table, chain)
        }
        if asked - entered:
            walk = _Walk(chains, cache(partial(_plain, kernel, version, table)))
            for chain in sorted(_INCOMING & entered):
                walk.enter(chain)
            entered |= walk.found.keys()
        yield from (_unreached(version, table, chain) for chain in sorted(asked - entered))
        for chain in sorted(asked & entered):
            jumps = chains.get(chain, ())[:1] == [JUMP]
            if kernel and jumps and not kernel.begins_with_jump(version, table, chain):
                yield BackendError(
                    f"iptables: the jump in {chain} (IPv{version} {table}) has a condition that"
                    " iptables does not show",
                    "delete that rule, and let the next pass make it anew: nft -a list chain"
                    f" {_FAMILY[version]} {table} {chain}",
                )


@define
class _Walk:
    """Goes the ways of packets through chains; ``found`` are those that some may come to.

    ``plain`` tells of each rule of a chain whether it has no condition, where that is known.
    """

    chains: Mapping[str, Sequence[str]]
    plain: Callable[[str], Sequence[bool]]
    found: dict[str, bool] = field(factory=dict)

    def enter(self, chain: str, depth: int = 0) -> bool:
        """Go through a chain; return whether no packet ever leaves it at its end."""
        if depth > _DEEPEST:
            self.found = dict.fromkeys(self.chains, False)  # then any may be come to
        if chain in self.found:
            return self.found[chain]
        self.found[chain] = False  # chains that lead in a circle are gone through once
        self.found[chain] = self._keeps(chain, depth)
        return self.found[chain]

    def _keeps(self, chain: str, depth: int) -> bool:
        """Follow the rules up to one behind which no packet comes; return whether none goes back.

        One goes back at the chain's end, by a return, and from a chain that it was sent to.
        """
        back = False
        for place, rule in enumerate(self.chains.get(chain, ())):
            target, gone = leads_to(rule)
            inside = target in self.chains
            kept = self.enter(target, depth + 1) if inside else target in _FINAL
            always = self._is_unconditional(chain, place, rule)
            if (inside and gone) or (not inside and target == "RETURN"):
                back |= not kept
                if always:
                    return not back
            elif always and kept:
                return not back
        return False

    def _is_unconditional(self, chain: str, place: int, rule: str) -> bool:
        """Whether a rule is for all packets; the listing leaves out what iptables does not know."""
        if _ALWAYS.fullmatch(bare(rule)) is None:
            return False
        plain = self.plain(chain)
        return len(plain) != len(self.chains[chain]) or plain[place]


def _plain(kernel: Kernel | None, version: int, table: str, chain: str) -> Sequence[bool]:
    """Return which rules of a chain have no condition; nothing in the legacy variant."""
    return kernel.unconditional(version, table, chain) if kernel else ()


def _unreached(version: int, table: str, chain: str) -> BackendError:
    what = f"iptables: no packet comes to the chain {chain} (IPv{version} {table})"
    if chain in BUILT_IN[table]:
        command = f"nft delete chain {_FAMILY[version]} {table} {chain}"
        return BackendError(
            f"{what}: it has lost its hook",
            f"look at its rules, then let the next pass make it anew: {command}",
        )
    return BackendError(
        f"{what}: no built-in chain leads to it",
        "start the program that uses it, or name a built-in chain in hooks, such as INPUT",
    )
