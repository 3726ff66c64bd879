"""Columns on terminals of any width, and in pipes."""

import pytest
from pytest_mock import MockerFixture

from reconciler.report import columns

TITLES = ("network", "until", "reason")
ROWS = [
    ("192.0.2.7", "permanent", "shrinks its window with data in flight, again and again"),
    ("2001:db8:1:2:3:4:5:6", "2026-11-28T17:36:49Z (in 60 min)", ""),
]


def lines(mocker: MockerFixture, width: int | None) -> list[str]:
    """Return the table as a terminal of this width shows it; None is a pipe."""
    mocker.patch.object(columns, "_columns", return_value=width)
    return [*columns.table(TITLES, ROWS)]


def test_a_pipe_gets_one_row_a_line(mocker: MockerFixture) -> None:
    """Its cells are separated by tabs, and what strangers wrote cannot break the line."""
    assert lines(mocker, None) == ["\t".join(row) for row in ROWS]
    mocker.patch.object(columns, "_columns", return_value=None)
    assert [*columns.table(TITLES, [("a", "b\n\x1b[31m", "c\t")])] == ["a\tb\\n\\x1b[31m\tc\\t"]


def test_a_wide_terminal_gets_a_table(mocker: MockerFixture) -> None:
    """With titles, aligned, the last column wrapped in its own place."""
    title, first, second, third = lines(mocker, 100)
    assert [title.index(word) for word in TITLES] == [0, 22, 56]
    assert [first.index("permanent"), first.index("shrinks")] == [22, 56]
    assert second == " " * 56 + "again and again"
    assert third.endswith("(in 60 min)")


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_gets_a_line_for_each_cell(width: int, mocker: MockerFixture) -> None:
    """Nothing is cut, empty cells are left out, and lines fit where words do."""
    shown = lines(mocker, width)
    assert shown[0] == "192.0.2.7"
    assert "  until   permanent" in shown
    assert " ".join(" ".join(shown).split()).count("again and again") == 1
    assert shown[-1].strip().endswith("min)")
    assert width < 40 or max(map(len, shown)) <= width


def test_names_and_values_are_aligned(mocker: MockerFixture) -> None:
    """Further lines of a value stand below its first."""
    mocker.patch.object(columns, "_columns", return_value=30)
    rows = [("database", "/var/lib/treason/treason.db"), ("nftables", "failed\n  run as root")]
    assert [*columns.aligned(rows)] == [
        "database  /var/lib/treason/tre",
        "          ason.db",
        "nftables  failed",
        "          run as root",
    ]
