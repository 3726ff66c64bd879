"""The lines of a log, in constant memory: chunks of many, and those in them that hold a needle."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sources.file.search import contains
from sources.file.spread import opens
from sources.file.stream import Stream

_CHUNK: Final = 1 << 18
"""Bytes that are read and searched at once."""

LONGEST: Final = 1 << 16
"""Bytes of a line; one of as many is no kernel message, and is skipped without being held."""

_LONGEST_ADDRESS: Final = 64
"""Bytes that are more than an address with a port has."""

_NEWLINE: Final = ord("\n")

_ADDRESS: Final = re.compile(rb"[.:][0-9A-Fa-f.:]*(?<=[0-9A-Fa-f:])\Z")
"""The end of an address, which can also go on."""


def resume(stream: Stream, offset: int, tail: int) -> int:
    """Go to where a log is to be read on: behind ``offset``, or also behind the tail.

    A tail that has got its newline, and nothing else, is a line that was read already, unless a
    record begins in it that goes on in the next.
    """
    stream.go(offset)
    if not tail:
        return offset
    first = stream.readline(LONGEST)
    if first[tail:] in {b"\n", b"\r\n"} and not opens(first):
        return offset + len(first)
    stream.go(offset)
    return offset


def goes_on(line: bytes) -> bool:
    """Whether a line without its newline may end inside an address: 192.0.2.1 becomes .123."""
    return _ADDRESS.search(line, max(0, len(line) - _LONGEST_ADDRESS)) is not None


def chunks(stream: Stream) -> Iterator[tuple[int, bytes, int]]:
    """Yield chunks, each with its place in the log and the end of its last whole line.

    The line that a chunk cuts follows by itself, and so does a last one without its newline; of
    one that is too long only its beginning. Of one in which no more may be read, nothing does.
    """
    _skip_hole(stream)
    offset = stream.at
    while chunk := stream.read(min(_CHUNK, stream.left)):  # for few bytes no room for many
        end = chunk.rfind(b"\n") + 1
        yield offset, chunk, end
        offset += end
        line = chunk[end:] + stream.readline(LONGEST)
        if line and not line.endswith(b"\n") and stream.cut:
            yield offset, b"", 0  # half an address is another one
            return
        length = len(line)
        yield offset, line, length
        while length >= LONGEST and line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST)
            length += len(line)
        offset += length


def _skip_hole(stream: Stream) -> None:
    """Pass over NUL bytes.

    A writer that does not append leaves as many as the file was long when it was truncated.
    """
    while (ahead := stream.ahead()).startswith(b"\0"):
        size = len(ahead)  # compared at once, as it is NUL for gigabytes or not at all
        stream.read(size if ahead == bytes(size) else size - len(ahead.lstrip(b"\0")))


def lines(chunk: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are neither empty nor too long, and where they stand in the chunk."""
    start = 0
    while start < end:
        stop = chunk.find(b"\n", start, end) + 1 or end
        if stop - start < LONGEST and chunk[start] != _NEWLINE:
            yield start, chunk[start:stop]
        start = stop


def too_long(line: bytes) -> bool:
    """Whether a line is no kernel message, and is not held."""
    return len(line) >= LONGEST


def before(chunk: bytes, at: int) -> Iterator[bytes]:
    """Yield the lines of a piece of a log that end at a place, the last one first."""
    while at > 0:
        start = chunk.rfind(b"\n", 0, at - 1) + 1
        yield chunk[start:at]
        at = start


def holding(
    chunk: bytes, end: int, needles: Sequence[bytes], places: Iterable[int] = ()
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that hold a needle or a place, in order, and where they stand."""
    found: dict[int, int] = {}
    for place in places:
        found[chunk.rfind(b"\n", 0, place) + 1] = chunk.find(b"\n", place, end) + 1 or end
    for needle in needles:
        if not contains(chunk, end, needle):
            continue
        at = chunk.find(needle, 0, end)
        while at >= 0:
            stop = chunk.find(b"\n", at, end) + 1 or end
            found[chunk.rfind(b"\n", 0, at) + 1] = stop
            at = chunk.find(needle, stop, end)
    for start, stop in sorted(found.items()):
        if stop - start < LONGEST:
            yield start, chunk[start:stop]


def text(line: bytes) -> str:
    """Return a line as text; NUL bytes stand before it where a machine died while writing."""
    return line.rstrip(b"\r\n").lstrip(b"\0").decode(errors="replace")
