"""The structure of the table as the kernel holds it, asked of our table alone, and decoded.

Of no other table anything but the names of its chains is looked at, and these only where ours
counts something that is not known. Numbers are those of linux/netfilter/nf_tables.h (Linux 6.18).
"""

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from backends.nftables import expressions as expr
from backends.nftables.ruleset import INET, NAME
from backends.nftables.statements import GET_ELEMENT, GET_SET, NOTE, SET_COMMENT, Set, message
from reconciler.netlink import DUMP, Connection, Missing, attributes, text

_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_OBJECT, _GET_FLOWTABLE = 1, 4, 7, 19, 23  # NFT_MSG_*
_TABLE_FLAGS, _TABLE_USE, _TABLE_COMMENT = 2, 3, 6  # NFTA_TABLE_*, NFTA_TABLE_USERDATA
_CHAIN_NAME, _HOOK, _POLICY, _TYPE, _CHAIN_FLAGS, _CHAIN_COMMENT = 3, 4, 5, 7, 10, 12
_RULE_CHAIN, _HANDLE, _EXPRESSIONS, _COMPAT, _RULE_COMMENT = 2, 3, 4, 5, 7  # NFTA_RULE_*
_SET_NAME, _SET_FLAGS, _KEY_TYPE, _KEY_LENGTH, _DESCRIPTION, _SET_COMMENT = 2, 3, 4, 5, 9, 13
COUNT: Final = 20
"""NFTA_SET_COUNT, Linux 6.16."""

_SET_MORE: Final = {
    8: "policy",
    11: "timeout",
    12: "gc-interval",
    15: "objects",
    17: "an expression",
    18: "expressions",
}
"""NFTA_SET_POLICY, _TIMEOUT, _GC_INTERVAL, _OBJ_TYPE, _EXPR, _EXPRESSIONS."""

_FLAGS: Final = {
    "table": ("dormant", "owner", "persist"),
    "chain": ("base", "offload", "binding"),
    "set": (
        "anonymous", "constant", "interval", "map", "timeout", "dynamic", "objects",
        "concatenated", "expressions",
    ),
}  # fmt: skip
"""NFT_TABLE_F_*, NFT_CHAIN_*, NFT_SET_*: their bits from the lowest on."""

_HOOKS: Final = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_POLICIES: Final = {expr.ACCEPT: "accept", expr.DROP: "drop"}
_AUTO_MERGE: Final = 2  # NFTNL_UDATA_SET_MERGE_ELEMENTS, libnftnl's udata.h
_USER_COMMENT: Final = 0  # NFTNL_UDATA_TABLE_COMMENT, _CHAIN_COMMENT, _RULE_COMMENT


@frozen
class FoundSet:
    """A set as it is declared, in the words of nft(8); ``size`` is 0 where none is declared.

    ``count`` is how many elements it holds, intervals as one; None where the kernel does not count.
    """

    lines: tuple[str, ...]
    size: int
    comment: str = ""
    count: int | None = field(default=None, eq=False)


@frozen
class FoundRule:
    """A rule: the number by which nft names it, what it does, and what else it has."""

    handle: int
    expressions: tuple[expr.Expression, ...]
    more: tuple[str, ...] = ()


@frozen
class FoundChain:
    """A chain: its hook and what else it has, in the words of nft(8), and its rules in order."""

    lines: tuple[str, ...] = ()
    rules: tuple[FoundRule, ...] = ()


@frozen
class Structure:
    """The table: what it has itself, its sets and chains by name, and all else that is in it.

    Anonymous sets are part of the rules that ask them. ``note`` is the set that says whose the
    table is, if there is one.
    """

    lines: tuple[str, ...] = ()
    sets: Mapping[str, FoundSet] = field(factory=dict)
    chains: Mapping[str, FoundChain] = field(factory=dict)
    others: tuple[str, ...] = ()
    note: FoundSet | None = None

    @property
    def owner(self) -> str:
        """The database for which the table was changed last, as far as it is noted."""
        return self.note.comment if self.note else ""

    def declared(self, name: str) -> tuple[str, ...]:
        """Return how a set is declared; nothing where there is none of this name."""
        return self.sets[name].lines if name in self.sets else ()


def read(connection: Connection, base: str) -> Structure | None:
    """Return the structure of our table; None where there is none. Raise `NetlinkError`.

    The chain ``base`` and those that have rules are asked for by their names. The kernel counts
    what a table holds: only where it is more than was found, all else is searched.
    """
    try:
        (table,) = connection.ask(message(_GET_TABLE))
    except Missing:
        return None
    told = dict(attributes(table.body))
    declared = {_name(each, _SET_NAME): each for each in _ours(connection, GET_SET)}
    anonymous = {name for name, each in declared.items() if _number(each, _SET_FLAGS) & 1}
    rules: dict[str, list[FoundRule]] = {}
    for each in _ours(connection, _GET_RULE):
        rules.setdefault(_name(each, _RULE_CHAIN), []).append(_rule(connection, each, anonymous))
    chains = {
        name: chain
        for name in dict.fromkeys([base, *rules])
        if (chain := _chain(connection, name)) is not None
    }
    others: list[str] = []
    if _number(told, _TABLE_USE) != len(declared) + len(chains):
        chains |= {_name(each, _CHAIN_NAME): each for each in _ours(connection, _GET_CHAIN)}
        others += [f"object {_name(each, 2)}" for each in _ours(connection, _GET_OBJECT)]
        others += [f"flowtable {_name(each, 2)}" for each in _ours(connection, _GET_FLOWTABLE)]
    sets = {name: _set(each) for name, each in declared.items() if name not in anonymous}
    note = sets.pop(NOTE, None)
    return Structure(
        (*_flags("table", _number(told, _TABLE_FLAGS)), *_comments(told.get(_TABLE_COMMENT, b""))),
        sets,
        {
            name: FoundChain(_chain_lines(each), tuple(rules.get(name, ())))
            for name, each in chains.items()
        },
        tuple(others),
        note,
    )


