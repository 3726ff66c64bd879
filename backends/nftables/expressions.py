"""The expressions of which rules are made, as nf_tables takes them (linux/netfilter/nf_tables.h).

A value is loaded into register 1, and compared, looked up or masked there.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from attrs import evolve, frozen

from reconciler.netlink import attribute, attributes, nested, number, text

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


_SET: Final = 1  # NFTA_LOOKUP_SET
_MASK: Final = 4  # NFTA_BITWISE_MASK
_RANGE_OPERATOR: Final = 2  # NFTA_RANGE_OP: NFT_RANGE_EQ, which is 0, or NFT_RANGE_NEQ
_DATA: Final = {"cmp": {3}, "bitwise": {4, 5, 7}, "immediate": {2}, "range": {3, 4}}
"""Attributes that are data themselves: NFTA_CMP_DATA, NFTA_BITWISE_MASK, _XOR, _DATA,
NFTA_IMMEDIATE_DATA, NFTA_RANGE_FROM_DATA and _TO_DATA."""

_TOLD_ANYWAY: Final[Mapping[str, Mapping[int, bytes | None]]] = {
    "lookup": {4: None, 5: bytes(4)},  # NFTA_LOOKUP_SET_ID, which is for sending, and _FLAGS
    "bitwise": {6: bytes(4)},  # NFTA_BITWISE_OP: NFT_BITWISE_MASK_XOR, Linux 5.6
    "counter": {1: None, 2: None, 3: None},  # NFTA_COUNTER_BYTES, _PACKETS, _PAD
}
"""Attributes that decide nothing, with any value or with this one: kernels tell them or do not."""


@frozen
class Expression:
    """An expression as values that can be compared, however it came: by attribute (NFTA_*).

    A value is bytes, or such a mapping of what is nested.
    """

    name: str
    values: Mapping[int, object]


def decoded(listed: bytes) -> Iterator[Expression]:
    """Yield the expressions of a rule (NFTA_RULE_EXPRESSIONS), ours or as the kernel gives it.

    A range, as nft writes it from 1.1 on, is given as the two comparisons that it means.
    """
    for _, body in attributes(listed):
        expression = _decoded(body)
        if expression.name == "range" and expression.values.get(_RANGE_OPERATOR) == bytes(4):
            yield from _compared(expression.values)
        else:
            yield expression


def _compared(values: Mapping[int, object]) -> Iterator[Expression]:
    """Yield what a range means: NFTA_RANGE_FROM_DATA at least, and NFTA_RANGE_TO_DATA at most."""
    for operator, bound in ((AT_LEAST, 3), (AT_MOST, 4)):
        told = {1: values.get(1), 2: operator.to_bytes(4), 3: values.get(bound)}
        yield Expression("cmp", told)


def looked_up(expression: Expression) -> str:
    """Return the name of the set that an expression asks; empty for all others."""
    name = expression.values.get(_SET, b"") if expression.name == "lookup" else b""
    return name.rstrip(b"\0").decode(errors="replace") if isinstance(name, bytes) else ""


def asking(expression: Expression, content: Mapping[bytes, object]) -> Expression:
    """Return the look-up with the content of an anonymous map in the place of its name."""
    return evolve(expression, values={**expression.values, _SET: content})


def mask_of(expression: Expression) -> bytes:
    """Return the bits that an expression keeps of the register; empty for all others."""
    data = expression.values.get(_MASK) if expression.name == "bitwise" else None
    value = data.get(_DATA_VALUE, b"") if isinstance(data, Mapping) else b""
    return value if isinstance(value, bytes) else b""


def counted(listed: bytes) -> int | None:
    """Return how many packets a rule has counted (NFTA_COUNTER_PACKETS); None if it does not."""
    for _, body in attributes(listed):
        told = dict(attributes(body))
        if told.get(1) == b"counter\0":  # NFTA_EXPR_NAME
            return int.from_bytes(dict(attributes(told.get(2, b""))).get(2, b""))
    return None


@lru_cache(1024)  # most of the expressions of a table are the same
def _decoded(body: bytes) -> Expression:
    told = dict(attributes(body))
    name = told.get(1, b"").rstrip(b"\0").decode(errors="replace")  # NFTA_EXPR_NAME
    values: dict[int, object] = dict(attributes(told.get(2, b"")))  # NFTA_EXPR_DATA
    for kind, value in _TOLD_ANYWAY.get(name, {}).items():
        if value is None or values.get(kind) == value:
            values.pop(kind, None)
    for kind in _DATA.get(name, set()) & values.keys():
        values[kind] = data_of(dict(attributes(told[2]))[kind])
    return Expression(name, values)


def data_of(body: bytes) -> Mapping[int, object]:
    """Return what data is: a value, or a verdict with the name of its chain (NFTA_DATA_*)."""
    told: dict[int, object] = {}
    for kind, value in attributes(body):
        told[kind] = dict(attributes(value)) if kind == _DATA_VERDICT else value
    return told


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
