"""What the rules of the table that drop have counted, and since when."""

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from backends.nftables import stamp
from backends.nftables.expressions import DROP
from backends.nftables.ruleset import INET, NAME, Ruleset
from backends.nftables.statements import message
from reconciler import Dropped
from reconciler.netlink import DUMP, Connection, attributes

_GET_RULE: Final = 7  # NFT_MSG_GETRULE
_TABLE, _EXPRESSIONS = 1, 4  # NFTA_RULE_*
_NAME, _DATA = 1, 2  # NFTA_EXPR_*
_BYTES, _PACKETS = 1, 2  # NFTA_COUNTER_*
_VERDICT: Final = (2, 2, 1)  # NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE


@frozen
class _Counter:
    """What a rule has counted, and when it was made."""

    packets: int
    bytes: int
    made: int | None


def dropped() -> Dropped | None:
    """Return what was counted at one moment; None where no rule drops. Raise `NetlinkError`."""
    ruleset = Ruleset()
    counters = ruleset.read(lambda: [*_counters(ruleset.connection)])
    if not counters:
        return None
    made = [each.made for each in counters if each.made is not None]
    return Dropped(
        sum(each.packets for each in counters),
        sum(each.bytes for each in counters),
        min(made) if len(made) == len(counters) else None,
    )


def _counters(connection: Connection) -> Iterator[_Counter]:
    for answer in connection.ask(message(_GET_RULE, flags=DUMP)):
        told = dict(attributes(answer.body))
        if answer.family == INET and told.get(_TABLE) == f"{NAME}\0".encode():
            listed = attributes(told.get(_EXPRESSIONS, b""))
            expressions = dict(_expression(body) for _, body in listed)
            counted = expressions.get(b"counter\0")
            if counted is not None and _drops(expressions.get(b"immediate\0", {})):
                packets, held = (int.from_bytes(counted.get(x, b"")) for x in (_PACKETS, _BYTES))
                yield _Counter(packets, held, stamp.read(told.get(stamp.USER_DATA, b"")))


def _expression(body: bytes) -> tuple[bytes, Mapping[int, bytes]]:
    told = dict(attributes(body))
    return told.get(_NAME, b""), dict(attributes(told.get(_DATA, b"")))


def _drops(immediate: Mapping[int, bytes]) -> bool:
    """Whether an immediate decision is to drop."""
    data, verdict, code = _VERDICT
    found = dict(attributes(dict(attributes(immediate.get(data, b""))).get(verdict, b"")))
    return int.from_bytes(found.get(code, b"\xff")) == DROP
