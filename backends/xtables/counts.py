"""The nft variant as the kernel counts: ten thousand rules are confirmed without being listed.

Names in capitals are those of ``linux/netfilter/nf_tables.h`` (6.1).
"""

from collections.abc import Collection
from socket import AF_INET, AF_INET6
from typing import Final

from backends.xtables.chain import CHAIN
from reconciler import netlink

_FAMILY: Final = {4: AF_INET, 6: AF_INET6}
_GET_CHAIN, _GET_RULE = 4, 7  # NFT_MSG_GETCHAIN, NFT_MSG_GETRULE
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_USE = 1, 3, 6  # NFTA_CHAIN_*
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4  # NFTA_RULE_*
_NAME, _DATA = 1, 2  # NFTA_EXPR_*
_IMMEDIATE_DATA: Final = 2  # NFTA_IMMEDIATE_DATA
_VERDICT: Final = 2  # NFTA_DATA_VERDICT
_JUMP: Final = {1: b"\xff\xff\xff\xfd", 2: f"{CHAIN}\0".encode()}
"""NFTA_VERDICT_CODE: NFT_JUMP, which is -3; NFTA_VERDICT_CHAIN."""


def moment() -> tuple[int, int] | None:
    """Name the ruleset of this namespace as it is now; None where that cannot be told.

    Every commit gives it another name.
    """
    kernel = netlink.Connection()
    try:
        return None if kernel.namespace is None else (kernel.namespace, kernel.generation())
    except netlink.NetlinkError:
        return None


def confirmed(version: int, table: str, hooked: Collection[str], rules: int) -> bool:
    """Whether our chain has so many rules, and each of the hooked chains begins with its only jump.

    Without hooked chains there is to be none of ours. The kernel counts what uses a chain: its
    rules, and the jumps to it wherever they are.
    """
    kernel = netlink.Connection()
    try:
        used = _used(kernel, _FAMILY[version], table)
        if not hooked:
            return used == 0
        begin = all(_begins(kernel, _FAMILY[version], table, chain) for chain in hooked)
        return begin and used == rules + len(hooked)
    except netlink.NetlinkError:
        return False


def _used(kernel: netlink.Connection, family: int, table: str) -> int:
    names = netlink.text(_CHAIN_TABLE, table) + netlink.text(_CHAIN_NAME, CHAIN)
    try:
        (answer,) = kernel.ask(netlink.Message(netlink.NFTABLES << 8 | _GET_CHAIN, family, names))
    except netlink.Missing:
        return 0
    return int.from_bytes(dict(netlink.attributes(answer.body)).get(_CHAIN_USE, b""))


def _begins(kernel: netlink.Connection, family: int, table: str, chain: str) -> bool:
    """Whether the first rule of a chain counts, and jumps to ours, and does nothing else."""
    names = netlink.text(_RULE_TABLE, table) + netlink.text(_RULE_CHAIN, chain)
    kind = netlink.NFTABLES << 8 | _GET_RULE
    rules = [*kernel.ask(netlink.Message(kind, family, names, netlink.DUMP))]
    if not rules:
        return False
    expressions = dict(netlink.attributes(rules[0].body)).get(_RULE_EXPRESSIONS, b"")
    held = [dict(netlink.attributes(each)) for _, each in netlink.attributes(expressions)]
    if [each.get(_NAME) for each in held] != [b"counter\0", b"immediate\0"]:
        return False
    data = dict(netlink.attributes(held[1][_DATA])).get(_IMMEDIATE_DATA, b"")
    verdict = dict(netlink.attributes(data)).get(_VERDICT, b"")
    return dict(netlink.attributes(verdict)) == _JUMP
