"""The statements of nft(8) that a change is made of: each as text, and as netlink messages.

Message types and attributes are those of linux/netfilter/nf_tables.h.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final, Literal, Protocol

from attrs import field, frozen

from backends.nftables import elements
from backends.nftables import expressions as expr
from backends.nftables.ruleset import INET, NAME
from backends.nftables.stamp import stamp
from reconciler import Network
from reconciler.netlink import (
    APPEND,
    CREATE,
    NESTED,
    NFTABLES,
    Message,
    attribute,
    nested,
    number,
    text,
)

FAMILY: Final = "inet"
TABLE: Final = f"{FAMILY} {NAME}"

NEW_TABLE, DELETE_TABLE = 0, 2  # NFT_MSG_*
NEW_CHAIN, DELETE_CHAIN = 3, 5
NEW_RULE, DELETE_RULE = 6, 8
NEW_SET, GET_SET, DELETE_SET = 9, 10, 11
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14

NOTE: Final = "database"
"""The set that notes whose the table is."""

SET_COMMENT: Final = 7
"""NFTNL_UDATA_SET_COMMENT: where nft keeps a set's comment (libnftnl's udata.h)."""

_NOTE_IDENTITY: Final = 0xFF
"""Names that set within a transaction."""

_ANONYMOUS, _CONSTANT, _INTERVAL, _MAP = 1, 2, 4, 8  # NFT_SET_*
_VERDICTS: Final = 0xFFFFFF00  # NFT_DATA_VERDICT
_ADDRESS: Final = {4: (7, 4), 6: (8, 16)}
"""How nft numbers the types ipv4_addr and ipv6_addr (libnftables' datatype.h), and their bytes."""

_PREROUTING, _RAW = 0, -300  # NF_INET_PRE_ROUTING, NF_IP_PRI_RAW


class Statement(Protocol):
    """A statement that changes the table."""

    def text(self) -> str:
        """Return it as nft reads it."""

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""


def message(kind: int, *body: bytes, flags: int = 0) -> Message:
    """Return a message of nf_tables about the table."""
    return Message(NFTABLES << 8 | kind, INET, text(1, NAME) + b"".join(body), flags)


@frozen
class Set:
    """A set of addresses of one family: a hash of hosts, or an interval set of networks.

    ``shard`` is the number of the part when the hosts are spread over several hashes: the last
    four bits of the address's ``byte``.
    """

    name: str
    version: int
    interval: bool
    shard: int | None = None
    byte: int = 0

    @property
    def type(self) -> str:
        """The line that tells its type."""
        return f"type ipv{self.version}_addr"

    @property
    def key(self) -> tuple[int, int]:
        """How nft numbers its type, and the bytes of an address."""
        return _ADDRESS[self.version]

    @property
    def width(self) -> int:
        """The bytes of an address."""
        return self.key[1]

    @property
    def banned(self) -> bool:
        """Whether its members are dropped; else they are passed."""
        return self.name.startswith("banned")

    def lines(self, size: int) -> list[str]:
        """Its definition; ``size`` counts for a hash only."""
        return [self.type, "flags interval" if self.interval else f"size {size}"]


@frozen
class Rule:
    """A rule as nft lists it, and its expressions; ``jumps`` is a map from values to chains."""

    text: str
    expressions: bytes = field(repr=False)
    jumps: "Jumps | None" = None

    def decoded(self) -> tuple[expr.Expression, ...]:
        """Return its expressions as the kernel's are decoded, to be compared."""
        held = self.jumps.content() if self.jumps else None
        return tuple(
            expr.asking(each, held) if held and expr.looked_up(each) else each
            for each in expr.decoded(self.expressions)
        )

    def messages(self, chain: str) -> Iterator[Message]:
        """Yield what adds it at the end of the chain; one that counts notes since when."""
        if self.jumps:
            yield from self.jumps.messages()
        listed = attribute(4 | NESTED, self.expressions)
        made = stamp() if " counter " in self.text else b""
        yield message(NEW_RULE, text(2, chain), listed, made, flags=CREATE | APPEND)


@frozen
class Jumps:
    """The anonymous map of a rule: from a masked address to the chain that is to go on.

    ``identity`` names the map within its transaction.
    """

    version: int
    identity: int
    chains: Mapping[bytes, str]

    def content(self) -> dict[bytes, object]:
        """Return what is held under each value, as it is decoded."""
        verdicts = ((value, expr.verdict(expr.JUMP, each)) for value, each in self.chains.items())
        return {value: expr.data_of(verdict) for value, verdict in verdicts}

    def messages(self) -> Iterator[Message]:
        """Yield what makes the map."""
        kind, width = _ADDRESS[self.version]
        name, identity = text(2, "__map%d"), number(10, self.identity)
        yield message(
            NEW_SET, name, number(3, _ANONYMOUS | _CONSTANT | _MAP),
            number(4, kind), number(5, width), number(6, _VERDICTS), number(7, 0),
            nested(9, number(1, len(self.chains))), identity, flags=CREATE,
        )  # fmt: skip
        listed = (
            nested(1, nested(1, expr.data(value)), nested(2, expr.verdict(expr.JUMP, chain)))
            for value, chain in self.chains.items()
        )
        yield message(NEW_ELEMENT, name, nested(3, *listed), number(4, self.identity), flags=CREATE)


@frozen
class NewTable:
    """Make the table, unless it is there."""

    def text(self) -> str:
        """Return it as nft reads it."""
        return f"add table {TABLE}"

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        yield message(NEW_TABLE, flags=CREATE)


@frozen
class DeleteTable:
    """Delete the table with all that is in it."""

    def text(self) -> str:
        """Return it as nft reads it."""
        return f"delete table {TABLE}"

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        yield message(DELETE_TABLE)


@frozen
class NewSet:
    """Make a set; ``size`` is what a hash holds at most."""

    set: Set
    size: int
    identity: int

    def text(self) -> str:
        """Return it as nft reads it."""
        lines = "; ".join(self.set.lines(self.size))
        return f"add set {TABLE} {self.set.name} {{ {lines}; }}"

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        kind, width = _ADDRESS[self.set.version]
        yield message(
            NEW_SET, text(2, self.set.name), number(3, _INTERVAL if self.set.interval else 0),
            number(4, kind), number(5, width), number(10, self.identity),
            b"" if self.set.interval else nested(9, number(1, self.size)),
            flags=CREATE,
        )  # fmt: skip


@frozen
class NewNote:
    """Make an empty set whose comment says for which database the table was changed last."""

    comment: str

    def text(self) -> str:
        """Return it as nft reads it."""
        return f'add set {TABLE} {NOTE} {{ type ipv4_addr; comment "{self.comment}"; }}'

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        kind, width = _ADDRESS[4]
        comment = self.comment.encode() + b"\0"
        yield message(
            NEW_SET, text(2, NOTE), number(4, kind), number(5, width), number(10, _NOTE_IDENTITY),
            attribute(13, bytes([SET_COMMENT, len(comment)]) + comment), flags=CREATE,
        )  # fmt: skip


@frozen
class NewChain:
    """Make a chain with its rules; a ``hook`` makes it a base chain."""

    name: str
    rules: Sequence[Rule]
    hook: str = ""

    def text(self) -> str:
        """Return it as nft reads it."""
        told = f" {{ {self.hook} }}" if self.hook else ""
        rules = (f"add rule {TABLE} {self.name} {rule.text}" for rule in self.rules)
        return "\n".join([f"add chain {TABLE} {self.name}{told}", *rules])

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        hooked = [
            nested(4, number(1, _PREROUTING), attribute(2, _RAW.to_bytes(4, signed=True))),
            number(5, expr.ACCEPT),
            text(7, "filter"),
        ]
        yield message(NEW_CHAIN, text(3, self.name), *(hooked if self.hook else ()), flags=CREATE)
        for rule in self.rules:
            yield from rule.messages(self.name)


@frozen
class FlushChain:
    """Delete all rules of a chain."""

    name: str

    def text(self) -> str:
        """Return it as nft reads it."""
        return f"flush chain {TABLE} {self.name}"

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        yield message(DELETE_RULE, text(2, self.name))


@frozen
class Delete:
    """Delete a set with its elements, or a chain with its rules."""

    what: Literal["set", "chain"]
    name: str

    def text(self) -> str:
        """Return it as nft reads it."""
        return f"delete {self.what} {TABLE} {self.name}"

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        kind, naming = {"set": (DELETE_SET, 2), "chain": (DELETE_CHAIN, 3)}[self.what]
        yield message(kind, text(naming, self.name))


@frozen
class Hosts:
    """Add single addresses to a hash set, or delete them; they are packed."""

    set: Set
    addresses: bytes = field(repr=False)
    delete: bool = False

    @property
    def number(self) -> int:
        """How many elements these are."""
        return len(self.addresses) // self.set.width

    def text(self) -> str:
        """Return it as nft reads it."""
        family = AF_INET if self.set.version == 4 else AF_INET6
        width, addresses = self.set.width, self.addresses
        places = range(0, len(addresses), width)
        return _elements(self, (inet_ntop(family, addresses[at : at + width]) for at in places))

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        return _listed(self, elements.pack_hosts(self.addresses, self.set.width))


@frozen
class Intervals:
    """Add networks to an interval set, or delete them."""

    set: Set
    networks: Sequence[Network] = field(repr=False)
    delete: bool = False

    @property
    def number(self) -> int:
        """How many networks these are."""
        return len(self.networks)

    def text(self) -> str:
        """Return it as nft reads it."""
        return _elements(self, map(str, self.networks))

    def messages(self) -> Iterator[Message]:
        """Yield it as the kernel reads it."""
        return _listed(self, elements.pack_networks(self.networks))


def _elements(change: Hosts | Intervals, members: Iterable[str]) -> str:
    verb = "delete" if change.delete else "add"
    return f"{verb} element {TABLE} {change.set.name} {{ {', '.join(members)} }}"


def _listed(change: Hosts | Intervals, lists: Iterable[bytes]) -> Iterator[Message]:
    kind, flags = (DELETE_ELEMENT, 0) if change.delete else (NEW_ELEMENT, CREATE)
    name = text(2, change.set.name)
    for listed in lists:
        yield message(kind, name, attribute(3 | NESTED, listed), flags=flags)
