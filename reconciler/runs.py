"""Runs of packed networks, as `Networks` holds them: sorted, compared and merged as bytes.

A chunk is a network: five bytes of IPv4, seventeen of IPv6, the last of them the prefix length.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import compress, islice, pairwise, starmap
from operator import lt
from sys import byteorder
from typing import Any, Final, TypeVar

WIDTH: Final = {4: 5, 6: 17}
BITS: Final = {4: 32, 6: 128}
WIDER: Final = {4: re.compile(rb"[^\x20]"), 6: re.compile(rb"[^\x80]", re.DOTALL)}
"""Finds, among prefix lengths, those of what is no single address."""

_BEHIND: Final = {
    version: [(1 << bits - length) - 1 << 8 for length in range(bits + 1)]
    for version, bits in BITS.items()
}
"""The bits of an address behind a prefix, by its length."""

_BLOCK: Final = 1 << 12
"""Networks compared at once: what is alike costs no object, what differs costs this many."""

_FEW: Final = 32
"""So many times fewer networks are looked up among the others, not compared or sorted with them."""

_LITTLE: Final = 256
"""Networks of IPv4 from which on they are sorted as numbers."""

_SORTED, _CHOSEN = 1 << 17, 1 << 10
"""Networks that are sorted at once, about, and of how many the ranges are made."""

_T = TypeVar("_T", int, bytes)


def ordered(packed: bytes | bytearray, width: int) -> bytes:
    """Sort packed networks, and leave out repetitions.

    Those of IPv4 are sorted as doubles: faster than anything else, and in a third of the memory of
    as many bytes objects.
    """
    if width != WIDTH[4] or len(packed) < _LITTLE * width:
        return b"".join(ascending(chunks(bytes(packed), width)))
    numbers = _doubles(packed)
    if _ascends(numbers):
        return bytes(packed)
    held = numbers.tolist()
    del numbers
    held.sort()
    numbers = array("d", held[:1])
    behind = partial(islice, held, 1, None)
    numbers.extend(compress(behind(), map(lt, held, behind())))
    del held, behind
    swap(numbers)
    spread = bytearray(numbers)
    made = bytearray(len(numbers) * 5)
    for byte in range(5):
        made[byte::5] = spread[byte + 3 :: 8]
    return bytes(made)


def _doubles(packed: bytes | bytearray) -> "array[float]":
    """Return networks of IPv4 as the last bytes of 2**52: as doubles, which sort as they do."""
    spread = bytearray(b"\x43\x30\0\0\0\0\0\0" * (len(packed) // 5))
    for byte in range(5):
        spread[byte + 3 :: 8] = packed[byte::5]
    numbers = array("d", spread)
    swap(numbers)
    return numbers


def _ascends(numbers: "array[float]") -> bool:
    parts = (numbers[at : at + _BLOCK + 1].tolist() for at in range(0, len(numbers), _BLOCK))
    return all(all(map(lt, part, islice(part, 1, None))) for part in parts)


def swap(numbers: "array[Any]") -> None:
    """Turn numbers of the network's byte order into the machine's, and back."""
    if byteorder == "little":
        numbers.byteswap()


def ascending(values: Sequence[_T]) -> Sequence[_T]:
    """Sort, and leave out repetitions."""
    held = sorted(values)
    alike = not all(map(lt, held, islice(held, 1, None)))
    return sorted(set(held)) if alike else held


def chunks(packed: bytes, width: int) -> list[bytes]:
    """Return each network by itself."""
    return [packed[at : at + width] for at in range(0, len(packed), width)]


def is_canonical(packed: bytes, version: int) -> bool:
    """Whether they are whole chunks that ascend, and none has bits behind its prefix."""
    width, bits = WIDTH[version], BITS[version]
    if not packed or len(packed) % width:
        return not packed
    if version == 4 and not _ascends(_doubles(packed)):
        return False
    each = (packed[at : at + width] for at in range(0, len(packed), width))
    if version == 6 and not all(starmap(lt, pairwise(each))):
        return False
    lengths, behind = packed[width - 1 :: width], _BEHIND[version]
    return max(lengths) <= bits and not any(
        int.from_bytes(packed[at * width : at * width + width]) & behind[lengths[at]]
        for at in (found.start() for found in WIDER[version].finditer(lengths))
    )


def union(left: bytes, right: bytes, width: int) -> bytes:
    """Merge what ascends; a few chunks are put between those of many, which stay bytes."""
    few, many = sorted((left, right), key=len)
    if len(few) * _FEW > len(many):
        return merged((many, few), width)
    parts: list[bytes] = []
    start = 0
    for chunk in chunks(difference(few, many, width), width):
        at = _search(many, chunk, width, start)
        parts += [many[start * width : at * width], chunk]
        start = at
    return b"".join([*parts, many[start * width :]])


def merged(parts: Iterable[bytes], width: int) -> bytes:
    """Merge any number of what ascends: of very many chunks, those of one range at a time.

    So a sort has few of them as objects, wherever they come from.
    """
    few = [ordered(b"".join(batch), width) for batch in _batches(parts, _SORTED * width)]
    if len(few) < 2:
        return b"".join(few)
    count = sum(map(len, few)) // width // _SORTED
    if not count:
        return ordered(b"".join(few), width)
    step = (sum(map(len, few)) // width // _CHOSEN or 1) * width
    some = sorted(one[at : at + width] for one in few for at in range(0, len(one), step))
    begins, made = [0] * len(few), list[bytes]()
    for number in range(1, count + 2):
        ends = [len(one) // width for one in few]
        if number <= count:
            bound = some[len(some) * number // (count + 1)]
            ends = [_search(one, bound, width, at) for one, at in zip(few, begins, strict=True)]
        ranges = zip(few, begins, ends, strict=True)
        made.append(ordered(b"".join([p[a * width : b * width] for p, a, b in ranges]), width))
        begins = ends
    return b"".join(made)


def _batches(parts: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield parts together, until they have at least so many bytes."""
    batch, held = list[bytes](), 0
    for part in parts:
        batch.append(part)
        held += len(part)
        if held >= size:
            yield batch
            batch, held = [], 0
    yield batch


def difference(left: bytes, right: bytes, width: int) -> bytes:
    """Return the chunks of ``left`` that ``right`` does not hold; both ascend."""
    if not right or left == right:
        return b"" if right else left
    kept: list[bytes] = []
    behind = 0
    for start in range(0, len(left), _BLOCK * width):
        block = left[start : start + _BLOCK * width]
        first = _search(right, block[:width], width, behind)
        behind = _search(right, block[-width:] + b"\0", width, first)
        other = right[first * width : behind * width]
        if not other:
            kept.append(block)
        elif len(block) * _FEW < len(other):
            kept += [chunk for chunk in chunks(block, width) if not _holds(other, chunk, width)]
        elif block != other:
            known = {*chunks(other, width)}
            kept += [chunk for chunk in chunks(block, width) if chunk not in known]
    return b"".join(kept)


def _holds(packed: bytes, chunk: bytes, width: int) -> bool:
    at = _search(packed, chunk, width, 0) * width
    return packed[at : at + width] == chunk


def _search(packed: bytes, chunk: bytes, width: int, start: int) -> int:
    """Return the place of the first chunk that is not less."""
    places = range(start, len(packed) // width)
    return start + bisect_left(
        places, chunk, key=lambda at: packed[at * width : at * width + width]
    )
