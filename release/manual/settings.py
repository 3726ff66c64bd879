"""What a key of the configuration takes: its type, its bounds and its default."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs
import tomli_w
from attrs import frozen

from reconciler.errors import words
from reconciler.network import Network
from reconciler.planning.whitelist import Exemption
from reconciler.toml import duration, schema

_KINDS: Final[dict[object, str]] = {
    str: "string",
    Path: "path",
    bool: "true or false",
    int: "whole number",
    float: "number",
    timedelta: "duration",
    Network: "network",
    Exemption: "network, each a string or a table of network, comment and until",
}
_DURATIONS: Final[dict[object, str]] = {
    duration.finite: "duration",
    duration.parse: "duration, or permanent",
}
_NOBODYS: Final = "?"
"""A value that nothing with a choice of values takes, so that it names them."""


@frozen
class Key:
    """A key: its name, the type with its bounds in words, and its default as TOML."""

    name: str
    kind: str
    default: str | None
    required: bool = False

    @property
    def told(self) -> str:
        """What it takes, as a sentence."""
        given = [self.kind[0].upper() + self.kind[1:]]
        if self.required:
            given.append("required")
        elif self.default is not None:
            given.append(f"the default is {self.default}")
        return "; ".join(given) + "."


def keys(cls: type) -> dict[str, Key]:
    """Return the keys of a table that this class is filled from."""
    hints = get_type_hints(cls)
    known = {each.name: each for each in attrs.fields(cls)}
    names = [each.name for each in schema.attributes(cls)]
    return {name: _key(known[name], hints[name]) for name in names}


def _key(field: "attrs.Attribute[Any]", hint: object) -> Key:
    read = field.metadata.get("read")
    kind = _DURATIONS.get(read) or _choices(read) or _kind(hint)
    limits = [*_limits(field.validator, hint)]
    chosen = [each for each in limits if each.startswith("one of ")]
    kind = chosen[0] if chosen else ", ".join([kind, *limits])
    missing = field.default is attrs.NOTHING
    return Key(field.name, kind, None if missing else _default(field), missing)


def _default(field: "attrs.Attribute[Any]") -> str | None:
    """Return the default as TOML has it; None where a key that is not there is another thing."""
    default: Any = field.default
    make = getattr(default, "factory", None)
    value = make() if make else default
    if (write := field.metadata.get("write")) is not None and value is not None:
        value = write(value)
    elif field.metadata.get("read") is duration.parse:
        value = duration.render(value)
    if value is None:
        return None
    if attrs.has(type(value)):
        inner = ", ".join(f"{name} = {each}" for name, each in schema.plain(value).items())
        return f"{{ {inner} }}"
    if isinstance(value, timedelta):
        value = duration.render(int(value.total_seconds()))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return _toml(value)


def _toml(value: object) -> str:
    return tomli_w.dumps({"x": value}).strip().removeprefix("x = ")


def _kind(hint: object) -> str:
    """Return the words for an annotation."""
    if attrs.has(hint) and hint not in _KINDS:  # type: ignore[arg-type]  # any may be asked
        inner = keys(hint)
        return "table with " + " and ".join(f"{key.name} ({key.kind})" for key in inner.values())
    arms = [each for each in get_args(hint) if each is not NoneType and each is not Ellipsis]
    if get_origin(hint) is tuple:
        one = _kind(arms[0])
        return "list of " + re.sub("number|network|string", r"\g<0>s", one, count=1)
    if arms and get_args(arms[0]):
        return _kind(arms[0])
    return _KINDS.get(arms[0] if arms else hint, "string")


def _choices(read: Callable[[object], object] | None) -> str:
    """Return the values of which one is to be written; empty where there is no choice."""
    if read is None or isinstance(read, partial):
        return ""
    with suppress(Exception):
        read(_NOBODYS)
        return ""
    return _offered(partial(read, _NOBODYS))


def _offered(refused: Callable[[], object]) -> str:
    """Return the values that a refusal names."""
    try:
        refused()
    except (ValueError, TypeError, AttributeError) as error:
        text = words(error)
    else:
        return ""
    if listed := re.search(r"is none of (.+)", text):
        return f"one of {_either(listed[1].split(', '))}"
    offered = re.search(r"write (?:one of )?('.+)", text)
    found = re.findall(r"'([a-z-]+)'", offered[1]) if offered else []
    return f"one of {_either(found)}" if found else ""


def _either(names: list[str]) -> str:
    """Return the values as they are written."""
    quoted = [f'"{name}"' for name in names]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _limits(validator: Any, hint: object) -> Iterator[str]:  # noqa: ANN401 - attrs has no public class
    """Yield the bounds that a validator holds a value to."""
    if (inner := getattr(validator, "_validators", None)) is not None:
        if both := _between(inner):
            yield both
        else:
            for each in inner:
                yield from _limits(each, hint)
    elif hasattr(validator, "compare_op"):
        yield f"{validator.bound:,} or more"
    elif hasattr(validator, "max_length"):
        yield f"at most {validator.max_length:,}"
    elif hasattr(validator, "member_validator"):
        yield from (f"each {each}" for each in _limits(validator.member_validator, hint))
    elif hasattr(validator, "validator"):
        yield from _limits(validator.validator, hint)
    elif callable(validator):
        yield from filter(None, [_refusal(validator, hint)])


def _between(validators: Iterable[Any]) -> str:
    """Return the bounds of a number, where it has two."""
    bounds = {each.compare_op: each.bound for each in validators if hasattr(each, "compare_op")}
    match bounds:
        case {">=": low, "<=": high}:
            return f"from {low:,} to {high:,}"
        case {">": low, "<=": high}:
            return f"more than {low:,} and at most {high:,}"
        case _:
            return ""


def _refusal(validator: Callable[..., object], hint: object) -> str:
    """Return what a plugin's own validator says that it takes."""
    if hint is timedelta:
        try:
            validator(None, None, timedelta(0))
        except ValueError as error:
            return words(error).removeprefix("must be ")
    return _offered(partial(validator, None, None, _NOBODYS)) if hint is str else ""
