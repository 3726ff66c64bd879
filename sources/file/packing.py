"""How packed logs are told apart, and what to do with those that cannot be unpacked here."""

import io
import shlex
import sys
from typing import Final, Protocol

_UNPACKERS: Final = {
    ".Z": "gzip",
    ".br": "brotli",
    ".lz": "lzip",
    ".lz4": "lz4",
    ".lzo": "lzop",
    ".zst": "zstd",
    ".zstd": "zstd",
}


class Pieces(Protocol):
    """What a packed file holds."""

    def read1(self, size: int, /) -> bytes:
        """Return some of the bytes; none only at the end."""


def zstd(file: io.BufferedReader) -> tuple[Pieces, tuple[type[Exception], ...]]:
    """Return what a file of one or more frames holds, and what it raises where it is damaged.

    Raise ImportError where nothing can read it.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 - few machines need it
    else:
        from backports import zstd  # noqa: PLC0415 - likewise
    return zstd.ZstdFile(file), (zstd.ZstdError, EOFError)


def remedy(path: str, packing: str) -> str:
    """Return why such a file is not unpacked here, and how it is read all the same."""
    why = f"{packing} is not unpacked here"
    if packing in {".zst", ".zstd"}:
        why = "that takes Python 3.14 or backports.zstd (pip install 'treason[zst]')"
    unpacked = f"{_UNPACKERS[packing]} -dc < {shlex.quote(path)}"
    return f"{why}; to read it now: {unpacked} | treason scan --source file:-"
