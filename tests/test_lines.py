"""Networks written and read by the thousand, held against one at a time."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import InvalidNetwork, Network, Networks, lines


def _cut(version: int, address: int, length: int) -> Network:
    bits = 128 if version == 6 else 32
    shift = bits - min(length, bits)
    return Network.of(version, (address & (1 << bits) - 1) >> shift << shift, bits - shift)


lengths = st.sampled_from([0, 8, 24, 31, 32, 64, 127, 128, 128])
networks = st.builds(_cut, st.sampled_from([4, 6]), st.integers(0, (1 << 128) - 1), lengths)
strays = ["", "x", "192.0.2.01", "192.0.2.1/33", "10.0.0.1/8", "192.0.2.1 ", "fe80::1%lo"]
strays += ["\0", "2001:db8::1/64", "192.0.2.1\n192.0.2.2", "::1/", "0x7f.1", "1.2.3", "٣.0.0.1"]
odd = st.sampled_from(strays)
parts = st.sampled_from(["", "\n", "add %s ", "/32", "%d", "100%\n"])


@given(st.frozensets(networks, max_size=20), parts, parts, st.booleans())
def test_they_are_written_in_order(
    members: frozenset[Network], before: str, after: str, full: bool
) -> None:
    """Each between the two texts, whatever these hold; on demand with every length."""

    def text(network: Network) -> str:
        return f"{network}/{network.length}" if full and network.is_host else str(network)

    made = "".join(lines.written(Networks.of(members), before, after, full=full))
    assert made == "".join(f"{before}{text(network)}{after}" for network in sorted(members))


@given(st.lists(st.one_of(networks.map(str), odd), max_size=30))
def test_they_are_read_as_one_by_one(texts: list[str]) -> None:
    """In any order, also repeatedly; what is no network is given back as it was."""
    expected: set[Network] = set()
    wrong: list[str] = []
    for text in texts:
        try:
            expected.add(Network.exact(text))
        except InvalidNetwork:
            wrong.append(text)
    assert lines.read(texts) == (Networks.of(expected), wrong)


@pytest.mark.parametrize(("version", "start"), [(4, 0x0B000000), (6, 0x20010DB8 << 96)])
@pytest.mark.parametrize("wider", [0, 3, 9000])
def test_many_come_back_from_their_text(version: int, start: int, wider: int) -> None:
    """Also among those of the other family, with repetitions and with a stray line."""
    bits = 128 if version == 6 else 32
    hosts = [Network.of(version, start + 3 * number, bits) for number in range(10_000)]
    nets = [Network.of(version, start + (number << 8), bits - 8) for number in range(wider)]
    held = Networks.of([*hosts, *nets, Network.parse("192.0.2.1"), Network.parse("2001:db8::1")])
    text = "".join(lines.written(held))
    assert lines.read(lines.split(text)) == (held, [])
    assert lines.read([*lines.split(text)][::-1]) == (held, [])
    assert lines.read(lines.split(f"{text}stray\n{text}")) == (held, ["stray"])


@given(st.text("a\n\r", max_size=40), st.integers(1, 5))
def test_a_text_is_split_at_line_feeds_alone(text: str, span: int) -> None:
    """Wherever it is cut on the way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_SPAN", span)
        expected = text.removesuffix("\n").split("\n") if text else []
        assert [*lines.split(text)] == expected


def test_no_address_costs_an_object() -> None:
    """Writing a hundred thousand takes the room of a few thousand."""
    many = Networks.of_hosts(4, b"".join(number.to_bytes(4) for number in range(100_000)))
    tracemalloc.start()
    count = sum(piece.count("\n") for piece in lines.written(many))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("texts", "count", "expected"),
    [
        (["a", "b"], None, ["a", "b"]),
        (["a"] * 5, None, ["a", "a", "a", "and 2 more"]),
        (["a"] * 3, 1_203_003, ["a", "a", "a", "and 1,203,000 more"]),
    ],
)
def test_long_lists_are_told_in_short(
    texts: list[str], count: int | None, expected: list[str]
) -> None:
    """Large numbers are grouped, as everywhere for people."""
    assert lines.shortened(texts, count=count) == expected
