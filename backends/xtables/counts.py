"""The nft variant as the kernel counts: ten thousand rules are confirmed without being listed.

Names in capitals are those of ``linux/netfilter/nf_tables.h`` (6.1).
"""

from collections.abc import Collection
from typing import Final

from backends.xtables.chain import CHAIN
from backends.xtables.kernel import Kernel
from reconciler import netlink

_CHAIN_USE: Final = 6  # NFTA_CHAIN_USE
_RULE_EXPRESSIONS: Final = 4  # NFTA_RULE_EXPRESSIONS
_NAME, _DATA = 1, 2  # NFTA_EXPR_*
_IMMEDIATE_DATA: Final = 2  # NFTA_IMMEDIATE_DATA
_VERDICT: Final = 2  # NFTA_DATA_VERDICT
_JUMP: Final = {1: b"\xff\xff\xff\xfd", 2: f"{CHAIN}\0".encode()}
"""NFTA_VERDICT_CODE: NFT_JUMP, which is -3; NFTA_VERDICT_CHAIN."""


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
        begin = all(_begins(kernel, version, table, chain) for chain in hooked)
        return begin and used == rules + len(hooked)
    except netlink.NetlinkError:
        return False


def _begins(kernel: Kernel, version: int, table: str, chain: str) -> bool:
    """Whether the first rule of a chain counts, and jumps to ours, and does nothing else."""
    rules = kernel.rules(version, table, chain)
    if not rules:
        return False
    expressions = rules[0].get(_RULE_EXPRESSIONS, b"")
    held = [dict(netlink.attributes(each)) for _, each in netlink.attributes(expressions)]
    if [each.get(_NAME) for each in held] != [b"counter\0", b"immediate\0"]:
        return False
    data = dict(netlink.attributes(held[1][_DATA])).get(_IMMEDIATE_DATA, b"")
    verdict = dict(netlink.attributes(data)).get(_VERDICT, b"")
    return dict(netlink.attributes(verdict)) == _JUMP
