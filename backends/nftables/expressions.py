"""The expressions of which rules are made, as nf_tables takes them (linux/netfilter/nf_tables.h).

A value is loaded into register 1, and compared, looked up or masked there.
"""

from typing import Final

from reconciler.netlink import attribute, nested, number, text

ACCEPT, DROP = 1, 0  # NF_ACCEPT, NF_DROP, linux/netfilter.h
JUMP: Final = -3  # NFT_JUMP
INPUT_INTERFACE, PROTOCOL = 4, 16  # NFT_META_IIF, NFT_META_L4PROTO
IPV4, IPV6 = 2, 10  # NFPROTO_*
NETWORK, TRANSPORT = 1, 2  # NFT_PAYLOAD_*_HEADER
EQUAL, AT_MOST, AT_LEAST = 0, 3, 5  # NFT_CMP_EQ, NFT_CMP_LTE, NFT_CMP_GTE

_FAMILY: Final = 15  # NFT_META_NFPROTO
_VERDICT, _FIRST = 0, 1  # NFT_REG_VERDICT, NFT_REG_1
_ELEMENT: Final = 1  # NFTA_LIST_ELEM
_DATA_VALUE, _DATA_VERDICT = 1, 2  # NFTA_DATA_*


def meta(key: int) -> bytes:
    """Load what the kernel knows about the packet."""
    return _expression("meta", number(1, _FIRST), number(2, key))


def family(number: int) -> bytes:
    """Go on for packets of one family."""
    return meta(_FAMILY) + compare(bytes([number]))


def payload(header: int, offset: int, length: int) -> bytes:
    """Load bytes of a header."""
    return _expression(
        "payload", number(1, _FIRST), number(2, header), number(3, offset), number(4, length)
    )


def compare(value: bytes, operator: int = EQUAL) -> bytes:
    """Go on if the register compares so with the value."""
    return _expression("cmp", number(1, _FIRST), number(2, operator), nested(3, data(value)))


def mask(bits: bytes) -> bytes:
    """Keep only these bits of the register."""
    return _expression(
        "bitwise",
        number(1, _FIRST), number(2, _FIRST), number(3, len(bits)),
        nested(4, data(bits)), nested(5, data(bytes(len(bits)))),
    )  # fmt: skip


def lookup(name: str, identity: int | None = None, *, verdict: bool = False) -> bytes:
    """Go on if the set holds the register; a map may give the verdict.

    ``identity`` stands for a set that is made in the same transaction.
    """
    return _expression(
        "lookup",
        text(1, name), number(2, _FIRST),
        number(3, _VERDICT) if verdict else b"",
        b"" if identity is None else number(4, identity),
    )  # fmt: skip


def counter() -> bytes:
    """Count packets and bytes, from nothing."""
    return _expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


def decide(code: int) -> bytes:
    """End with a verdict."""
    return _expression("immediate", number(1, _VERDICT), nested(2, verdict(code)))


def data(value: bytes) -> bytes:
    """Return a value as data."""
    return attribute(_DATA_VALUE, value)


def verdict(code: int, chain: str = "") -> bytes:
    """Return a verdict as data; a jump names its chain."""
    told = attribute(1, code.to_bytes(4, signed=True))
    return nested(_DATA_VERDICT, told, text(2, chain) if chain else b"")


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(_ELEMENT, text(1, name), nested(2, *attributes))
