"""Where the structures of the running kernel have their members, as it tells by BTF.

The format is that of Documentation/bpf/btf.rst (6.18): a header, then the types one after the
other, numbered from 1, then their names. A few are looked up, without a list of all 140,000: one
walk over the types notes where each piece of the file begins, and with which number.
"""

import re
import struct
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from reconciler.bpf.errors import BtfUnreadable

KERNEL: Final = Path("/sys/kernel/btf/vmlinux")

_MAGIC, _VERSION = 0xEB9F, 1
_HEADER: Final = struct.Struct("=HBBIIIII")
"""Magic, version, flags, its own length; offset and length of types, and of names."""

_LARGEST: Final = 1 << 25
"""Bytes of types, and of names, that are walked over; Debian's kernels have up to 4 MiB."""

_PIECE: Final = 1 << 13
_TYPE: Final = struct.Struct("=III")
"""Name, what it is and how much follows, size or another type: struct btf_type."""
_WORD: Final = 4
_LEAST: Final = 3
"""Words of the shortest type."""
_MEMBER: Final = struct.Struct("=III")  # struct btf_member: name, type, offset

_INT, _PTR, _ENUM, _FLOAT, _ENUM64 = 1, 2, 6, 16, 19
_STRUCT, _UNION = 4, 5
_SAME: Final = {8, 9, 10, 11, 18}
"""TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG: the type that they name, as far as bytes go."""

_FOLLOWED: Final = {_INT: 4, 3: 12, 14: 4, 17: 4}
"""Bytes behind a type: INT, ARRAY, VAR, DECL_TAG."""
_FOLLOWED_EACH: Final = {_STRUCT: 12, _UNION: 12, _ENUM: 8, 13: 8, 15: 12, _ENUM64: 12}
"""Bytes behind it for each member: also FUNC_PROTO, DATASEC."""
_UNUSED: Final = 0x60FF0000
_KIND, _STRUCTURE = 31 << 24, _STRUCT << 24
_FLAG: Final = 1 << 31
"""Offsets of members have 24 bits; above them is the number of bits of one that is a bit field."""

_POINTER: Final = 8
_DEEPEST: Final = 16
"""Unnamed structures inside of others, and names for another name, that are followed."""
_MOST_MEMBERS: Final = 20_000


class Member(NamedTuple):
    """Where a structure has a member, and its size; both in bytes."""

    offset: int
    size: int


def members(
    wanted: Mapping[str, Collection[str]], stream: BinaryIO | None = None
) -> dict[str, dict[str, Member]]:
    """Return where the structures that are named have these members; left out are those it has not.

    Members of unnamed structures and unions count as the outer one's own, as in C. ``stream`` is
    the kernel's own description where it is not given. Raise `BtfUnreadable` also where a structure
    is missing, is defined in two ways, or where a member is a bit field.
    """
    if stream is not None:
        return _Types(stream).members(wanted)
    try:
        with KERNEL.open("rb") as own:
            return _Types(own).members(wanted)
    except FileNotFoundError:
        raise BtfUnreadable(
            f"the kernel does not tell its types ({KERNEL} is missing)",
            "it was built without CONFIG_DEBUG_INFO_BTF, or a sandbox hides the file",
        ) from None
    except OSError as error:
        raise BtfUnreadable(f"cannot read {KERNEL}: {error.strerror}") from None


class _Steps(dict[int, int]):
    """How many words a type takes, by the second one, which tells what it is."""

    def __missing__(self, word: int) -> int:
        kind = word >> 24 & 31
        if word & _UNUSED or not 1 <= kind <= _ENUM64:
            raise _damaged(f"a type is of the unknown kind {word:#x}")
        size = _TYPE.size + _FOLLOWED.get(kind, 0)
        size += _FOLLOWED_EACH.get(kind, 0) * (word & 0xFFFF)
        self[word] = size // _WORD
        return self[word]


