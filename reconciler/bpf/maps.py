"""Maps: memory that a program in the kernel shares with its next run, or with this process.

Numbers are those of linux/bpf.h (6.18): enum bpf_map_type, and BPF_F_MMAPABLE.
"""

import mmap
import os
import struct
from typing import Final

from reconciler.bpf.errors import BpfError
from reconciler.bpf.syscall import bpf

_CREATE: Final = 0  # BPF_MAP_CREATE
_ARRAY, _LRU_HASH = 2, 9  # BPF_MAP_TYPE_*
RING_BUFFER: Final = 27
_SHARED: Final = 1 << 10  # BPF_F_MMAPABLE
_CREATION: Final = struct.Struct("=IIIII8x16s")
"""Type, bytes of a key, bytes of a value, most entries, flags; then the name."""


def made(
    name: str, kind: int, entries: int, sizes: tuple[int, int] = (0, 0), flags: int = 0
) -> int:
    """Make a map of a kind (BPF_MAP_TYPE_*); return its descriptor. Raise `BpfError`.

    ``sizes`` are the bytes of a key, and of a value.
    """
    attributes = _CREATION.pack(kind, *sizes, entries, flags, name.encode()[:15])
    return bpf(_CREATE, attributes, f"make the map {name}")


def recent(name: str, key: int, value: int, entries: int) -> int:
    """Make a hash that forgets what was not used for longest; return its descriptor.

    Keys and values have so many bytes. Raise `BpfError`.
    """
    return made(name, _LRU_HASH, entries, (key, value))


class Counter:
    """A number of 64 bits that a program raises, and this process reads without a system call."""

    def __init__(self, name: str) -> None:
        """Make it. Raise `BpfError`."""
        self.descriptor = made(name, _ARRAY, 1, (4, 8), _SHARED)
        try:
            self._memory = mmap.mmap(self.descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ)
        except OSError as error:
            os.close(self.descriptor)
            raise BpfError(f"cannot map the map {name}: {error.strerror}") from None
        self._cells = memoryview(self._memory).cast("Q")

    @property
    def value(self) -> int:
        """The number now."""
        return self._cells[0]

    def close(self) -> None:
        """Release memory and descriptor; a program that has the map keeps it."""
        self._cells.release()
        self._memory.close()
        os.close(self.descriptor)
