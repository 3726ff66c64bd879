"""Programs in the kernel: loaded, which the verifier has to allow, and attached to a tracepoint.

Numbers are those of linux/bpf.h (6.18).
"""

import ctypes
import errno
import struct
from contextlib import suppress
from typing import Final

from reconciler.bpf.errors import BpfError
from reconciler.bpf.syscall import bpf
from reconciler.log import DEBUG, Log

_log = Log("bpf")

_LOAD, _OPEN_RAW_TRACEPOINT = 5, 17  # BPF_PROG_LOAD, BPF_RAW_TRACEPOINT_OPEN
_RAW_TRACEPOINT: Final = 17  # BPF_PROG_TYPE_RAW_TRACEPOINT
_INSTRUCTION: Final = 8
_LICENCE: Final = b"Dual MIT/GPL\0"
"""What the kernel is told, since it gives tracing helpers to programs under the GPL only."""

_LOADING: Final = struct.Struct("=IIQQIIQI4x16s")
"""Type, instructions and where they are, licence, level, size and place of the log, version, name.
"""
_OPENING: Final = struct.Struct("=QI4x")
_LONGEST_LOG: Final = 1 << 20
_JUDGED: Final = {errno.EINVAL, errno.EACCES, errno.E2BIG}
"""Refusals of the verifier, which says why in its log."""


def load(name: str, code: bytes) -> int:
    """Load a program for raw tracepoints; return its descriptor. Raise `BpfError`.

    What the verifier says against it is logged (``-vv``).
    """
    try:
        return _loaded(name, code, bytearray())
    except BpfError as error:
        if error.code in _JUDGED and _log.wants(DEBUG):
            log = bytearray(_LONGEST_LOG)
            with suppress(BpfError):
                _loaded(name, code, log)
            said = log.partition(b"\0")[0].decode(errors="replace")
            _log.debug("the verifier on the program %s:\n%s", name, said)
        raise


def attach(program: int, tracepoint: str) -> int:
    """Let a program run at a tracepoint until the descriptor that is returned is closed.

    Raise `BpfError`.
    """
    name = ctypes.create_string_buffer(tracepoint.encode())
    attributes = _OPENING.pack(ctypes.addressof(name), program)
    return bpf(_OPEN_RAW_TRACEPOINT, attributes, f"attach to the tracepoint {tracepoint}")


def _loaded(name: str, code: bytes, log: bytearray) -> int:
    """Load it; let the verifier write into ``log``, if it has room for anything."""
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(_LICENCE)
    place = ctypes.addressof((ctypes.c_char * len(log)).from_buffer(log)) if log else 0
    attributes = _LOADING.pack(
        _RAW_TRACEPOINT,
        len(code) // _INSTRUCTION,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        bool(log),
        len(log),
        place,
        0,
        name.encode()[:15],
    )
    return bpf(_LOAD, attributes, f"load the program {name}")
