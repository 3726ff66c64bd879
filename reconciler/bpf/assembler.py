"""Instructions for the machine in the kernel, each by the name that its documentation gives it.

Names and numbers are those of Documentation/bpf/standardization/instruction-set.rst (6.18), and of
linux/bpf.h for helper functions. A program is a list::

    [
        LDX(DW, R6, R1, 0),        # r6 = *(u64 *)(r1 + 0)
        JEQ(R6, 0, "out"),         # if r6 == 0 goto out
        LABEL("out"),
        MOV(R0, 0),                # r0 = 0
        EXIT(),
    ]

Registers are `R0` to `R10`: R0 has what a function returned, R1 to R5 what one is called with, R6
to R9 stay as they are, and R10 is the end of a stack of 512 bytes. An operand that is a number is
extended with its sign; ``MOV32`` and others with that ending work on the lower 32 bits, and clear
the upper ones. What cannot be written so raises ValueError, as a mistake in the program.
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
"""Classes of instructions."""

_BY_REGISTER: Final = 0x08  # X; without it K, the immediate
_MEMORY, _ATOMIC = 0x60, 0xC0  # MEM, ATOMIC
_MAP, _MAP_VALUE = 1, 2  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
_LAST_REGISTER: Final = 10
_ENCODED: Final = struct.Struct("<BBhi")
"""Opcode, registers, offset, immediate: what one instruction is, or each half of a wide one."""


class Register(NamedTuple):
    """One of eleven registers of 64 bits."""

    number: int


class Size(NamedTuple):
    """How much is loaded or stored."""

    bits: int


class Label(NamedTuple):
    """A place to jump to."""

    name: str


class Instruction(NamedTuple):
    """An instruction; ``following`` is the other half of a wide one, ``target`` names a label."""

    opcode: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0
    following: int | None = None
    target: str = ""


R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = map(Register, range(_LAST_REGISTER + 1))

W, H, B, DW = map(Size, (0x00, 0x08, 0x10, 0x18))
"""Four bytes, two, one, eight."""

LABEL: Final = Label


class _Arithmetic:
    """``destination OP= source``."""

    def __init__(self, code: int, kind: int = _ALU64) -> None:
        self._opcode = code << 4 | kind

    def __call__(self, destination: Register, source: Register | int) -> Instruction:
        """Return the instruction."""
        to = _written(destination)
        if isinstance(source, Register):
            return Instruction(self._opcode | _BY_REGISTER, to, source.number)
        number = _immediate(source, self._opcode & 7 == _ALU)
        return Instruction(self._opcode, to, immediate=number)


class _Jump:
    """``if destination OP source goto target``."""

    def __init__(self, code: int, kind: int = _JMP) -> None:
        self._opcode = code << 4 | kind

    def __call__(self, left: Register, right: Register | int, target: str) -> Instruction:
        """Return the instruction."""
        if isinstance(right, Register):
            opcode = self._opcode | _BY_REGISTER
            return Instruction(opcode, left.number, right.number, target=target)
        number = _immediate(right, self._opcode & 7 == _JMP32)
        return Instruction(self._opcode, left.number, immediate=number, target=target)


ADD, SUB, OR, AND, LSH, RSH, XOR, MOV = map(_Arithmetic, (0x0, 0x1, 0x4, 0x5, 0x6, 0x7, 0xA, 0xB))
SUB32: Final = _Arithmetic(0x1, _ALU)
MOV32: Final = _Arithmetic(0xB, _ALU)

JEQ, JGT, JGE, JSET, JNE, JLT, JLE = map(_Jump, (0x1, 0x2, 0x3, 0x4, 0x5, 0xA, 0xB))
"""Comparisons are of numbers without a sign."""
JNE32: Final = _Jump(0x5, _JMP32)

MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, KTIME_GET_NS = 1, 2, 5
PROBE_READ_KERNEL, RINGBUF_RESERVE, RINGBUF_SUBMIT = 113, 131, 132
"""Functions of the kernel: bpf_map_lookup_elem() and so on."""


def JA(target: str) -> Instruction:  # noqa: N802 - as the kernel's documentation names it
    """Jump."""
    return Instruction(_JMP, target=target)


def CALL(function: int) -> Instruction:  # noqa: N802 - as above
    """Call a function of the kernel with R1 to R5, which it spoils; R0 is what it returns."""
    return Instruction(0x80 | _JMP, immediate=function)


def EXIT() -> Instruction:  # noqa: N802 - as above
    """End the program; R0 is what it returns."""
    return Instruction(0x90 | _JMP)


def LDX(size: Size, destination: Register, source: Register, offset: int) -> Instruction:  # noqa: N802 - as above
    """Load ``destination = *(size *) (source + offset)``."""
    opcode = _MEMORY | size.bits | _LDX
    return Instruction(opcode, _written(destination), source.number, _offset(offset))


def STX(size: Size, destination: Register, offset: int, source: Register) -> Instruction:  # noqa: N802 - as above
    """Store ``*(size *) (destination + offset) = source``."""
    opcode = _MEMORY | size.bits | _STX
    return Instruction(opcode, destination.number, source.number, _offset(offset))


def ST(size: Size, destination: Register, offset: int, immediate: int) -> Instruction:  # noqa: N802 - as above
    """Store ``*(size *) (destination + offset) = immediate``."""
    opcode = _MEMORY | size.bits | _ST
    number = _immediate(immediate, size != DW)
    return Instruction(opcode, destination.number, 0, _offset(offset), number)


def ATOMIC_ADD(size: Size, destination: Register, offset: int, source: Register) -> Instruction:  # noqa: N802 - as above
    """Add ``*(size *) (destination + offset) += source``, whoever else does it meanwhile."""
    opcode = _ATOMIC | size.bits | _STX
    return Instruction(opcode, destination.number, source.number, _offset(offset))


def MAP_BY_FD(destination: Register, descriptor: int) -> Instruction:  # noqa: N802 - as above
    """Load a map, by its descriptor: a wide instruction."""
    return Instruction(0x18, _written(destination), _MAP, 0, descriptor, following=0)


def MAP_VAL(destination: Register, descriptor: int, offset: int) -> Instruction:  # noqa: N802 - as above
    """Load the address of an array's memory, and so many bytes more: a wide instruction."""
    return Instruction(0x18, _written(destination), _MAP_VALUE, 0, descriptor, following=offset)


