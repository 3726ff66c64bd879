"""What doctor found, as people read it."""

from collections.abc import Iterator

import pytest

from reconciler.diagnosis import Finding
from reconciler.report import columns, findings

FOUND = Finding(
    what="the whitelist holds everything that there is, and a bit more",
    why="nobody is dropped",
    remedy="treason --config /etc/treason/treason.toml whitelist remove 0.0.0.0/0",
    check="whitelist",
)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A terminal of 40 columns."""
    monkeypatch.setattr(columns, "width", lambda: 40)
    return iter(())


def test_in_a_pipe() -> None:
    """Three lines a finding, and one at the end."""
    assert [*findings.lines([FOUND], ["a", "b"])] == [
        f"whitelist: {FOUND.what}",
        "  why: nobody is dropped",
        f"  mend: {FOUND.remedy}",
        "1 finding (2 checks)",
    ]
    assert [*findings.lines([], ["a"])] == ["all is well (1 check)"]


def test_on_a_narrow_terminal(narrow: Iterator[None]) -> None:
    """What is read is wrapped; what is copied stands in one line, whole."""
    told = [*findings.lines([FOUND], ["a"])]
    assert f"  mend: {FOUND.remedy}" in told
    assert all(len(line) <= 40 for line in told if "mend" not in line)
    assert " ".join(line.strip() for line in told[:3]).startswith(f"whitelist: {FOUND.what}")


def test_what_others_wrote_is_shown_plainly() -> None:
    """No control character reaches the terminal."""
    told = "".join(findings.lines([Finding("a\x1b[2J", "b\n", "c\r")], []))
    assert told.isprintable()
