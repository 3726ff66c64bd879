"""The format in which journalctl exports entries (systemd's JOURNAL_EXPORT_FORMATS)."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen

Entry = Mapping[str, str | list[str]]
"""Values by the names of the fields; a field that stands twice has a list."""

_LENGTH: Final = 8
"""Bytes that tell, in little-endian order, how many follow."""

_MOST: Final = 1 << 20
"""Bytes of a value that is held; a larger one is none of the kernel's, and is passed over."""


@frozen
class Rest:
    """What stands behind the last whole entry, and how many bytes that is.

    Of a value that was passed over the text has nothing.
    """

    text: bytes = b""
    length: int = 0


def entries(pieces: Iterable[bytes]) -> Generator[Entry, None, Rest]:
    """Yield the entries that are complete, and return the rest.

    A value with a newline in it comes with its length, and can hold what looks like fields and
    entries: what begins an entry is judged from its beginning only.
    """
    coming = iter(pieces)
    held, skipped = b"", 0
    while True:
        start = 0
        while (end := held.find(b"\n\n", start)) >= 0:
            lines = held[start:end].decode(errors="replace").split("\n")
            try:
                entry: Entry = dict([line.split("=", 1) for line in lines])
            except ValueError:  # a name without a value in its line
                entry = {}
            if len(entry) != len(lines):
                entry, end, _ = _odd(held, start)
                if end < 0:
                    break  # its end is still to come
            yield entry
            start, skipped = end + 2, 0
        held = held[start:].lstrip(b"\n")  # an empty line more would begin no entry
        _, _, (begin, size) = _odd(held, 0)
        if size > _MOST:
            held, gone = _passed(held, begin, size, coming)
            skipped += gone
            continue
        piece = next(coming, None)
        if piece is None:
            return Rest(held, len(held) + skipped)
        held = (held + piece).lstrip(b"\n")


def _passed(held: bytes, begin: int, size: int, coming: Iterator[bytes]) -> tuple[bytes, int]:
    """Return what is held without a value that stands at ``begin``, and how many bytes that had."""
    left, rest = size - (len(held) - begin), held[begin + size :]
    while left > 0 and (piece := next(coming, None)) is not None:
        left, rest = left - len(piece), piece[left:]
    head = held[: begin - _LENGTH] + bytes(_LENGTH)
    return head + rest, size - max(0, left)


def _odd(held: bytes, start: int) -> tuple[Entry, int, tuple[int, int]]:
    """Read an entry field by field; return it, and where its last field ends (-1: not yet).

    Return the place and the size of a value that is not whole, too.
    """
    entry: dict[str, str | list[str]] = {}
    cut = (0, 0)
    while (end := held.find(b"\n", start)) > start:
        name, equals, value = held[start:end].partition(b"=")
        if not equals:
            begin = end + 1 + _LENGTH
            size = int.from_bytes(held[end + 1 : begin], "little")
            end = begin + size
            if begin <= len(held) < end:
                cut = (begin, size)
            value = held[begin:end]
        _add(entry, name.decode(errors="replace"), value.decode(errors="replace"))
        start = end + 1
    return entry, (end - 1 if end == start else -1), cut


def _add(entry: dict[str, str | list[str]], name: str, value: str) -> None:
    known = entry.get(name)
    if known is None:
        entry[name] = value
    else:
        entry[name] = [*known, value] if isinstance(known, list) else [known, value]
