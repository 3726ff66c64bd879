"""The ring buffer: filled by a program in the kernel, and by hand where that never happens."""

import mmap
import os
import select
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness import REAL_ROOT
from programs import descriptors, loaded, run

from reconciler.bpf import BpfError, Counter, Ring
from reconciler.bpf.assembler import (
    ATOMIC_ADD,
    CALL,
    DW,
    EXIT,
    JA,
    JEQ,
    JNE,
    LABEL,
    LDX,
    MAP_BY_FD,
    MAP_VAL,
    MOV,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    RINGBUF_RESERVE,
    RINGBUF_SUBMIT,
    STX,
    Instruction,
    Label,
)

kernel = pytest.mark.skipif(not REAL_ROOT, reason="only root may load programs into the kernel")

SIZE = 1 << 16
LENGTH = 52
"""Bytes of a record: with its header, and up to whole words, 64."""
FITTING = SIZE // 64 - 1
"""The kernel leaves the last byte free."""
DISCARD = 133  # bpf_ringbuf_discard()

Tell = Callable[..., int]


@pytest.fixture
def ring() -> Iterator[Ring]:
    """A ring of the kernel."""
    made = Ring("trial", SIZE)
    yield made
    made.close()


@pytest.fixture
def counter() -> Iterator[Counter]:
    """A number of the kernel."""
    made = Counter("trial")
    yield made
    made.close()


@pytest.fixture
def tell(ring: Ring, counter: Counter) -> Iterator[Tell]:
    """Let a program write a number into the ring, or count that it has no room; or take it back."""
    steps: list[Instruction | Label] = [
        MOV(R6, R1),
        MAP_BY_FD(R1, ring.descriptor),
        MOV(R2, LENGTH),
        MOV(R3, 0),
        CALL(RINGBUF_RESERVE),
        JNE(R0, 0, "write"),
        MAP_VAL(R1, counter.descriptor, 0),
        MOV(R2, 1),
        ATOMIC_ADD(DW, R1, 0, R2),
        JA("out"),
        LABEL("write"),
        MOV(R7, R0),
        LDX(DW, R1, R6, 0),
        STX(DW, R7, 0, R1),
        LDX(DW, R3, R6, 8),
        MOV(R1, R7),
        MOV(R2, 0),
        JEQ(R3, 0, "submit"),
        CALL(DISCARD),
        JA("out"),
        LABEL("submit"),
        CALL(RINGBUF_SUBMIT),
        LABEL("out"),
        MOV(R0, 0),
        EXIT(),
    ]
    with loaded(steps) as program:
        yield lambda *numbers: run(program, *numbers)


def numbers(ring: Ring) -> list[int]:
    """Read the ring; return the number in each record."""
    records = ring.read()
    assert {*map(len, records)} <= {LENGTH}
    return [struct.unpack_from("=Q", each)[0] for each in records]


def is_readable(ring: Ring) -> bool:
    """Return whether poll(2) says so."""
    poll = select.poll()
    poll.register(ring.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@kernel
def test_what_is_written_is_read_once_and_in_order(ring: Ring, tell: Tell) -> None:
    """The descriptor is readable as long as there is anything."""
    assert (numbers(ring), is_readable(ring)) == ([], False)
    for each in (7, 1 << 60, 9):
        tell(each)
    assert is_readable(ring)
    assert numbers(ring) == [7, 1 << 60, 9]
    assert (numbers(ring), is_readable(ring)) == ([], False)
    tell(3)
    assert (is_readable(ring), numbers(ring)) == (True, [3])


@kernel
def test_the_ring_goes_round(ring: Ring, tell: Tell) -> None:
    """Many times, so that records lie over its end, and none is lost."""
    for start in range(0, 5 * FITTING, 300):
        for each in range(start, start + 300):
            tell(each)
        assert numbers(ring) == [*range(start, start + 300)]


@kernel
def test_a_full_ring_takes_nothing_and_the_program_knows(
    ring: Ring, counter: Counter, tell: Tell
) -> None:
    """What does not fit is counted; once it was read, there is room for as much again."""
    for each in range(FITTING + 9):
        tell(each)
    fitted = numbers(ring)
    assert fitted == [*range(len(fitted))]
    assert (len(fitted), counter.value) == (FITTING, 9)
    tell(5)
    assert (numbers(ring), counter.value) == ([5], 9)


@kernel
def test_what_is_taken_back_is_left_out(ring: Ring, tell: Tell) -> None:
    """It was written, and discarded."""
    for number, discarded in ((1, 0), (2, 1), (3, 0), (4, 1)):
        tell(number, discarded)
    assert numbers(ring) == [1, 3]
    assert not is_readable(ring)


@kernel
def test_nothing_stays_open() -> None:
    """Once ring and number are closed."""
    before = descriptors()
    for made in (Ring("trial", SIZE), Counter("trial")):
        assert descriptors() != before
        made.close()
    assert descriptors() == before


def test_a_record_is_not_read_before_it_is_written(faked: "Faked") -> None:
    """Nor what stands behind it."""
    faked.write(0, b"first", 5)
    faked.write(16, b"second", 6 | 1 << 31)
    faked.write(32, b"third", 5)
    faked.reach(48)
    assert faked.ring.read() == [b"first"]
    assert faked.position == 16
    faked.write(16, b"second", 6)
    assert faked.ring.read() == [b"second", b"third"]
    assert faked.position == 48


def test_a_record_that_cannot_be_is_an_error(faked: "Faked") -> None:
    """It would lead the reader out of the ring."""
    faked.write(0, b"", 1 << 20)
    faked.reach(64)
    with pytest.raises(BpfError, match="behind its end"):
        faked.ring.read()


@pytest.mark.parametrize(
    ("module", "make"), [("ring", lambda: Ring("trial", SIZE)), ("maps", lambda: Counter("trial"))]
)
def test_what_cannot_be_mapped_is_told_and_closed(
    module: str, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no memory."""
    monkeypatch.setattr(f"reconciler.bpf.{module}.made", lambda *_: os.open(os.devnull, os.O_RDWR))
    before = [*Path("/proc/self/fd").iterdir()]
    with pytest.raises(BpfError, match=r"cannot map the .* trial: No such device"):
        make()
    assert [*Path("/proc/self/fd").iterdir()] == before


class Faked:
    """A ring in a file of our own, where the test is the kernel."""

    def __init__(self) -> None:
        self.ring = Ring("trial", SIZE)
        self.memory = mmap.mmap(self.ring.descriptor, 2 * mmap.PAGESIZE + 2 * SIZE)

    def write(self, at: int, record: bytes, word: int) -> None:
        """Write a record with its header."""
        start = 2 * mmap.PAGESIZE + at
        self.memory[start : start + 8] = struct.pack("=II", word, 0)
        self.memory[start + 8 : start + 8 + len(record)] = record

    def reach(self, place: int) -> None:
        """Let it be written up to there."""
        self.memory[mmap.PAGESIZE : mmap.PAGESIZE + 8] = struct.pack("=Q", place)

    @property
    def position(self) -> int:
        """How far it was read, as the ring says."""
        return int.from_bytes(self.memory[:8], "little")

    def close(self) -> None:
        """Close all."""
        self.memory.close()
        self.ring.close()


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faked]:
    """A ring without the kernel: a file stands for what it would make."""

    def made(*_given: object) -> int:
        descriptor = os.memfd_create("trial")
        os.ftruncate(descriptor, 2 * mmap.PAGESIZE + 2 * SIZE)
        return descriptor

    monkeypatch.setattr("reconciler.bpf.ring.made", made)
    with closing(Faked()) as one:
        yield one
