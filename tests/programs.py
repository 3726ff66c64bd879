"""Programs that run in the kernel when a test says so, with numbers that it gives."""

import ctypes
import errno
import os
import re
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.bpf import load
from reconciler.bpf.assembler import Instruction, Label, assemble

_RUN, _BY_ID = 10, 13  # BPF_PROG_TEST_RUN, BPF_PROG_GET_FD_BY_ID
_NUMBERS = {"x86_64": 321, "aarch64": 280}
_RUNNING = struct.Struct("=II32xI4xQ24x")
"""Program and answer; then size and place of its arguments, of which there are twelve."""
_PATIENCE = 20.0


def run(program: int, *numbers: int) -> int:
    """Run a program with these arguments of 64 bits; return the lower 32 bits of its answer."""
    arguments = ctypes.create_string_buffer(
        struct.pack("=12Q", *numbers, *[0] * (12 - len(numbers)))
    )
    place = ctypes.addressof(arguments)
    attributes = ctypes.create_string_buffer(_RUNNING.pack(program, 0, 96, place), _RUNNING.size)
    assert _bpf(_RUN, attributes) == 0, os.strerror(ctypes.get_errno())
    return int(_RUNNING.unpack(attributes.raw)[1])


@contextmanager
def loaded(steps: Iterable[Instruction | Label]) -> Iterator[int]:
    """Load a program for the block; give its descriptor."""
    program = load("trial", assemble(steps))
    try:
        yield program
    finally:
        os.close(program)


def descriptors() -> list[int]:
    """Return the descriptors of this process that have to do with BPF."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            if "bpf" in str(each.readlink()):
                found.append(int(each.name))
        except FileNotFoundError:
            pass  # that of the listing itself
    return sorted(found)


def attached() -> list[int]:
    """Return the ids of the programs that this process has attached."""
    told = [Path(f"/proc/self/fdinfo/{each}").read_text() for each in descriptors()]
    found = [
        re.search(r"^link_type:(?:.*\n)*?prog_id:\s*(\d+)$", each, re.MULTILINE) for each in told
    ]
    return [int(each[1]) for each in found if each]


def ends(number: int) -> bool:
    """Return whether the kernel forgets a program within some seconds."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        descriptor = _bpf(_BY_ID, ctypes.create_string_buffer(struct.pack("=I", number), 12))
        if descriptor < 0:
            return ctypes.get_errno() == errno.ENOENT
        os.close(descriptor)
        time.sleep(0.02)
    return False


def _bpf(command: int, attributes: "ctypes.Array[ctypes.c_char]") -> int:
    library = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_long(_NUMBERS[os.uname().machine])
    return int(library.syscall(number, command, attributes, ctypes.c_uint(len(attributes))))
