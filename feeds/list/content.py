"""What a list holds, whoever sends it: unpacked where it is packed by gzip, and never too much."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from reconciler import FeedUnreadable

_GZIP: Final = b"\x1f\x8b"
"""How it begins (RFC 1952 §2.3.1)."""

_PIECE: Final = 1 << 16
"""Bytes that are unpacked at once."""


def unpacked(pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield the content in pieces. Raise `FeedUnreadable` behind ``most`` bytes, also packed."""
    coming = bounded(pieces, most)
    first = b""
    for piece in coming:
        first += piece
        if len(first) >= len(_GZIP):
            break
    if first.startswith(_GZIP):
        yield from bounded(_gunzip(first, coming), most)
    else:
        yield first
        yield from coming


def bounded(pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield the pieces. Raise `FeedUnreadable` once there are more than ``most`` bytes."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise too_large(most)
        yield piece


def too_large(most: int) -> FeedUnreadable:
    """Return what is raised of a list that holds too much."""
    return FeedUnreadable(
        f"holds more than {most >> 20} MiB", "if a list may be so large, raise max_mib"
    )


def _gunzip(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what a file of one or more members holds; it must be whole."""
    unpacker = zlib.decompressobj(wbits=31)
    waiting = first
    try:
        while waiting or (waiting := next(rest, b"")):
            if unpacker.eof:
                unpacker = zlib.decompressobj(wbits=31)
            yield unpacker.decompress(waiting, _PIECE)
            waiting = unpacker.unconsumed_tail or unpacker.unused_data
    except zlib.error as error:
        raise FeedUnreadable(f"what gzip packed is damaged: {error}") from None
    if not unpacker.eof:
        raise FeedUnreadable("what gzip packed ends too early")
