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
    mocker.patch.object(columns, "_is_coloured", return_value=False)
    assert [*columns.aligned(rows)] == [
        "database  /var/lib/treason/tre",
        "          ason.db",
        "nftables  failed",
        "          run as root",
    ]


def test_a_narrow_terminal_has_values_below_their_names(mocker: MockerFixture) -> None:
    """Where names would leave no room for them."""
    mocker.patch.object(columns, "_columns", return_value=24)
    mocker.patch.object(columns, "_is_coloured", return_value=False)
    assert [
        *columns.aligned([("kernel message", "on"), ("bans", "3 permanent,\n4 temporary")])
    ] == [
        "kernel message",
        "  on",
        "bans",
        "  3 permanent,",
        "  4 temporary",
    ]


@pytest.mark.parametrize(
    ("width", "environment", "coloured"),
    [
        (80, {}, True),
        (80, {"NO_COLOR": "1"}, False),
        (80, {"NO_COLOR": ""}, True),
        (80, {"TERM": "dumb"}, False),
        (None, {}, False),
    ],
)
def test_colours_are_for_terminals_whose_owners_want_them(
    width: int | None,
    environment: dict[str, str],
    coloured: bool,
    mocker: MockerFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are put around what is shown, so what strangers wrote brings none of its own."""
    mocker.patch.object(columns, "_columns", return_value=width)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (line,) = columns.aligned([("nftables", "failed\x1b[32m", columns.BAD)])
    plain = "nftables  failed\\x1b[32m"
    assert line == ("\x1b[1mnftables  \x1b[0m\x1b[31mfailed\\x1b[32m\x1b[0m" if coloured else plain)
