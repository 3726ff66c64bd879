"""bpf(2), which the C library has no function for, and on which machines it can be called."""

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Final

from reconciler.bpf.errors import BpfUnavailable, refusal

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}
"""The number of the system call: asm/unistd_64.h, asm-generic/unistd.h."""

_TRIES: Final = 5
"""How often what a signal interrupted (EAGAIN) is tried."""


def check_machine() -> None:
    """Raise `BpfUnavailable` where the call's number, or the order of bytes, is another one."""
    machine = os.uname().machine
    if machine not in _NUMBERS or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        known = " and ".join(_NUMBERS)
        raise BpfUnavailable(f"BPF is used on {known} only; this is a Python on {machine}")


def bpf(command: int, attributes: bytes, deed: str) -> int:
    """Call the kernel with a command (BPF_*) and its part of union bpf_attr; return its answer.

    ``deed`` says what it is to do, for the error. Raise `BpfError`.
    """
    check_machine()
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    number = ctypes.c_long(_NUMBERS[os.uname().machine])
    for _ in range(_TRIES):
        result: int = _library().syscall(number, command, buffer, ctypes.c_uint(len(attributes)))
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code != errno.EAGAIN:
            break
    raise refusal(code, deed)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
