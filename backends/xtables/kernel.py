"""What nf_tables holds of the tables that the nft variant of iptables uses, asked by their names.

Names in capitals are those of ``linux/netfilter/nf_tables.h`` (6.1).
"""

import re
from collections.abc import Mapping
from socket import AF_INET, AF_INET6
from sys import byteorder
from typing import Final

from backends.xtables.chain import CHAIN
from reconciler import netlink

_FAMILY: Final = {4: AF_INET, 6: AF_INET6}
_GET_TABLE, _GET_CHAIN, _GET_RULE = 1, 4, 7  # NFT_MSG_*
_TABLE_NAME, _TABLE_FLAGS = 1, 2  # NFTA_TABLE_*
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK = 1, 3, 4  # NFTA_CHAIN_*
_HOOK_NUMBER: Final = 1  # NFTA_HOOK_HOOKNUM
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4  # NFTA_RULE_*
_NAME, _DATA = 1, 2  # NFTA_EXPR_*
_IMMEDIATE_DATA: Final = 2  # NFTA_IMMEDIATE_DATA
_VERDICT: Final = 2  # NFTA_DATA_VERDICT
_JUMP: Final = {1: b"\xff\xff\xff\xfd", 2: f"{CHAIN}\0".encode()}
"""NFTA_VERDICT_CODE: NFT_JUMP, which is -3; NFTA_VERDICT_CHAIN."""

_DORMANT: Final = 1  # NFT_TABLE_F_DORMANT
_PLAIN: Final = re.compile(
    rb"..\x01\x00(?:(?:counter|immediate|target|reject|log)\x00|match\x00.*comment\x00)"
    if byteorder == "little"
    else rb"..\x00\x01(?:(?:counter|immediate|target|reject|log)\x00|match\x00.*comment\x00)",
    re.DOTALL,
)
"""An expression that is no condition: it begins with its name, NFTA_EXPR_NAME."""

_ALONE: Final = ([b"counter\0", b"immediate\0"], [b"immediate\0"])
"""The expressions of a rule without a condition, of iptables and of whoever counts nothing."""

_PLACES: Final = {"PREROUTING": 0, "INPUT": 1, "FORWARD": 2, "OUTPUT": 3, "POSTROUTING": 4}
"""NF_INET_*, linux/netfilter.h."""


class Kernel(netlink.Connection):
    """A socket to nf_tables. All raise `netlink.NetlinkError`."""

    def is_dormant(self, version: int, table: str) -> bool:
        """Whether a table is switched off: it hooks none of its chains (nft(8), `dormant`)."""
        told = self._one(version, _GET_TABLE, netlink.text(_TABLE_NAME, table))
        return bool(int.from_bytes(told.get(_TABLE_FLAGS, b"")) & _DORMANT)

    def is_hooked(self, version: int, table: str, chain: str) -> bool:
        """Whether packets enter a built-in chain where they should; one that is missing will."""
        told = self.chain(version, table, chain)
        hook = dict(netlink.attributes(told.get(_CHAIN_HOOK, b"")))
        return not told or hook.get(_HOOK_NUMBER) == _PLACES[chain].to_bytes(4)

    def chain(self, version: int, table: str, name: str) -> Mapping[int, bytes]:
        """Return the attributes of a chain (NFTA_CHAIN_*); none of one that is missing."""
        names = netlink.text(_CHAIN_TABLE, table) + netlink.text(_CHAIN_NAME, name)
        return self._one(version, _GET_CHAIN, names)

    def sizes(self, version: int, table: str, chain: str) -> list[int]:
        """Return how many expressions each rule of a chain is made of."""
        return [len(expressions) for expressions in self._rules(version, table, chain)]

    def unconditional(self, version: int, table: str, chain: str) -> list[bool]:
        """Return which rules of a chain are for all packets: they decide, count and say."""
        rules = self._rules(version, table, chain)
        return [all(map(_PLAIN.match, expressions)) for expressions in rules]

    def begins_with_jump(self, version: int, table: str, chain: str) -> bool:
        """Whether the first rule of a chain jumps to ours, and does nothing else but count.

        A listing of iptables leaves out the conditions that it does not know.
        """
        rules = self._rules(version, table, chain)
        held = [dict(netlink.attributes(each)) for each in rules[0]] if rules else []
        if [each.get(_NAME) for each in held] not in _ALONE:
            return False
        data = dict(netlink.attributes(held[-1][_DATA])).get(_IMMEDIATE_DATA, b"")
        verdict = dict(netlink.attributes(data)).get(_VERDICT, b"")
        return dict(netlink.attributes(verdict)) == _JUMP

    def _rules(self, version: int, table: str, chain: str) -> list[list[bytes]]:
        """Return the expressions that each rule of a chain is made of (NFTA_EXPR_*)."""
        names = netlink.text(_RULE_TABLE, table) + netlink.text(_RULE_CHAIN, chain)
        kind = netlink.NFTABLES << 8 | _GET_RULE
        answers = self.ask(netlink.Message(kind, _FAMILY[version], names, netlink.DUMP))
        listed = (
            dict(netlink.attributes(each.body)).get(_RULE_EXPRESSIONS, b"") for each in answers
        )
        return [[body for _, body in netlink.attributes(each)] for each in listed]

    def _one(self, version: int, kind: int, names: bytes) -> Mapping[int, bytes]:
        request = netlink.Message(netlink.NFTABLES << 8 | kind, _FAMILY[version], names)
        try:
            (answer,) = self.ask(request)
        except netlink.Missing:
            return {}
        return dict(netlink.attributes(answer.body))
