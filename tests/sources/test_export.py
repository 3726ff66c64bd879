"""Entries as journalctl exports them."""

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources import export

NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True)
VALUES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(str.encode),
    st.just(b"x\n\nMESSAGE=forged\nSYSLOG_FACILITY=0\n\n"),
)


def written(fields: list[tuple[str, bytes]]) -> bytes:
    """Return an entry in the format: a value that is no plain line comes with its length."""
    text = b""
    for name, value in fields:
        if b"\n" in value or any(byte < 32 for byte in value):
            text += name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
        else:
            text += name.encode() + b"=" + value + b"\n"
    return text + b"\n"


def read(text: bytes, size: int) -> tuple[list[export.Entry], export.Rest]:
    """Return the entries of a text that comes in pieces, and the rest."""
    found = []

    def all_of() -> Generator[export.Entry, None, export.Rest]:
        return (yield from export.entries(text[at : at + size] for at in range(0, len(text), size)))

    coming = all_of()
    while True:
        try:
            found.append(next(coming))
        except StopIteration as stop:
            return found, stop.value


@given(
    st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5), max_size=5),
    st.integers(1, 50),
)
def test_every_value_comes_back_whatever_it_holds(
    entries: list[dict[str, bytes]], size: int
) -> None:
    """Also what looks like other entries; and however the pieces are cut."""
    text = b"".join(written([*entry.items()]) for entry in entries) + b"-- cursor: s=1\n"
    found, rest = read(text, size)
    assert found == [
        {name: value.decode(errors="replace") for name, value in entry.items()} for entry in entries
    ]
    assert rest.text == b"-- cursor: s=1\n"


@given(st.binary(max_size=300), st.integers(1, 50))
def test_nothing_that_comes_makes_it_fail(text: bytes, size: int) -> None:
    """Entries have names and values, whatever was read."""
    for entry in read(b"A=1\n\nB\n" + text, size)[0]:
        assert all(isinstance(name, str) and value is not None for name, value in entry.items())


@pytest.mark.parametrize("size", range(1, 9))
def test_empty_lines_hide_no_entry(size: int) -> None:
    """However many stand between two."""
    text = b"\n\n\n" + written([("A", b"1")]) + b"\n\n\n" + written([("A", b"2")])
    assert [entry for entry in read(text, size)[0] if entry] == [{"A": "1"}, {"A": "2"}]


@pytest.mark.parametrize("cut", range(1, 40))
def test_an_entry_without_its_end_is_none(cut: int) -> None:
    """Its writer was ended, or gave up, in the middle of it."""
    whole = written([("A", b"1")])
    last = written([("MESSAGE", b"two\nlines"), ("B", b"2"), ("C", b"3")])
    assert read(whole + last[:-cut], 7)[0] == [{"A": "1"}]


def test_a_field_that_stands_twice_has_both_values() -> None:
    """So that none of them is taken for the only one."""
    text = written([("F", b"0"), ("F", b"1"), ("F", b"2")])
    assert read(text, 100)[0] == [{"F": ["0", "1", "2"]}]


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_what_follows_a_value_that_is_passed_over_is_read(size: int) -> None:
    """Also where both came in the last piece."""
    large = written([("A", b"\n" * (1 << 20) + b"x")])
    found, rest = read(large + written([("B", b"b")]) + b"C=", size)
    assert found == [{"A": ""}, {"B": "b"}]
    assert rest == export.Rest(b"C=", 2)


def test_pieces_may_be_empty_or_begin_with_an_empty_line() -> None:
    """Neither is an end, nor an entry."""
    pieces = [b"", b"\nA=a\n\n", b"", b"\n", b"B=b\n\n"]
    assert [*export.entries(pieces)] == [{"A": "a"}, {"B": "b"}]
