"""The assembler: the kernel itself says what its instructions do."""

import operator
from collections.abc import Callable, Sequence

import pytest
from harness import REAL_ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import loaded, run

from reconciler.bpf import assembler
from reconciler.bpf.assembler import (
    ADD,
    ATOMIC_ADD,
    CALL,
    DW,
    EXIT,
    JA,
    JEQ,
    JGT,
    JNE32,
    KTIME_GET_NS,
    LABEL,
    LDX,
    MAP_VAL,
    MOV,
    MOV32,
    R0,
    R1,
    R2,
    R3,
    R6,
    R10,
    RSH,
    ST,
    STX,
    B,
    H,
    Instruction,
    Label,
    Register,
    Size,
    W,
    assemble,
)

kernel = pytest.mark.skipif(not REAL_ROOT, reason="only root may load programs into the kernel")

ALL = (1 << 64) - 1
Arithmetic = Callable[[Register, Register | int], Instruction]
Jump = Callable[[Register, Register | int, str], Instruction]

ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "ADD": operator.add,
    "SUB": operator.sub,
    "OR": operator.or_,
    "AND": operator.and_,
    "XOR": operator.xor,
    "LSH": lambda a, b: a << (b & 63),
    "RSH": lambda a, b: a >> (b & 63),
    "MOV": lambda _, b: b,
    "SUB32": lambda a, b: a - b & 0xFFFFFFFF,
    "MOV32": lambda _, b: b & 0xFFFFFFFF,
}
JUMPS: dict[str, Callable[[int, int], bool]] = {
    "JEQ": operator.eq,
    "JNE": operator.ne,
    "JGT": operator.gt,
    "JGE": operator.ge,
    "JLT": operator.lt,
    "JLE": operator.le,
    "JSET": lambda a, b: bool(a & b),
    "JNE32": lambda a, b: a & 0xFFFFFFFF != b & 0xFFFFFFFF,
}

wide = st.one_of(st.integers(0, ALL), st.integers(0, 5), st.integers(ALL - 5, ALL))
narrow = st.one_of(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-3, 70))


def given_to(steps: Sequence[Instruction | Label], *numbers: int) -> int:
    """Return what a program makes of numbers in R2 and R3: all 64 bits of R0."""
    begin = [MOV(R6, R1), LDX(DW, R2, R6, 0), LDX(DW, R3, R6, 8), MOV(R0, 0)]
    with (
        loaded([*begin, *steps, EXIT()]) as low,
        loaded([*begin, *steps, RSH(R0, 32), EXIT()]) as high,
    ):
        return run(high, *numbers) << 32 | run(low, *numbers)


@kernel
@pytest.mark.parametrize("name", ARITHMETIC)
@settings(max_examples=20)
@given(left=wide, right=wide, number=narrow)
def test_arithmetic_is_what_its_name_says(name: str, left: int, right: int, number: int) -> None:
    """With another register, and with a number, which its sign extends."""
    make: Arithmetic = getattr(assembler, name)
    expected = ARITHMETIC[name]
    if name in {"LSH", "RSH"}:
        number &= 63
    found = given_to([MOV(R0, R2), make(R0, R3)], left, right)
    assert found == expected(left, right) & ALL
    assert given_to([MOV(R0, R2), make(R0, number)], left) == expected(left, number & ALL) & ALL


@kernel
@pytest.mark.parametrize("name", JUMPS)
@settings(max_examples=20)
@given(left=wide, right=wide, number=narrow)
def test_jumps_are_made_when_their_name_says(name: str, left: int, right: int, number: int) -> None:
    """Compared with a register, and with a number; numbers have no sign."""
    make: Jump = getattr(assembler, name)
    for to, with_it in ((R3, right), (number, number & ALL), (R2, left)):
        jump: list[Instruction | Label] = [make(R2, to, "yes"), JA("end")]
        steps = [*jump, LABEL("yes"), MOV(R0, 1), LABEL("end")]
        assert given_to(steps, left, right) == JUMPS[name](left, with_it)


