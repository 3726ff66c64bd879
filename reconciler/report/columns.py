"""Columns: for people as wide as their terminal, for programs separated by tabs."""

import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from reconciler.report import output
from reconciler.report.plain import plain, plain_lines

_ROOM: Final = 24
"""Columns that a last cell needs at least: with less, each cell gets a line of its own."""


_SHARE: Final = 3
"""Names that take more than this part of a terminal stand above their values."""

_BOLD: Final = "1"  # SGR, ECMA-48 §8.3.117, as the colours
GOOD, DOUBTFUL, BAD = "32", "33", "31"

Row: TypeAlias = tuple[str, str] | tuple[str, str, str]
"""A name, its value, and its colour, if it has one."""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield rows: where somebody looks in columns, in a pipe one row a line, with tabs."""
    plains = ([plain(cell) for cell in row] for row in rows)
    columns = _columns()
    if columns is None:
        yield from ("\t".join(row) for row in plains)
        return
    held = [list(titles), *plains]
    widths = [max(len(row[place]) for row in held) for place in range(len(titles) - 1)]
    room = columns - sum(widths) - 2 * len(widths)
    if room < _ROOM:
        for row in held[1:]:
            yield row[0]
            filled = [pair for pair in zip(titles[1:], row[1:], strict=True) if pair[1]]
            yield from (f"  {line}" for line in _wrapped(filled, columns - 2))
        return
    for row in held:
        head = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        first, *rest = textwrap.wrap(row[-1], room) or [""]
        yield f"{head}{first}".rstrip()
        yield from (f"{'':<{len(head)}}{line}" for line in rest)


def paragraph(text: str) -> Iterator[str]:
    """Yield a text as wide as the terminal; in a pipe it is one line."""
    columns = _columns()
    yield from [text] if columns is None else textwrap.wrap(text, columns)


def aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Yield names and values in two columns; on a terminal long values are wrapped in theirs.

    Where that leaves no room for them they stand below their names. There they have colours, too,
    unless NO_COLOR (no-color.org) is set.
    """
    return _wrapped(rows, _columns(), coloured=_is_coloured())


def _wrapped(rows: Sequence[Row], columns: int | None, *, coloured: bool = False) -> Iterator[str]:
    width = max((len(name) for name, *_ in rows), default=0)
    below = columns is not None and width > columns // _SHARE
    head = 2 if below else width + 2
    for name, value, *style in rows:
        lines = plain_lines(value).split("\n")
        if columns is not None:
            room = max(columns - head, 16)
            lines = [part for line in lines for part in textwrap.wrap(line, room) or [""]]
        title = name if below else f"{name:<{head}}"
        told = [lines[0], *(line.strip() for line in lines[1:])]
        if coloured:
            title = _styled(title, _BOLD)
            told = [_styled(line, code) for code in style for line in told] or told
        if below:
            yield title
        else:
            yield title + told.pop(0)
        yield from (f"{'':<{head}}{line}" for line in told)


def _styled(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _is_coloured() -> bool:
    """Whether results go to a terminal that shows colours, and somebody wants them."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and _columns() is not None


def width() -> int | None:
    """Return how wide text is to be; None where it is not to be wrapped."""
    return _columns()


def _columns() -> int | None:
    """Return how many columns the terminal has; None where results go elsewhere."""
    shown = output.stream()
    if shown is None or not shown.isatty():
        return None
    return os.get_terminal_size(shown.fileno()).columns or 80