def packets(connection: Connection) -> dict[int, int]:
    """Return how many packets each rule that counts has counted, by its handle."""
    told = ((_number(each, _HANDLE), each) for each in _ours(connection, _GET_RULE))
    counts = ((handle, expr.counted(each.get(_EXPRESSIONS, b""))) for handle, each in told)
    return {handle: count for handle, count in counts if count is not None}


def _ours(connection: Connection, kind: int) -> list[dict[int, bytes]]:
    """Return the attributes of all things of a kind in our table; some are listed of all tables."""
    answers = [*connection.ask(message(kind, flags=DUMP))]
    told = (dict(attributes(each.body)) for each in answers if each.family == INET)
    return [each for each in told if _name(each, 1) == NAME]  # NFTA_*_TABLE


def _chain(connection: Connection, name: str) -> dict[int, bytes] | None:
    """Ask for one chain: a list would be of all tables'."""
    try:
        (answer,) = connection.ask(message(_GET_CHAIN, text(_CHAIN_NAME, name)))
    except Missing:
        return None
    return dict(attributes(answer.body))


def _set(told: Mapping[int, bytes]) -> FoundSet:
    size = _number(dict(attributes(told.get(_DESCRIPTION, b""))), 1)  # NFTA_SET_DESC_SIZE
    flags = _flags("set", _number(told, _SET_FLAGS))
    more = [words for kind, words in _SET_MORE.items() if any(told.get(kind, b""))]
    user = _user_data(told.get(_SET_COMMENT, b""))
    more += ["auto-merge"] if any(user.get(_AUTO_MERGE, b"")) else []
    comment = _comment(user, SET_COMMENT)
    lines = (
        _key(_number(told, _KEY_TYPE), _number(told, _KEY_LENGTH)),
        *flags,
        *([f"size {size}"] if size else ()),
        *more,
        *([f'comment "{comment}"'] if comment else ()),
    )
    count = _number(told, COUNT) if COUNT in told else None
    return FoundSet(lines, size, comment, count)


def _key(kind: int, length: int) -> str:
    """Return the type of what a set holds; its numbers are nft's (libnftables' datatype.h)."""
    known = (Set("", version, interval=False) for version in (4, 6))
    names = (each.type for each in known if each.key == (kind, length))
    return next(names, f"type number {kind}, {length} bytes")


def _rule(connection: Connection, told: Mapping[int, bytes], anonymous: set[str]) -> FoundRule:
    listed = [*expr.decoded(told.get(_EXPRESSIONS, b""))]
    for place, each in enumerate(listed):
        if (name := expr.looked_up(each)) in anonymous:
            listed[place] = expr.asking(each, _content(connection, name))
    more = [*_comments(told.get(_RULE_COMMENT, b""))]
    more += ["an extension of iptables"] if _COMPAT in told else []
    return FoundRule(int.from_bytes(told[_HANDLE]), tuple(listed), tuple(more))


def _content(connection: Connection, name: str) -> dict[bytes, object]:
    """Return the keys of an anonymous set, or a map, and what each leads to."""
    content: dict[bytes, object] = {}
    for answer in connection.ask(message(GET_ELEMENT, text(2, name), flags=DUMP)):
        elements = dict(attributes(answer.body)).get(3, b"")  # NFTA_SET_ELEM_LIST_ELEMENTS
        for _, body in attributes(elements):
            told = dict(attributes(body))
            key = dict(attributes(told.pop(1, b""))).get(1, b"")  # NFTA_SET_ELEM_KEY, a value
            data = expr.data_of(told.pop(2, b""))  # NFTA_SET_ELEM_DATA
            content[key] = (data, told) if told else data
    return content


def _chain_lines(told: Mapping[int, bytes]) -> tuple[str, ...]:
    lines: list[str] = []
    if _HOOK in told:
        hook = dict(attributes(told[_HOOK]))  # NFTA_HOOK_HOOKNUM, _PRIORITY
        number, priority = _number(hook, 1), int.from_bytes(hook.get(2, b""), signed=True)
        place = _HOOKS[number] if number < len(_HOOKS) else str(number)
        policy = _number(told, _POLICY)
        lines.append(
            f"type {_name(told, _TYPE)} hook {place} priority {priority};"
            f" policy {_POLICIES.get(policy, policy)};"
        )
        lines += ["a device"] if hook.keys() - {1, 2} else []
    lines += _flags("chain", _number(told, _CHAIN_FLAGS) & ~1)
    return (*lines, *_comments(told.get(_CHAIN_COMMENT, b"")))


def _flags(what: str, flags: int) -> list[str]:
    names = dict(enumerate(_FLAGS[what]))
    held = [names.get(bit, f"number {bit}") for bit in range(32) if flags >> bit & 1]
    return [f"flags {','.join(held)}"] if held else []


def _comments(user: bytes) -> list[str]:
    comment = _comment(_user_data(user), _USER_COMMENT)
    return [f'comment "{comment}"'] if comment else []


def _comment(user: Mapping[int, bytes], kind: int) -> str:
    return user.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _user_data(listed: bytes) -> dict[int, bytes]:
    """Read what nft notes for itself: a type and a length of one byte each, and the value."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 2 <= len(listed):
        kind, length = listed[at : at + 2]
        found[kind] = listed[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def _name(told: Mapping[int, bytes], kind: int) -> str:
    return told.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _number(told: Mapping[int, bytes], kind: int) -> int:
    return int.from_bytes(told.get(kind, b""))