@kernel
@pytest.mark.parametrize(("size", "bits"), [(B, 8), (H, 16), (W, 32), (DW, 64)])
def test_so_much_is_stored_and_loaded(size: Size, bits: int) -> None:
    """The rest stays as it is; what is loaded is cleared above."""
    number, kept = 0x8182838485868788, ALL >> bits << bits
    below = (1 << bits) - 1
    store = [ST(DW, R10, -8, -1), STX(size, R10, -8, R2)]
    assert given_to([*store, LDX(DW, R0, R10, -8)], number) == kept | number & below
    assert given_to([*store, LDX(size, R0, R10, -8)], number) == number & below
    store = [ST(DW, R10, -8, 0), ST(size, R10, -8, -2)]
    assert given_to([*store, LDX(DW, R0, R10, -8)]) == -2 & below


@kernel
def test_something_is_added_in_memory() -> None:
    """As one step, whoever else does it."""
    steps = [STX(DW, R10, -8, R2), ATOMIC_ADD(DW, R10, -8, R3), LDX(DW, R0, R10, -8)]
    assert given_to(steps, 1 << 40, 5) == (1 << 40) + 5
    steps = [ST(DW, R10, -8, 7), ATOMIC_ADD(W, R10, -8, R3), LDX(DW, R0, R10, -8)]
    assert given_to(steps, 0, 5) == 12


@kernel
def test_numbers_of_32_bits_are_written_with_and_without_a_sign() -> None:
    """Where the upper half is not touched; inodes of namespaces are above 2**31."""
    assert given_to([MOV32(R0, 0xF0000001)]) == 0xF0000001
    assert given_to([MOV32(R0, -1)]) == 0xFFFFFFFF
    steps: list[Instruction | Label] = [JNE32(R2, 0xF0000001, "end"), MOV(R0, 1), LABEL("end")]
    assert given_to(steps, 0xF0000001) == 1


@kernel
def test_functions_of_the_kernel_are_called() -> None:
    """Its clock goes on."""
    assert given_to([CALL(KTIME_GET_NS)]) > 0


def test_a_program_reads_as_it_is_written() -> None:
    """The bytes of each instruction, as the documentation lays them out."""
    code = assemble(
        [
            LDX(W, R1, R10, -4),
            MAP_VAL(R2, 7, 16),
            JGT(R1, R2, "out"),
            MOV(R0, -1),
            LABEL("out"),
            EXIT(),
        ]
    )
    assert code.hex(" ", 8) == (
        "61a1fcff00000000 1822000007000000 0000000010000000 2d21010000000000 b7000000ffffffff"
        " 9500000000000000"
    )


MISUSES: dict[str, tuple[Callable[[], object], str]] = {
    "no end": (lambda: assemble([MOV(R0, 0)]), "not EXIT"),
    "nothing": (lambda: assemble([]), "not EXIT"),
    "a label at the end": (lambda: assemble([EXIT(), LABEL("out")]), "not EXIT"),
    "no such label": (lambda: assemble([JA("out"), EXIT()]), "no label out"),
    "two labels": (lambda: assemble([LABEL("out"), LABEL("out"), EXIT()]), "two labels"),
    "a loop": (lambda: assemble([LABEL("out"), JA("out"), EXIT()]), "goes back"),
    "too far": (
        lambda: assemble([JA("out"), *[MOV(R0, 0)] * 40_000, LABEL("out"), EXIT()]),
        "16 bits",
    ),
    "a large number": (lambda: MOV(R0, 1 << 31), "32 bits"),
    "a large number of 32 bits": (lambda: MOV32(R0, 1 << 32), "32 bits"),
    "a small number": (lambda: ADD(R0, -(1 << 31) - 1), "32 bits"),
    "a large number to compare": (lambda: JEQ(R0, 0xF0000001, "out"), "32 bits"),
    "a large number to store": (lambda: ST(DW, R10, -8, 1 << 31), "32 bits"),
    "a large offset": (lambda: LDX(W, R0, R1, 1 << 15), "16 bits"),
    "a small offset": (lambda: STX(W, R1, -(1 << 15) - 1, R0), "16 bits"),
    "the end of the stack as a target": (lambda: MOV(R10, R1), "R10"),
    "the end of the stack loaded": (lambda: LDX(W, R10, R1, 0), "R10"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_what_cannot_be_written_is_refused(misuse: str) -> None:
    """It is a mistake in the program, found before the kernel is asked."""
    make, why = MISUSES[misuse]
    with pytest.raises(ValueError, match=why):
        make()
