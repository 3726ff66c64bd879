"""The texts that people read: one word for each concept, and docstrings in the usual form."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
from harness import ROOT

from reconciler.cli.main import cli

PARSED = {
    path: ast.parse(path.read_text())
    for name in (
        *("reconciler", "backends", "sources", "feeds"),
        *("release", "bench", "tests", "examples"),
    )
    for path in (ROOT / name).rglob("*.py")
    if "build" not in path.parts
}
OPENINGS = re.compile(r"(Give|Tell|Say)s?\b")
"""How a docstring does not begin: it says what is returned, yielded, read or written."""

UNUSED = {
    r"\blift(s|ed|ing)?\b": "remove, unban",
    r"\bfor good\b": "permanent, permanently",
    r"\boutbound\b(?!`)": "to a port nothing listens on",
    r"\bnobody vouches\b": "not verifiably written by the kernel",
    r"\bgave no sign\b": "produced no output",
    r"\bhad no ban of\b": "was not banned",
    r"\bmade longer\b": "extended",
    r"\bknown already\b": "already counted",
    r"\bwhat is there stays\b": "already exists, unchanged",
    r"\b(is|are) no (valid )?(network|duration|path|name|file|number|address)": "is not a",
    r"\b(black|allow)list\b": "ban, whitelist",
    r"\bexemptions?\b": "whitelist entry",
    r"\bledger\b": "history",
    r"\bforestall": "be faster than",
}
"""Words that are not used in what people read, and what is used instead (the glossary)."""


def spoken() -> Iterator[tuple[str, str]]:
    """Yield what people read: pages, configuration, units, and the help of every command."""
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("conf/**/*"),
        *ROOT.glob("docs/man/*"),
    ):
        if path.is_file():
            text = path.read_text()
            yield str(path), text.partition("## Words that are not used")[0]
    waiting: list[tuple[str, click.Command]] = [("treason", cli)]
    while waiting:
        name, command = waiting.pop()
        context = click.Context(command, info_name=name)
        yield f"{name} --help", command.get_help(context)
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None
                waiting.append((f"{name} {each}", found))


def docstrings() -> Iterator[tuple[Path, ast.Constant]]:
    """Yield every docstring, those of constants as well, with its file."""
    for path, tree in PARSED.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                yield path, node.value


def messages() -> Iterator[tuple[str, str]]:
    """Yield the texts in the code of the program, its docstrings left out."""
    left_out = {id(constant) for _, constant in docstrings()}
    for path, tree in PARSED.items():
        if path.relative_to(ROOT).parts[0] in (
            "reconciler",
            "backends",
            "sources",
            "feeds",
            "release",
        ):
            for node in ast.walk(tree):
                if not isinstance(node, ast.Constant) or id(node) in left_out:
                    continue
                if isinstance(node.value, str) and " " in node.value.strip():
                    yield f"{path}:{node.lineno}", node.value


def test_no_text_uses_a_word_that_is_not_ours() -> None:
    """Each concept has one word."""
    found = [
        f"{where}: {match[0]!r}, use {instead}"
        for where, text in (*spoken(), *messages())
        for word, instead in UNUSED.items()
        for match in re.finditer(word, text, re.IGNORECASE)
    ]
    assert found == []


def test_docstrings_begin_as_readers_of_python_expect() -> None:
    """Return, Yield, Read, Write, Raise, or what it is."""
    found = [
        f"{path}:{constant.lineno}"
        for path, constant in docstrings()
        if OPENINGS.match(str(constant.value).lstrip())
    ]
    assert found == []


def test_every_help_ends_with_real_examples() -> None:
    """They are commands that exist, with options that exist."""
    for where, text in spoken():
        if not where.endswith("--help"):
            continue
        examples = text.partition("Examples:\n")[2].strip().splitlines()
        assert examples, where
        for line in examples:
            _, *words = shlex.split(line.partition(" > ")[0])
            if words[0] == "--config":
                words = words[2:]
            command: click.Command | None = cli
            while isinstance(command, click.Group):
                command = command.get_command(click.Context(command), words.pop(0))
            assert command is not None, line
            command.make_context("treason", words)


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    """A reader finds a word without searching."""
    text = (ROOT / "docs" / "reference" / "glossary.md").read_text()
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", text, re.MULTILINE)
    assert words == sorted(set(words))
    for word in ("ban", "cursor", "drift", "exempt", "offence", "origin", "pass", "whitelisted"):
        assert word in words
