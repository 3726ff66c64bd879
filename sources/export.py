"""The format in which journalctl exports entries (systemd's JOURNAL_EXPORT_FORMATS)."""

from collections.abc import Generator, Iterable, Mapping
from typing import Final

Entry = Mapping[str, str | list[str]]
"""Values by the names of the fields; a field that stands twice has a list."""

_LENGTH: Final = 8
"""Bytes that tell, in little-endian order, how many follow."""

_MOST: Final = 1 << 26
"""Bytes of an entry; the journal keeps larger ones, which are none of the kernel's."""


def entries(pieces: Iterable[bytes]) -> Generator[Entry, None, bytes]:
    """Yield the entries that are complete, and return what stands behind the last.

    Raise ValueError for one that is too large to be held.

    A value with a newline in it comes with its length, and can hold what looks like fields and
    entries: what begins an entry is judged from its beginning only.
    """
    held = b""
    for piece in pieces:
        held = (held + piece).lstrip(b"\n")  # an empty line more would begin no entry
        start = 0
        while (end := held.find(b"\n\n", start)) >= 0:
            lines = held[start:end].decode(errors="replace").split("\n")
            try:
                entry: Entry = dict([line.split("=", 1) for line in lines])
            except ValueError:  # a name without a value in its line
                entry = {}
            if len(entry) != len(lines):
                entry, end = _odd(held, start)
                if end < 0:
                    break  # its end is still to come
            yield entry
            start = end + 2
        held = held[start:]
        if len(held) > _MOST:
            raise ValueError(f"it holds an entry of more than {_MOST >> 20} MiB")
    return held


def _odd(held: bytes, start: int) -> tuple[Entry, int]:
    """Read an entry field by field; give it, and where its last field ends (-1: not yet)."""
    entry: dict[str, str | list[str]] = {}
    while (end := held.find(b"\n", start)) > start:
        name, equals, value = held[start:end].partition(b"=")
        if not equals:
            begin = end + 1 + _LENGTH
            end = begin + int.from_bytes(held[end + 1 : begin], "little")
            value = held[begin:end]
        _add(entry, name.decode(errors="replace"), value.decode(errors="replace"))
        start = end + 1
    return entry, (end - 1 if end == start else -1)


def _add(entry: dict[str, str | list[str]], name: str, value: str) -> None:
    known = entry.get(name)
    if known is None:
        entry[name] = value
    else:
        entry[name] = [*known, value] if isinstance(known, list) else [known, value]
