"""Where the kernel has its members: its own description, others, and damaged ones."""

import random
import tracemalloc
from contextlib import suppress
from io import BytesIO
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structures import ARRAY, CONST, INT, PTR, STRUCT, TYPEDEF, UNION, Reader, Unclear, Writer, read

from reconciler.bpf import BtfUnreadable, Member, btf, members
from reconciler.bpf.btf import KERNEL

BIT_FIELDS = 1 << 31
PIECE = 8192
"""Bytes of names that are looked through at once."""


def found(writer: Writer, *names: str, structure: str = "s") -> dict[str, Member]:
    """Look members up in what was written."""
    return members({structure: names}, BytesIO(writer.data()))[structure]


def refused(writer: Writer | bytes, *names: str) -> str:
    """Return why what was written is refused."""
    data = writer if isinstance(writer, bytes) else writer.data()
    with pytest.raises(BtfUnreadable) as caught:
        members({"s": names}, BytesIO(data))
    return caught.value.what


@pytest.fixture
def writer() -> Writer:
    """A description that has ``int``, the type 1, and ``char``, the type 2."""
    made = Writer()
    made.add(INT, "int", 4, 0, 32)
    made.add(INT, "char", 1, 0, 8)
    return made


@pytest.mark.skipif(not KERNEL.exists(), reason="this kernel does not tell its types")
def test_the_kernel_is_read_as_a_plain_reader_reads_it() -> None:
    """Many of its structures, with all that they have."""
    with KERNEL.open("rb") as stream:
        data = stream.read()
    reader = Reader(read(data), [])
    named = {each.name: each for each in reader.types if each.kind == STRUCT and each.members}
    wanted, expected = dict[str, tuple[str, ...]](), dict[str, dict[str, Member]]()
    for structure in sorted(named.keys() - {""})[::100]:
        names = tuple(name for name, _, _, bits in named[structure].members if name and not bits)
        reader.visited.clear()
        try:
            expected[structure] = reader.find(structure, names)
        except Unclear:
            continue  # defined twice, or with a bit field
        wanted[structure] = names
    assert members(wanted) == expected
    assert sum(map(len, expected.values())) > 300


@pytest.mark.skipif(not KERNEL.exists(), reason="this kernel does not tell its types")
def test_the_kernel_has_what_every_kernel_has() -> None:
    """Addresses stand first in a socket, and ports behind them (net/sock.h)."""
    wanted = {"sock_common": ["skc_daddr", "skc_rcv_saddr", "skc_dport", "skc_num"]}
    assert members(wanted)["sock_common"] == {
        "skc_daddr": Member(0, 4),
        "skc_rcv_saddr": Member(4, 4),
        "skc_dport": Member(12, 2),
        "skc_num": Member(14, 2),
    }


@pytest.mark.skipif(not KERNEL.exists(), reason="this kernel does not tell its types")
def test_a_look_takes_little_memory() -> None:
    """The file has megabytes; it is gone through in pieces."""
    members({"net": ["ns"]})
    tracemalloc.start()
    members({"net": ["ns"]})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400_000 < KERNEL.stat().st_size


def test_members_of_unnamed_ones_are_the_outer_ones(writer: Writer) -> None:
    """However deep, and by whatever other name; those of named ones are not."""
    inner = writer.structure("", 8, [("deep", 1, 0), ("wide", 1, 32)])
    union = writer.structure("", 8, [("", inner, 0), ("other", 2, 0)], kind=UNION)
    const = writer.add(CONST, "", writer.add(TYPEDEF, "named_t", union))
    other = writer.structure("other_s", 8, [("hidden", 1, 0)])
    writer.structure("s", 24, [("first", 2, 0), ("", const, 64), ("named", other, 128)])
    assert found(writer, "first", "deep", "wide", "other", "named", "hidden", "none") == {
        "first": Member(0, 1),
        "deep": Member(8, 4),
        "wide": Member(12, 4),
        "other": Member(8, 1),
        "named": Member(16, 8),
    }


def test_sizes_are_those_of_the_types(writer: Writer) -> None:
    """Of a number, a pointer, a structure, by any name; of others it is not asked."""
    pointer = writer.add(PTR, "", 0)
    number = writer.add(TYPEDEF, "u8", 2)
    several = writer.add(ARRAY, "", 0, 0, 1, 1, 5)
    writer.structure("s", 24, [("p", pointer, 0), ("n", number, 64), ("a", several, 96)])
    assert found(writer, "p", "n", "a") == {
        "p": Member(0, 8),
        "n": Member(8, 1),
        "a": Member(12, 0),
    }


def test_the_same_structure_may_be_told_twice(writer: Writer) -> None:
    """If it is the same; two that differ are refused."""
    writer.structure("s", 4, [("a", 1, 0)])
    writer.structure("s", 8, [("a", 1, 0), ("b", 1, 32)])
    assert found(writer, "a") == {"a": Member(0, 4)}
    assert "two structures s" in refused(writer, "a", "b")