class _Types:
    """A description of types in a file, which is not believed to be whole."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        beginning = self._read(0, _HEADER.size)
        magic, version, _, length, types, of_types, names, of_names = _HEADER.unpack(beginning)
        if (magic, version) != (_MAGIC, _VERSION):
            raise _damaged("it does not begin as BTF of version 1 does")
        if max(length, types, of_types, names, of_names) > _LARGEST:
            raise _damaged("it is too large")
        self._begin, self._end = length + types, length + types + of_types
        self._names, self._names_end = length + names, length + names + of_names
        self._steps = _Steps()
        self._marks: list[tuple[int, int]] = []
        self._visited = 0

    def members(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Member]]:
        """Return what `members` does."""
        every = {*wanted, *(name for each in wanted.values() for name in each)}
        names = dict(self._found(every))
        structures = {at: name for at, name in names.items() if name in wanted}
        defined: dict[str, list[int]] = {name: [] for name in wanted}
        for at, place in self._walk(structures):
            defined[structures[at]].append(place)
        return {name: self._of(name, defined[name], wanted[name], names) for name in wanted}

    def _of(
        self, name: str, places: Iterable[int], wanted: Collection[str], names: Mapping[int, str]
    ) -> dict[str, Member]:
        """Return the members of a structure, however often it is defined."""
        sought = {at: each for at, each in names.items() if each in wanted}
        found = [dict(self._members(place, sought)) for place in places]
        if not found:
            raise BtfUnreadable(f"the kernel tells of no structure {name}")
        if any(each != found[0] for each in found):
            raise BtfUnreadable(f"the kernel tells of two structures {name}")
        return found[0]

    def _found(self, names: Collection[str]) -> Iterator[tuple[int, str]]:
        """Yield where among the names these are."""
        longest = max(map(len, names), default=0) + 2
        any_of = b"|".join(re.escape(name.encode()) for name in sorted(names))
        pattern = re.compile(b"\0(" + any_of + b")(?=\0)")
        at = self._names
        while at < self._names_end:
            piece = self._read(at, min(_PIECE + longest, self._names_end - at))
            for match in pattern.finditer(piece):
                if match.start() < _PIECE:  # else it is found again in the next piece
                    yield at - self._names + match.start(1), match[1].decode()
            at += _PIECE

    def _walk(self, sought: Collection[int]) -> Iterator[tuple[int, int]]:
        """Go over all types; yield name and place of structures with such names."""
        number, at, steps = 1, self._begin, self._steps
        while at < self._end:
            self._marks.append((number, at))
            words = self._piece(at)
            place, last = 0, len(words) - _LEAST
            while place <= last:
                word = words[place + 1]
                if word & _KIND == _STRUCTURE and words[place] in sought:
                    yield words[place], at + place * _WORD
                place += steps[word]
                number += 1
            at += place * _WORD
        if at != self._end:
            raise _damaged("the types do not end where they should")

    def _members(
        self, place: int, sought: Mapping[int, str], offset: int = 0, depth: int = 0
    ) -> Iterator[tuple[str, Member]]:
        """Yield the members with such names of the structure there, ``offset`` bits in another."""
        _, word, _ = _TYPE.unpack(self._read(place, _TYPE.size))
        number = word & 0xFFFF
        self._visited += number
        if depth > _DEEPEST or self._visited > _MOST_MEMBERS:
            raise _damaged("structures lie too deep in each other")
        data = self._read(place + _TYPE.size, number * _MEMBER.size)
        for name, kind, at in _MEMBER.iter_unpack(data):
            bits = at >> 24 if word & _FLAG else 0
            begin = offset + (at & 0xFFFFFF if word & _FLAG else at)
            if name in sought:
                if bits or begin % 8:
                    raise BtfUnreadable(f"the kernel has {sought[name]} as a bit field")
                yield sought[name], Member(begin // 8, self._size(kind))
            elif not name:
                inner, of_kind, _ = self._resolved(kind)
                if of_kind in {_STRUCT, _UNION}:
                    yield from self._members(inner, sought, begin, depth + 1)

    def _size(self, number: int) -> int:
        """Return how many bytes a type takes; 0 for one of which that is not asked."""
        _, kind, size = self._resolved(number)
        if kind == _PTR:
            return _POINTER
        return size if kind in {_INT, _STRUCT, _UNION, _ENUM, _FLOAT, _ENUM64} else 0

    def _resolved(self, number: int) -> tuple[int, int, int]:
        """Return place, kind and size of a type, or of the one for which it is another name."""
        for _ in range(_DEEPEST):
            place = self._place(number)
            _, word, size = _TYPE.unpack(self._read(place, _TYPE.size))
            kind = word >> 24 & 31
            if kind not in _SAME:
                return place, kind, size
            number = size
        raise _damaged("too many names stand for one type")

    def _place(self, number: int) -> int:
        """Return where the type of a number is: count from the piece that it is in."""
        mark = bisect_right(self._marks, number, key=lambda each: each[0]) - 1
        if mark < 0:
            raise _damaged(f"the type {number} is nothing that has a size")
        first, at = self._marks[mark]
        words, place = self._piece(at), 0
        for left in range(number - first, -1, -1):
            if place + _LEAST > len(words):
                break
            if not left:
                return at + place * _WORD
            place += self._steps[words[place + 1]]
        raise _damaged(f"there is no type {number}")

    def _piece(self, at: int) -> memoryview:
        """Return the words of the piece of the types that begins there."""
        size = min(_PIECE, self._end - at)
        if size < _TYPE.size or size % _WORD:
            raise _damaged("a type is cut off")
        return memoryview(self._read(at, size)).cast("I")

    def _read(self, at: int, size: int) -> bytes:
        self._stream.seek(at)
        data = self._stream.read(size)
        if len(data) != size:
            raise _damaged("it is cut off")
        return data


def _damaged(what: str) -> BtfUnreadable:
    return BtfUnreadable(f"what the kernel tells of its types cannot be understood: {what}")
