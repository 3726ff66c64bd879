"""Columns: for people as wide as their terminal, for programs separated by tabs."""

import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from reconciler.report import output
from reconciler.report.plain import plain, plain_lines

_ROOM: Final = 24
"""Columns that a last cell needs at least: with less, each cell gets a line of its own."""


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


def aligned(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield names and values in two columns; on a terminal long values are wrapped in theirs."""
    return _wrapped(rows, _columns())


def _wrapped(rows: Sequence[tuple[str, str]], columns: int | None) -> Iterator[str]:
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        lines = plain_lines(value).split("\n")
        if columns is not None:
            room = max(columns - width - 2, 16)
            lines = [part for line in lines for part in textwrap.wrap(line, room) or [""]]
        yield f"{name:<{width}}  {lines[0]}"
        yield from (f"{'':<{width}}  {line.strip()}" for line in lines[1:])


def _columns() -> int | None:
    """Return how many columns the terminal has; None where results go elsewhere."""
    shown = output.stream()
    if shown is None or not shown.isatty():
        return None
    return os.get_terminal_size(shown.fileno()).columns or 80
