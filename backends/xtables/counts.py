"""The nft variant as the kernel counts: ten thousand rules are confirmed without being listed.

Names in capitals are those of ``linux/netfilter/nf_tables.h`` (6.1).
"""

from collections.abc import Collection
from typing import Final

from backends.xtables.chain import CHAIN
from backends.xtables.kernel import Kernel
from reconciler import netlink

_CHAIN_USE: Final = 6  # NFTA_CHAIN_USE


def moment() -> tuple[int, int] | None:
    """Name the ruleset of this namespace as it is now; None where that cannot be told.

    Every commit gives it another name.
    """
    kernel = Kernel()
    try:
        return None if kernel.namespace is None else (kernel.namespace, kernel.generation())
    except netlink.NetlinkError:
        return None


def confirmed(version: int, table: str, hooked: Collection[str], rules: int) -> bool:
    """Whether our chain has so many rules, and each of the hooked chains begins with its only jump.

    Without hooked chains there is to be none of ours. The kernel counts what uses a chain: its
    rules, and the jumps to it wherever they are.
    """
    kernel = Kernel()
    try:
        used = int.from_bytes(kernel.chain(version, table, CHAIN).get(_CHAIN_USE, b""))
        if not hooked:
            return used == 0
        begin = all(kernel.begins_with_jump(version, table, chain) for chain in hooked)
        return begin and used == rules + len(hooked)
    except netlink.NetlinkError:
        return False
