"""Descriptions of types (BTF): a plain reader apart from the product's, and who writes them."""

import random
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Final

from attrs import frozen
from reference import Disagreement

from reconciler.bpf import BtfUnreadable, Member, members

Found = dict[str, dict[str, Member]]

WANTED: Final = {
    "tcp_sock": ("snd_wnd", "snd_una"),
    "sock_common": ("skc_daddr", "skc_state", "skc_net"),
    "net": ("ns",),
}
OTHERS: Final = ("snd", "snd_wnd2", "a", "tcp_soc", "ns_common", "x" * 40)
LARGEST: Final = 1 << 25
DEEPEST: Final = 16
MOST: Final = 20_000

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG = range(9, 19)
ENUM64: Final = 19
BEHIND: Final = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
EACH: Final = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}
ALIKE: Final = {TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG}
SIZED: Final = {INT, STRUCT, UNION, ENUM, FLOAT, ENUM64}


class Unclear(Exception):
    """What makes no sense."""


@frozen
class Type:
    """One type; ``size`` is that of another type where it names one."""

    name: str
    kind: int
    size: int
    members: tuple[tuple[str, int, int, int], ...]
    """Of a structure or union: name, type, offset in bits, bits of a bit field."""


def read(data: bytes) -> list[Type]:
    """Return all types, the first of which is void. Raise `Unclear`."""
    if len(data) < 24:
        raise Unclear
    magic, version, _, length, types, of_types, names, of_names = struct.unpack(
        "=HBBIIIII", data[:24]
    )
    if (magic, version) != (0xEB9F, 1) or max(length, types, of_types, names, of_names) > LARGEST:
        raise Unclear
    types, names = length + types, length + names
    if max(types + of_types if of_types else 0, names + of_names if of_names else 0) > len(data):
        raise Unclear
    words, place, end = data[names : names + of_names], types, types + of_types
    found = [Type("", 0, 0, ())]
    while place < end:
        if place + 12 > end:
            raise Unclear
        name, info, size = struct.unpack("=III", data[place : place + 12])
        kind, number, place = info >> 24 & 31, info & 0xFFFF, place + 12
        behind = BEHIND.get(kind, 0) + EACH.get(kind, 0) * number
        if not 1 <= kind <= ENUM64 or info & 0x60FF0000 or place + behind > end:
            raise Unclear
        inside: list[tuple[str, int, int, int]] = []
        for at in range(place, place + behind, 12) if kind in {STRUCT, UNION} else ():
            called, of, offset = struct.unpack("=III", data[at : at + 12])
            bits, offset = (offset >> 24, offset & 0xFFFFFF) if info >> 31 else (0, offset)
            inside.append((_word(words, called), of, offset, bits))
        found.append(Type(_word(words, name), kind, size, tuple(inside)))
        place += behind
    return found


def _word(words: bytes, at: int) -> str:
    """Return the name that begins there; ``?`` where none begins, or it does not end."""
    if not at:
        return ""
    end = words.find(0, at)
    if at > len(words) or words[at - 1] or end < 0:
        return "?"
    return words[at:end].decode(errors="replace") or "?"


