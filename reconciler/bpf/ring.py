"""The ring buffer of BPF: what a program wrote, read from memory that the kernel shares.

The layout is that of kernel/bpf/ringbuf.c (6.18): a page with the place up to which it was read,
which is ours to write; a page with the place up to which it was written; then the records, mapped
twice in a row, so that none is ever torn. A record begins with struct bpf_ringbuf_hdr, 8 bytes:
its length and two bits, and where its page is.
"""

import mmap
import os
import struct
from threading import Lock
from typing import Final

from reconciler.bpf.errors import BpfError
from reconciler.bpf.maps import RING_BUFFER, made

_BUSY: Final = 1 << 31  # BPF_RINGBUF_BUSY_BIT: it is still being written
_DISCARDED: Final = 1 << 30  # BPF_RINGBUF_DISCARD_BIT
_LENGTH: Final = _DISCARDED - 1
_HEADER: Final = 8
_WORD: Final = struct.Struct("I")


class Ring:
    """A ring buffer of ``size`` bytes, which this process alone reads.

    The size is a power of two, and whole pages.
    """

    def __init__(self, name: str, size: int) -> None:
        """Make it. Raise `BpfError`."""
        self.descriptor = made(name, RING_BUFFER, size)
        self._size, self._position = size, 0
        self._barrier = _Barrier()
        page = mmap.PAGESIZE
        try:
            self._ours = mmap.mmap(self.descriptor, page)
            self._records = mmap.mmap(
                self.descriptor, page + 2 * size, prot=mmap.PROT_READ, offset=page
            )
        except OSError as error:
            os.close(self.descriptor)
            raise BpfError(f"cannot map the ring buffer {name}: {error.strerror}") from None
        # One access to such a cell is one access to memory; `struct` reads "=Q" byte by byte.
        self._read_to = memoryview(self._ours)[:8].cast("Q")
        self._written_to = memoryview(self._records)[:8].cast("Q")

    def fileno(self) -> int:
        """Return the descriptor, readable while anything is there that was not read.

        Also while what is there is still being written, so that `read` returns nothing yet.
        """
        return self.descriptor

    def read(self) -> list[bytes]:
        """Return the records that are complete, up to the first that is not; at most a ring full.

        Raise `BpfError` where the memory is not what the kernel makes it.
        """
        written = self._written_to[0]
        self._barrier.pass_by()  # headers are no older than the place up to which is written
        found = self._complete(written)
        self._barrier.pass_by()  # nor records older than their headers
        records = [self._records[at : at + length] for at, length in found]
        self._barrier.pass_by()  # they are read before the kernel may write over them
        self._read_to[0] = self._position
        return records

    def close(self) -> None:
        """Release memory and descriptor."""
        for cells in (self._read_to, self._written_to):
            cells.release()
        self._ours.close()
        self._records.close()
        os.close(self.descriptor)

    def _complete(self, written: int) -> list[tuple[int, int]]:
        """Go over the complete records; return where each of them is, and its length."""
        found = []
        while self._position < written:
            at = mmap.PAGESIZE + self._position % self._size
            (word,) = _WORD.unpack_from(self._records, at)
            if word & _BUSY:
                break
            length = word & _LENGTH
            behind = self._position + (_HEADER + length + 7 & ~7)
            if behind > written:
                raise BpfError("the ring buffer has a record that goes on behind its end")
            if not word & _DISCARDED:
                found.append((at + _HEADER, length))
            self._position = behind
        return found


class _Barrier:
    """Keeps accesses to memory in order, which aarch64 does not do by itself.

    To release a lock is not done before what precedes it, and to take one is done before what
    follows; no processor takes one before it has released another. So nothing passes by both.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def pass_by(self) -> None:
        """Let all accesses before this come before all that follow."""
        self._lock.release()
        self._lock.acquire()