def test_a_name_is_found_at_the_seam_of_two_pieces() -> None:
    """Wherever the seam is in it."""
    for padding in range(PIECE - 20, PIECE + 4):
        writer = Writer()
        writer.name("x" * padding)
        writer.add(INT, "int", 4, 0, 32)
        writer.structure("s_of_names", 4, [("member", 1, 0)])
        assert found(writer, "member", structure="s_of_names") == {"member": Member(0, 4)}


def test_a_type_is_found_in_whichever_piece(writer: Writer) -> None:
    """Thousands of types, some of them larger than a piece."""
    for number in range(3000):
        writer.add(INT, f"n{number}", number % 8 + 1, 0, 32)
    large = [(f"m{number}", number % 3000 + 3, 32 * number) for number in range(2000)]
    writer.structure("s", 8000, large)
    last = writer.add(INT, "last", 2, 0, 16)
    writer.structure("s2", 8, [("m", last, 0), ("n", writer.number, 32)])
    every = found(writer, *(name for name, _, _ in large))
    assert every == {
        name: Member(at // 8, (of - 3) % 8 + 1) for name, of, at in islice(large, 2000)
    }
    assert found(writer, "m", structure="s2")["m"] == Member(0, 2)


def test_what_cannot_be_meant_is_refused(writer: Writer) -> None:
    """With what is wrong about it."""
    assert "no structure s" in refused(writer, "a")
    writer.structure("s", 4, [("flag", 1, 3 << 24), ("odd", 1, 4)], flag=BIT_FIELDS)
    assert "has flag as a bit field" in refused(writer, "flag")
    assert "has odd as a bit field" in refused(writer, "odd")


def test_a_structure_in_itself_ends(writer: Writer) -> None:
    """Neither depth nor number of members is followed for ever."""
    number = writer.number + 1
    writer.structure("s", 8, [("", number, 0)] * 60_000)
    assert "too deep" in refused(writer, "a")
    writer = Writer()
    writer.structure("s", 8, [("", 1, 0)])
    assert "too deep" in refused(writer, "a")
    writer = Writer()
    writer.add(TYPEDEF, "t", 1)
    writer.structure("s", 8, [("a", 1, 0)])
    assert "too many names" in refused(writer, "a")


@pytest.mark.parametrize(("of", "why"), [(0, "type 0 is"), (99, "no type 99"), (4, "no type 4")])
def test_a_type_that_is_not_there_is_refused(writer: Writer, of: int, why: str) -> None:
    """None is, and the next after the last."""
    writer.structure("s", 8, [("a", of, 0)])
    assert why in refused(writer, "a")


def test_a_beginning_that_is_another_is_refused(writer: Writer) -> None:
    """Another kind of file, another version, the other order of bytes, or nothing at all."""
    data = writer.data()
    for wrong in (b"\x7fELF" + data[4:], data[:2] + b"\2" + data[3:], data[1::-1] + data[2:]):
        assert "BTF of version 1" in refused(wrong)
    assert "cut off" in refused(b"")
    assert "too large" in refused(data[:12] + b"\xff\xff\xff\xff" + data[16:])


@pytest.mark.parametrize("cut", [1, 20, 40, 60, 70])
def test_what_is_cut_off_is_refused(writer: Writer, cut: int) -> None:
    """Anywhere."""
    writer.structure("s", 4, [("a", 1, 0)])
    refused(writer.data()[:-cut], "a")


@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    seed=st.integers(0, 9),
)
def test_damage_is_refused_or_does_no_harm(changes: list[tuple[int, int]], seed: int) -> None:
    """No other error is raised, whichever bytes are others."""
    writer = Writer()
    dice = random.Random(seed)  # noqa: S311 - inputs, no secrets
    for number in range(10):
        writer.add(dice.choice((PTR, TYPEDEF, CONST)), f"t{number}", dice.randrange(12))
    inner = writer.structure("", 8, [("b", 1, 0)])
    writer.structure("s", 8, [("a", dice.randrange(1, 11), 0), ("", inner, 0)])
    data = bytearray(writer.data())
    for at, byte in changes:
        data[at % len(data)] = byte
    with suppress(BtfUnreadable):
        members({"s": ["a", "b"]}, BytesIO(bytes(data)))


def test_a_kernel_that_tells_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no file, or it may not be read."""
    monkeypatch.setattr(btf, "KERNEL", tmp_path / "vmlinux")
    with pytest.raises(BtfUnreadable, match="does not tell its types") as caught:
        members({})
    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.hint
    monkeypatch.setattr(btf, "KERNEL", tmp_path)
    with pytest.raises(BtfUnreadable, match=r"cannot read .*: Is a directory"):
        members({})
