"""Patterns of administrators: what is refused and why, and the text that every match holds."""

import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.detection import pattern
from reconciler.detection.pattern import UserPattern, parts, read

A = r"(?P<address>\S+)"


def found(text: str, body: str) -> dict[str, str | None] | None:
    """Return the groups of a match."""
    match = read(text).fullmatch(body)
    return match.groupdict() if match else None


def test_the_whole_body_must_match() -> None:
    """Words ahead or behind are another message."""
    assert found(f"bad {A}", "bad 192.0.2.1") == {"address": "192.0.2.1"}
    for body in ("a bad 192.0.2.1", "bad 192.0.2.1 x", "bad 192.0.2.1\n"):
        assert found(f"bad {A}", body) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bad", "has no group (?P<address>...), which names the peer"),
        (r"(?P<adress>\S+)", "did you mean it by (?P<adress>...)?"),
        (rf"{A} (?P<peerport>\d+)", "has the group 'peerport'; did you mean 'peer_port'?"),
        (rf"{A} (?P<counts>\d+)", "has the group 'counts'; did you mean 'count'?"),
        (f"({A}", "is not a valid pattern: missing ): (("),
        (f"{A}[z-a]", "is not a valid pattern: invalid character class range: z-a"),
        (f"{A}**", "is not a valid pattern: bad repetition operator: **"),
        (f"{A}(?=x)", "look-around, at character 17, cannot be used: invalid perl operator: (?="),
        (f"{A}(?<!x)y", "look-around, at character 17, cannot be used: "),
        (rf"{A}\1", "back-references, at character 17, cannot be used: "),
        (f"{A}(?P=address)", "back-references, at character 17, cannot be used: "),
        (f"{A}(?(1)a|b)", "conditions, at character 17, cannot be used: "),
        (f"{A}a++", "possessive and atomic parts, at character 18, cannot be used: "),
        (f"{A}(?>a)", "possessive and atomic parts, at character 17, cannot be used: "),
        (f"(?x){A}", "comments and verbose patterns, at character 1, cannot be used: "),
        (rf"{A}\Z", r"\Z: the whole body is matched anyway, so leave it out, at character 17"),
        (r"(?<address>\S+)", "(?<name>...): write (?P<name>...), at character 1"),
        (rf"{A}\pL", "classes by name: list the characters"),
        (f"[[:alpha:]]{A}", "classes by name: list the characters"),
        ("(?P<address>[0-9.:[:xdigit:]]+)", "classes by name: list the characters"),
        (f"{A}x{{,}}", "{,N} is plain text to RE2; write {0,N}"),
        (f"{A}x{{,3}}", "{,N} is plain text to RE2; write {0,N}"),
        ("(?P<address>a)|(?P<address>b)", "redefinition of group name 'address'"),
        ("(?P<address>.*)", "matches an empty text"),
        (f"{A}x{{1001}}", "invalid repetition size: {1001}"),
        (f"{A}(?:x{{1000}}){{1000}}", "invalid repetition size: {1000}"),
        (r"(?P<address>\S{1,999})", "steps; at most 2,000 are allowed: repeat less"),
        (A + "x" * 1000, "has 1,016 characters; at most 1,000 are allowed"),
        (A + "\ud800", "holds half a surrogate pair"),
        ("(" * 495 + "?", "is not a valid pattern: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(text: str, said: str) -> None:
    """In plain words, then in the engine's own."""
    with pytest.raises(ValueError, match=re.escape(said)):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        f"(a+)+{A}!$",
        f"(a|aa)*{A}!",
        f"([a-z]+)*{A}1",
        f"(.*)(.*)(.*)(.*)(.*)(.*){A}x",
        f"(?:a?){{100}}a{{100}} {A}",
        f"(?:(?:a*)*)*{A}b",
    ],
)
def test_no_pattern_stalls_a_pass(text: str) -> None:
    """What backtracks for ever in `re` is matched by RE2, in time linear in the text.

    Its automaton visits each character once, with at most as many steps as the pattern has.
    """
    made = read(text)
    assert isinstance(made, UserPattern)
    assert made.fullmatch("a" * pattern.LONGEST_RECORD) is None


