"""Text as roff(7) and the macros of mdoc(7) take it: nothing in it has a meaning of its own."""

import re
from collections.abc import Iterable
from typing import Final

WIDTH: Final = 78
"""Columns of a line of text."""

_SPECIAL: Final = {
    "\\": r"\e",
    "-": r"\-",  # or it may be printed as a hyphen, which nobody can paste
    "'": r"\(aq",
    "`": r"\(ga",
    "~": r"\(ti",
    "^": r"\(ha",
    '"': r"\(dq",
}
"""Characters that are another one on paper, or mean something (groff_char(7))."""

_MACRO: Final = re.compile(r"%?[A-Z][A-Za-z]{1,2}|[|.,:;()\[\]?!]")
"""A word that is a macro, or a delimiter, where it stands behind a macro (mdoc(7))."""


def escaped(text: str) -> str:
    """Return text that is printed exactly so; it may stand anywhere but at a line's beginning."""
    return "".join(
        _SPECIAL.get(each, each if " " <= each <= "~" else rf"\[u{ord(each):04X}]") for each in text
    )


def line(text: str) -> str:
    """Return escaped text as a line of its own, which is no request."""
    return rf"\&{text}" if text.startswith((".", "'")) else text


def argument(text: str) -> str:
    """Return text as one argument of a macro."""
    word = escaped(text)
    if _MACRO.fullmatch(text) or not text:
        word = rf"\&{word}"
    return f'"{word}"' if " " in word else word


def macro(name: str, *arguments: str) -> str:
    """Return a line that calls a macro with texts."""
    return f".{' '.join([name, *map(argument, arguments)])}"


def title(name: str, text: str) -> str:
    """Return the line of a section, ``Sh``, or of one inside of it, ``Ss``."""
    return rf".{name} {escaped(text)}" + r"\&" * text.endswith(("]", ".", ")"))


def wrapped(words: Iterable[str]) -> list[str]:
    """Return escaped words as lines; each sentence begins on one of its own."""
    lines: list[str] = []
    held = ""
    for word in words:
        if held and len(held) + len(word) >= WIDTH:
            lines.append(line(held))
            held = ""
        held = f"{held} {word}" if held else word
        if re.search(r"[.?!][)\]]*$", word):
            lines.append(line(held))
            held = ""
    return [*lines, line(held)] if held else lines


def literal(text: str) -> list[str]:
    """Return lines that are printed as they are, indented."""
    return [
        ".Bd -literal -offset indent",
        *(line(escaped(each)) for each in text.expandtabs().split("\n")),
        ".Ed",
    ]


def tagged(items: Iterable[tuple[str, Iterable[str]]], width: str = "Ds") -> list[str]:
    """Return a list of terms: each is what stands behind ``.It``, and the lines below it."""
    lines = [f".Bl -tag -width {width}"]
    for head, body in items:
        lines += [f".It {head}".rstrip(), *body]
    return [*lines, ".El"]