@frozen
class Reader:
    """Looks for members in a list of types."""

    types: list[Type]
    visited: list[None]

    def find(self, structure: str, wanted: tuple[str, ...]) -> dict[str, Member]:
        """Return them. Raise `Unclear`."""
        every = [
            {name: one for name, one in self._all(each, 0, 0, wanted) if name in wanted}
            for each in self.types
            if each.kind == STRUCT and each.name == structure
        ]
        if not every or any(each != every[0] for each in every):
            raise Unclear
        return every[0]

    def _all(
        self, one: Type, base: int, depth: int, wanted: tuple[str, ...]
    ) -> Iterator[tuple[str, Member]]:
        self.visited.extend([None] * len(one.members))
        if depth > DEEPEST or len(self.visited) > MOST:
            raise Unclear
        for name, of, offset, bits in one.members:
            if name in wanted:
                if bits or (base + offset) % 8:
                    raise Unclear
                yield name, Member((base + offset) // 8, self._size(of))
            elif not name and (inner := self._plain(of)).kind in {STRUCT, UNION}:
                yield from self._all(inner, base + offset, depth + 1, wanted)

    def _plain(self, number: int) -> Type:
        for _ in range(DEEPEST):
            if not 1 <= number < len(self.types):
                raise Unclear
            one = self.types[number]
            if one.kind not in ALIKE:
                return one
            number = one.size
        raise Unclear

    def _size(self, number: int) -> int:
        one = self._plain(number)
        return 8 if one.kind == PTR else one.size if one.kind in SIZED else 0


def expected(data: bytes) -> Found | None:
    """Return where the wanted members are; None where that is not clear."""
    try:
        reader = Reader(read(data), [])
        return {name: reader.find(name, wanted) for name, wanted in WANTED.items()}
    except Unclear:
        return None


def check(data: bytes) -> int:
    """Compare what is found."""
    found: Found | None
    try:
        found = members(WANTED, BytesIO(data))
    except BtfUnreadable:
        found = None
    if found != (wanted := expected(data)):
        raise Disagreement(f"treason gives {found!r}, the reference {wanted!r}")
    return sum(map(len, found.values())) if found else 0


class Writer:
    """Writes a description, type by type."""

    def __init__(self) -> None:
        self.types, self.names, self.number = b"", b"\0", 0

    def name(self, text: str) -> int:
        """Return where a name is."""
        packed = text.encode() + b"\0"
        at = (b"\0" + self.names).find(b"\0" + packed) if text else 0
        if at <= 0 and text:
            at = len(self.names)
            self.names += packed
        return at

    def add(self, kind: int, name: str = "", size: int = 0, number: int = 0, *rest: int) -> int:
        """Add a type, and the words behind it; return its number."""
        info = (number & 1 << 31) | kind << 24 | (number & 0xFFFF)
        words = (self.name(name), info, size, *rest)
        self.types += struct.pack(f"={len(words)}I", *words)
        self.number += 1
        return self.number

    def structure(
        self, name: str, size: int, inside: list[tuple[str, int, int]], **how: int
    ) -> int:
        """Add a structure, or another ``kind``; of members the name, type and offset in bits."""
        words = [word for called, of, at in inside for word in (self.name(called), of, at)]
        return self.add(
            how.get("kind", STRUCT), name, size, len(inside) | how.get("flag", 0), *words
        )

    def data(self, more: bytes = b"") -> bytes:
        """Return all, with ``more`` at the end of the header."""
        sizes = 0, len(self.types), len(self.types), len(self.names)
        head = struct.pack("=HBBI4I", 0xEB9F, 1, 0, 24 + len(more), *sizes)
        return head + more + self.types + self.names


def fresh(dice: random.Random) -> str:
    """Return a description that has what is wanted, in one way or another, mostly."""
    writer = Writer()
    numbers = [writer.add(INT, "int", 4, 0, 32), writer.add(INT, "char", 1, 0, 8)]
    for _ in range(dice.randrange(6)):
        numbers.append(_filler(writer, numbers, dice))
    for structure, wanted in WANTED.items():
        for _ in range(dice.choice((1, 1, 1, 1, 1, 1, 1, 2)) if dice.random() < 0.97 else 0):
            inside = [*wanted, *dice.sample(OTHERS, dice.randrange(4))]
            dice.shuffle(inside)
            _structure(writer, structure, inside, numbers, dice)
            numbers.append(writer.number)
    more = bytes(dice.choice((0, 0, 0, 0, 8)))
    return writer.data(more).decode(errors="surrogateescape")


def _filler(writer: Writer, numbers: list[int], dice: random.Random) -> int:
    """Add something that nobody asked for, or that wanted members are of."""
    of, name = dice.choice(numbers), dice.choice(("", *OTHERS, "ns", "tcp_sock"))
    kind = dice.choice(
        (PTR, *ALIKE, FWD, FUNC, ARRAY, ENUM, ENUM64, FUNC_PROTO, VAR, DATASEC, FLOAT)
    )
    if kind in ALIKE | {PTR, FUNC}:
        return writer.add(kind, name, of)
    number = dice.randrange(3) if kind in EACH else 0
    behind = (BEHIND.get(kind, 0) + EACH.get(kind, 0) * number) // 4
    return writer.add(kind, name, dice.choice((1, 4, 8)), number, *(of for _ in range(behind)))


def _structure(
    writer: Writer,
    name: str,
    inside: list[str],
    numbers: list[int],
    dice: random.Random,
    depth: int = 0,
) -> int:
    """Add a structure with members of these names, some of them inside of unnamed ones."""
    made: list[tuple[str, int, int]] = []
    at, flag = 0, dice.choice((0, 0, 1 << 31))
    while inside:
        take = dice.randrange(1, len(inside) + 1)
        if depth < 4 and dice.random() < 0.4:
            kind = _structure(writer, "", inside[:take], numbers, dice, depth + 1)
            for _ in range(dice.choice((0, 0, 1, 2))):
                kind = writer.add(dice.choice([*ALIKE]), "named", kind)
            made.append(("", kind, at))
            inside = inside[take:]
        else:
            bits = dice.choice((0,) * 30 + (3,)) << 24 if flag else 0
            made.append((inside[0], dice.choice(numbers), bits | at))
            inside = inside[1:]
        at += dice.choice((8, 16, 32, 32, 64))
    kind = UNION if depth and dice.random() < 0.4 else STRUCT
    return writer.structure(name, at // 8, made, kind=kind, flag=flag)
