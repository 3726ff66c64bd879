"""A page for each command: treason-ban(1) and so on. Those of a group are on one page."""

import re
from collections.abc import Iterator
from typing import Final

import click
from attrs import frozen

from reconciler.cli.console import ERROR, MEANINGS, OK, USAGE
from reconciler.cli.main import cli
from release.manual import page
from release.manual.page import (
    CONFIGURATION,
    DATABASE,
    FEED,
    LOCK,
    SOCKET,
    UNITS,
    WHITELIST,
    Page,
)
from release.manual.prose import first, paragraphs
from release.manual.roff import tagged, title
from release.manual.synopsis import arguments, described, options, synopsis

_STATUS: Final = re.compile(r"\s*(?:Ends with 1|Exit codes:)[^.]*\.")
"""A sentence about exit codes, which has a section of its own."""

_CODE: Final = re.compile(r"(\d+) ([^;.]+)")
"""A code in such a sentence, with what it says."""

_FILES: Final = {
    "config": (CONFIGURATION, WHITELIST),
    "demo": (),
    "doctor": (CONFIGURATION, WHITELIST, DATABASE, LOCK, SOCKET, UNITS),
    "feed": (CONFIGURATION, DATABASE, FEED),
    "fleet": (CONFIGURATION,),
    "init": (CONFIGURATION, DATABASE, UNITS),
    "plugins": (CONFIGURATION,),
    "reconcile": (CONFIGURATION, WHITELIST, DATABASE, LOCK),
    "run": (CONFIGURATION, WHITELIST, DATABASE, LOCK, SOCKET),
    "whitelist": (CONFIGURATION, WHITELIST, DATABASE),
}
"""The files that a command is about, where those are not the configuration and the database."""

_RELATED: Final = {
    "backup": ("restore", "export"),
    "ban": ("unban", "list", "why", "whitelist", "import"),
    "config": ("init", "plugins", "doctor"),
    "demo": ("init",),
    "doctor": ("status", "why", "config"),
    "export": ("import", "list", "backup"),
    "feed": ("list", "status", "fleet"),
    "fleet": ("feed",),
    "history": ("list", "why"),
    "import": ("export", "ban", "unban", "feed"),
    "init": ("status", "doctor", "run"),
    "list": ("history", "why", "export"),
    "migrate": ("reconcile", "teardown"),
    "pause": ("resume", "teardown", "status"),
    "plugins": ("config",),
    "reconcile": ("run", "status", "scan"),
    "restore": ("backup",),
    "resume": ("pause",),
    "run": ("init", "reconcile", "status"),
    "scan": ("reconcile", "test-rule"),
    "status": ("why", "doctor", "list"),
    "teardown": ("pause", "init"),
    "test-rule": ("scan", "config"),
    "unban": ("ban", "list", "whitelist", "why"),
    "whitelist": ("ban", "unban", "why"),
    "why": ("status", "list", "history"),
}
"""The commands that each page names at its end."""


@frozen
class Known:
    """A command with the words by which people call it, and those inside of it."""

    words: tuple[str, ...]
    command: click.Command

    @property
    def name(self) -> str:
        """What people type, without options."""
        return " ".join(self.words)

    @property
    def inside(self) -> "list[Known]":
        """The commands of a group."""
        if not isinstance(self.command, click.Group):
            return []
        context = click.Context(self.command)
        names = self.command.list_commands(context)
        found = ((name, self.command.get_command(context, name)) for name in names)
        return [Known((*self.words, name), each) for name, each in found if each]

    @property
    def help(self) -> str:
        """Its docstring, without what it says of exit codes."""
        return _STATUS.sub("", self.command.help or "").strip()

    @property
    def told(self) -> list[str]:
        """What its docstring says of exit codes."""
        text = " ".join((self.command.help or "").split())
        return [found.strip() for found in _STATUS.findall(text)]

    @property
    def codes(self) -> dict[int, str]:
        """What each exit code says: in its docstring, or else of every command."""
        own = {
            int(code): f"{text[0].upper()}{text[1:]}."
            for sentence in self.told
            if sentence.startswith("Exit codes:")
            for code, text in _CODE.findall(sentence)
            if text != "an error"
        }
        return {code: MEANINGS[code] for code in (OK, ERROR, USAGE)} | own

    @property
    def examples(self) -> list[str]:
        """What people really type."""
        _, _, lines = (self.command.epilog or "").partition("Examples:\n")
        return [each.strip() for each in lines.splitlines()]


def known() -> list[Known]:
    """Return all commands, those in groups within them."""
    return Known(("treason",), cli).inside


def pages() -> Iterator[Page]:
    """Yield a page for each command."""
    for each in known():
        name = "-".join(each.words)
        yield Page(name, 1, tuple(_lines(name, each)))


def _lines(name: str, known: Known) -> Iterator[str]:
    yield from page.head(name, 1, _purpose(known))
    yield ".Sh SYNOPSIS"
    for each in known.inside or [known]:
        yield from synopsis(each.name, each.command)
    yield ".Sh DESCRIPTION"
    yield from paragraphs(known.help)
    if known.inside:
        yield ".Sh COMMANDS"
        for each in known.inside:
            yield title("Ss", " ".join([each.name, *_given(each.command)]))
            yield from paragraphs(each.help)
            if options(each.command):
                yield from tagged(described(each.command))
    else:
        yield ".Sh OPTIONS"
        yield from tagged(described(known.command))
    yield from _end(known)


def _end(known: Known) -> Iterator[str]:
    """Yield the sections behind the options."""
    yield from page.environment(["TREASON_CONFIG", *(["NO_COLOR"] if _shows(known) else [])])
    if names := _FILES.get(known.words[-1], (CONFIGURATION, DATABASE)):
        yield from page.files(names)
    every = [known, *known.inside]
    ends = ((one, text) for one in every for text in one.told if text.startswith("Ends"))
    yield from page.exit_status(known.codes, (f"`{one.name}` e{text[1:]}" for one, text in ends))
    yield from page.examples(dict.fromkeys(line for one in every for line in one.examples))
    related = [f"treason-{name}" for name in _RELATED[known.words[-1]]]
    yield from page.see_also(
        [("treason", 1), *((name, 1) for name in related), ("treason.toml", 5)]
    )


def _purpose(known: Known) -> str:
    sentence = first(known.command.help or "")
    return sentence[0].lower() + sentence[1:]


def _given(command: click.Command) -> list[str]:
    return [(each.metavar or (each.name or "").upper()) for each in arguments(command)]


def _shows(known: Known) -> bool:
    """Return whether it prints in colours."""
    return any(
        option.name == "form" for each in [known, *known.inside] for option in options(each.command)
    )
