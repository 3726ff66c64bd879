"""The parameters of a command, as SYNOPSIS and OPTIONS show them."""

from collections.abc import Iterable, Iterator
from typing import Final

import click

from release.manual.prose import sentences
from release.manual.roff import argument

_LAST: Final = ("form", "verbose")
"""Options that nearly every command has: they stand at the end."""


def options(command: click.Command) -> list[click.Option]:
    """Return the options that people are told of, without ``--help``."""
    found = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    return sorted(found, key=lambda each: _LAST.index(each.name) if each.name in _LAST else -1)


def arguments(command: click.Command) -> list[click.Argument]:
    """Return what a command takes besides options."""
    return [each for each in command.params if isinstance(each, click.Argument)]


def synopsis(name: str, command: click.Command) -> Iterator[str]:
    """Yield the lines of a command in SYNOPSIS."""
    yield f".Nm {argument(name)}"
    for option in options(command):
        yield from _within(_option(option), optional=not option.required, many=option.multiple)
    for each in arguments(command):
        yield from _argument(each)


def described(command: click.Command) -> Iterator[tuple[str, list[str]]]:
    """Yield each option as it is written, with what it does."""
    for option in options(command):
        value = _value(option)
        heads = [" ".join(filter(None, [_flag(name), value])) for name in _names(option)]
        yield " , ".join(heads), sentences(_help(option))


def _help(option: click.Option) -> str:
    """Return what is said of it, with its default and its limits."""
    words = [(option.help or "").partition(" [env:")[0]]
    limits = option.type
    if isinstance(limits, click.types._NumberRangeBase) and limits.max is not None:  # noqa: SLF001 - click has no other
        words.append(f"From {limits.min:,} to {limits.max:,}.")
    if option.show_default and option.default not in {None, ""}:
        words.append(f"The default is {_number(option.default)}.")
    return " ".join(filter(None, words))


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _names(option: click.Option) -> list[str]:
    """Return its names, the short one first."""
    return sorted(option.opts, key=len)


def _flag(name: str) -> str:
    return f"Fl {argument(name[1:])}"


def _option(option: click.Option) -> str:
    return " ".join(filter(None, [_flag(_names(option)[0]), _value(option)]))


def _value(option: click.Option) -> str:
    """Return the value that an option takes, empty where it takes none."""
    if option.is_flag or option.count:
        return ""
    if isinstance(option.type, click.Choice) and option.metavar is None:
        return _choices(map(str, option.type.choices))
    return _variables(option.metavar or (option.name or "").upper())


def _argument(given: click.Argument) -> Iterator[str]:
    """Yield an argument; click's metavar may have the brackets and the dots already."""
    text = given.metavar or (given.name or "").upper()
    inner = text.removesuffix("...").removeprefix("[").removesuffix("]")
    many = given.nargs == -1 or text.endswith("...")
    yield from _within(_variables(inner), optional=not given.required, many=many)


def _variables(text: str) -> str:
    """Return what people are to replace: ``NAME[:ARGUMENT]``, ``FILE|-``."""
    return " | ".join(f"Ar {argument(each)}" for each in text.split("|"))


def _choices(choices: Iterable[str]) -> str:
    return " | ".join(f"Cm {argument(each)}" for each in choices)


def _within(inner: str, *, optional: bool, many: bool) -> Iterator[str]:
    """Yield it in brackets if it may be left out, with dots if there may be several."""
    if many:
        yield f".Oo {inner} Oc Ns ..." if optional else f".{inner} ..."
    else:
        yield f".Op {inner}" if optional else f".{inner}"
