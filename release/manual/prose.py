"""Paragraphs as people write them in docstrings, help and comments, as lines of mdoc(7).

A blank line begins another paragraph. What stands between backticks, and each option, is set apart;
a block that is indented, behind ``::``, is printed as it is; lines that are indented below another
one say what that means.
"""

import re
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from textwrap import dedent
from typing import Final

from release.manual.roff import argument, escaped, literal, tagged, wrapped

_WORD: Final = re.compile(r"[(\[]*(?:``.+?``|`.+?`)[^\s`]*|\S+")
_MARKED: Final = re.compile(
    r"(?P<before>[(\[]*)(?:``(?P<two>.+?)``|`(?P<one>.+?)`|(?P<option>--?[a-zA-Z][a-z-]*))"
    r"(?P<behind>[]).,:;?!]*)"
)
_SEVERAL: Final = re.compile(r"``(.+?)``|`(.+?)`")


def paragraphs(text: str) -> list[str]:
    """Return the lines of all paragraphs of a docstring."""
    lines: list[str] = []
    for number, block in enumerate(_blocks(cleandoc(text))):
        if block.startswith("    "):
            lines += literal(dedent(block))
        elif "\n    " in block:
            lines += tagged(_items(block))
        else:
            lines += [".Pp"] * bool(number) + sentences(re.sub(r"::$", ":", block))
    return lines


def sentences(text: str) -> list[str]:
    """Return the lines of one paragraph."""
    lines: list[str] = []
    words: list[str] = []
    for word in _WORD.findall(" ".join(text.split())):
        if marked := _MARKED.fullmatch(word):
            lines += [*wrapped(words), _apart(marked)]
            words = []
        else:
            words.append(_bold(word))
    return lines + wrapped(words)


def first(text: str) -> str:
    """Return the first sentence of a docstring, without its full stop."""
    sentence = re.match(r"(.+?)\.(?:\s|$)", " ".join(cleandoc(text).split("\n\n")[0].split()))
    return sentence[1] if sentence else text


def _blocks(text: str) -> Iterator[str]:
    """Yield paragraphs, and indented blocks, which may hold blank lines."""
    held: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        if block.startswith("    "):
            held.append(block)
            continue
        if held:
            yield "\n\n".join(held)
            held = []
        yield block
    if held:
        yield "\n\n".join(held)


def _items(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each line that is not indented, as a term, with what stands below it."""
    for item in re.split(r"\n(?! )", block):
        term, _, below = item.partition("\n")
        yield f"Ic {argument(term.strip('`'))}", sentences(below)


def _apart(marked: re.Match[str]) -> str:
    """Return the line of a command, a name or an option."""
    option = marked["option"]
    what = ["Fl", option[1:]] if option else ["Ic", marked["two"] or marked["one"]]
    return f".{what[0]} " + " ".join(
        [*marked["before"], argument(what[1]), *_delimiters(marked["behind"])]
    )


def _delimiters(text: str) -> Iterable[str]:
    return [*text]


def _bold(word: str) -> str:
    """Return a word of text; a name inside it that is marked is bold."""
    parts = []
    end = 0
    for found in _SEVERAL.finditer(word):
        parts += [escaped(word[end : found.start()]), rf"\fB{escaped(found[1] or found[2])}\fR"]
        end = found.end()
    return "".join([*parts, escaped(word[end:])])