def test_no_text_that_is_no_record_is_matched() -> None:
    """Longer than the kernel's own, or half a surrogate pair that JSON can hold."""
    made = read(f"{A}.*")
    assert made.fullmatch("a" * pattern.LONGEST_RECORD)
    assert made.fullmatch("a" * (pattern.LONGEST_RECORD + 1)) is None
    assert made.fullmatch("a\ud800") is None


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """RE2 would log what it refuses, and what it runs out of memory for."""
    with pytest.raises(ValueError, match="missing"):
        read(f"({A}")
    read(rf".*a.{{150}}{A}.*").fullmatch("ab" * 4000)
    assert capfd.readouterr() == ("", "")


def test_without_the_engine_a_pattern_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install; nothing else needs it."""
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ValueError, match="needs the package google-re2, which is not installed"):
        read(A)


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        (rf"IPv4: martian source \S+ from {A}, on dev \S+", "IPv4: martian source "),
        (f"a(?:bcd)?efgh {A}", "efgh "),
        (f"abc|defghi {A}", ""),
        (f"(?:abc|abd)xy{A}", "ab"),
        (f"(?:abcdef){{2}}x {A}", "abcdef"),
        (f"(?:abcdef)*x{A}", "x"),
        (f"x(?P<name>abc)d{A}", "xabcd"),
        (f"^abc {A}$", "abc "),
        (rf"abc\b {A}", "abc "),
        (f"(?i)abc {A}", ""),
        (f"(?i:abc) {A}", ""),
        (rf"say \"hello world\" to \\{A}", "hello world"),
        (f"über {A}", "ber "),
        (f"<a&b>/c'd {A}", "d "),
        (rf"a\x41\x00bcd{A}", "bcd"),
        (rf"\[UFW BLOCK\] IN={A}", "[UFW BLOCK] IN="),
        (A, ""),
    ],
)
def test_the_needle_is_the_longest_text_that_every_carrier_writes_as_it_is(
    text: str, needle: str
) -> None:
    """Around what is optional, alternatives, and characters that some carriers escape."""
    assert read(text).needle == needle


ATOMS = st.sampled_from(
    [
        "a",
        "bc",
        "def ",
        "x",
        r"\.",
        r"\[",
        "[ab]",
        "[^c]",
        ".",
        r"\d",
        r"\x41",
        "é",
        '"',
        "^",
        r"\b",
    ]
)


def grown(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Make larger patterns of smaller ones."""
    repeats = st.sampled_from(["?", "*", "+", "{2}", "{0,2}", "{1,3}", "*?", "+?"])
    return st.one_of(
        st.lists(inside, min_size=1, max_size=4).map("".join),
        st.lists(inside, min_size=2, max_size=3).map(lambda arms: f"(?:{'|'.join(arms)})"),
        st.tuples(inside, repeats).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        inside.map(lambda text: f"({text})"),
    )


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_needle_stands_in_every_match(data: st.DataObject) -> None:
    """Whatever RE2 matches, of patterns of every shape: a source that skips loses nothing."""
    text = data.draw(st.recursive(ATOMS, grown, max_leaves=8))
    try:
        made = read(rf"{text}(?P<address>\d)")
    except ValueError:
        return  # the engine's to refuse
    body = data.draw(st.from_regex(made.pattern, fullmatch=True))
    assert made.needle in body or made.fullmatch(body) is None


@settings(max_examples=300, deadline=None)
@given(st.recursive(ATOMS, grown, max_leaves=8))
def test_the_parts_of_a_pattern_are_the_pattern(text: str) -> None:
    """Cut anywhere between them, what comes before is a pattern, too."""
    made = parts(text)
    assert "".join(made) == text
    for number in range(1, len(made)):
        pattern.compiled("".join(made[:number]))
