"""The commands as all shells see them: their options, and what each value may be."""

from collections.abc import Iterator
from typing import Final

import click
from attrs import frozen

from reconciler.config import plugins
from reconciler.detection import rules
from release.manual.commands import Known
from release.manual.prose import first

_LIVE: Final = {
    "source_names": "sources",
    "backend_names": "backends",
    "migrate old": "backends",
    "migrate new": "backends",
    "unban networks": "bans",
    "why network": "bans",
    "history network": "bans",
    "whitelist remove networks": "whitelist",
    "unban rule": "origins",
    "list rule": "listed",
    "test-rule names": "rules",
    "import replace": "imports",
    "feed run name": "feeds",
    "feed show name": "feeds",
    "feed accept name": "feeds",
    "fleet status feed": "feeds",
}
"""What the program itself tells the values of, by the parameter, or by command and parameter."""

FREE: Final = frozenset(
    {
        *("ban networks", "whitelist add networks", "fleet add-member name"),
        *("fleet remove-member name", "length", "reason", "comment", "since", "limit"),
        *("lock_timeout", "max_new", "dsn", "tried"),
    }
)
"""Parameters of which nobody can know the value."""

FILE: Final = "file"
"""The source, and the backend, that takes a path behind its name."""

_FILES: Final = frozenset({"named", "lists", "observed", "again", "log", "file", "password_file"})


@frozen
class Value:
    """What a value may be: files, some words, and what the program tells of a kind."""

    files: bool = False
    words: tuple[str, ...] = ()
    live: str = ""


@frozen
class Option:
    """An option: its names, what it does, and its value, if it takes one."""

    names: tuple[str, ...]
    help: str
    value: Value | None = None
    many: bool = False


@frozen
class Node:
    """A command: its words, what it does, its options, its argument, and those inside of it."""

    words: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    argument: Value | None = None
    many: bool = False
    inside: "tuple[Node, ...]" = ()

    @property
    def path(self) -> str:
        """Its words behind the program's name."""
        return " ".join(self.words[1:])

    @property
    def all(self) -> "Iterator[Node]":
        """Yield it, and all inside of it."""
        yield self
        for each in self.inside:
            yield from each.all


_HELP: Final = Option(("-h", "--help"), "Show what it takes, and end.")


def node(known: Known) -> Node:
    """Return what shells see of a command."""
    command = known.command
    given = [each for each in command.params if isinstance(each, click.Argument)]
    found = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]

    return Node(
        known.words,
        first(command.help or ""),
        (*(_option(known, each) for each in found), _HELP),
        value(known, given[0]) if given else None,
        many=bool(given) and given[0].nargs == -1,
        inside=tuple(map(node, known.inside)),
    )


def _option(known: Known, option: click.Option) -> Option:
    takes = not (option.is_flag or option.count)
    help_ = " ".join((option.help or "").partition(" [env:")[0].split())
    many = option.multiple or option.count
    return Option(tuple(option.opts), help_, value(known, option) if takes else None, many)


def value(known: Known, parameter: click.Parameter) -> Value:
    """Return what a parameter may be. Raise `KeyError` for one of which nobody has said it."""
    name = parameter.name or ""
    whole = f"{' '.join(known.words[1:])} {name}"
    if isinstance(parameter.type, click.Choice):
        return Value(words=tuple(map(str, parameter.type.choices)))
    if live := _LIVE.get(whole, _LIVE.get(name)):
        return Value(words=_words(live), live=live)
    if name in _FILES:
        return Value(files=True)
    if {whole, name} & FREE:
        return Value()
    raise KeyError(f"nobody has said what {whole!r} may be: release/completion/grammar.py")


def _words(live: str) -> tuple[str, ...]:
    """Return what is known of a kind without asking."""
    found = plugins.load()
    if live in {"sources", "backends"}:
        kinds = [*(found.sources if live == "sources" else found.backends).values()]
        own = [each.name for each in kinds if each.factory.__module__.split(".")[0] == live]
        return tuple(f"{FILE}:" if name == FILE else name for name in sorted(own))
    if live == "rules":
        return tuple(each.name for each in rules.known())
    return ("manual",) if live in {"origins", "listed"} else ()