def assemble(steps: Iterable[Instruction | Label]) -> bytes:
    """Return the program as the kernel takes it. Raise ValueError.

    Jumps go forward only, so that every program ends by itself.
    """
    steps = [*steps]
    labels: dict[str, int] = {}
    length = 0
    for step in steps:
        if isinstance(step, Label):
            if step.name in labels:
                raise ValueError(f"two labels are called {step.name}")
            labels[step.name] = length
        else:
            length += 1 if step.following is None else 2
    if not steps or steps[-1] != EXIT():
        raise ValueError("the last instruction is not EXIT")
    code = b""
    for step in steps:
        if isinstance(step, Instruction):
            code += _encoded(step, labels, len(code) // _ENCODED.size + 1)
    return code


def _encoded(one: Instruction, labels: dict[str, int], behind: int) -> bytes:
    """Return an instruction's bytes; ``behind`` is the number of the one that follows it."""
    offset = one.offset
    if one.target:
        if one.target not in labels:
            raise ValueError(f"there is no label {one.target}")
        offset = _offset(labels[one.target] - behind)
        if offset < 0:
            raise ValueError(f"a jump goes back, to {one.target}")
    registers = one.source << 4 | one.destination
    code = _ENCODED.pack(one.opcode, registers, offset, one.immediate)
    return code if one.following is None else code + _ENCODED.pack(0, 0, 0, one.following)


def _written(register: Register) -> int:
    if register.number == _LAST_REGISTER:
        raise ValueError("R10 cannot be written to")
    return register.number


def _offset(number: int) -> int:
    if not -(1 << 15) <= number < 1 << 15:
        raise ValueError(f"an offset of {number} does not fit into 16 bits")
    return number


def _immediate(number: int, narrow: bool) -> int:
    """Return a number of 32 bits as one with a sign, which a wider operand is extended by."""
    if narrow and 1 << 31 <= number < 1 << 32:
        return number - (1 << 32)
    if not -(1 << 31) <= number < 1 << 31:
        raise ValueError(f"{number} does not fit into 32 bits, or would become another number")
    return number
