"""Fill attrs classes from TOML tables, and say of every wrong key where it stands and why."""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from reconciler.errors import words
from reconciler.lines import shortened
from reconciler.toml import duration

T = TypeVar("T")

_KINDS = {
    str: "a string",
    Path: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    tuple: "a list",
    dict: "a table",
}
_ORIGINS = {Mapping: dict}
_TOLD: Final = 10
"""Wrong entries of a list that are named."""

_READ, _WRITE, _INTERNAL = "read", "write", "internal"


@attrs.frozen
class Problem:
    """What is wrong with a key: the tables above it, its name, and why."""

    tables: tuple[str, ...]
    key: str
    reason: str

    def __str__(self) -> str:
        table = f"[{'.'.join(self.tables)}] " if self.tables else ""
        return f"{table}{self.reason}"


class Refused(Exception):  # carries every problem at once
    """The table does not fit; ``problems`` has one for each wrong key."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


def setting(
    default: T,
    read: Callable[[object], T],
    write: Callable[[T], object] | None = None,
) -> T:
    """Declare a field that ``read`` makes from the TOML value; it raises ValueError to refuse.

    ``write`` gives the TOML value back, where it is not the field's own.
    """
    return attrs.field(default=default, metadata={_READ: read, _WRITE: write})


def internal(default: T) -> T:
    """Declare a field that no file sets, but the program itself."""
    return attrs.field(default=default, metadata={_INTERNAL: True})


def listed(rows: object, read: Callable[[object], T], what: str) -> tuple[T, ...]:
    """Read each entry of a list. Raise ValueError that names the wrong ones, or the first ten."""
    if not isinstance(rows, list):
        raise TypeError(f"must be a list of {what}")
    found: list[T] = []
    refused: list[ValueError] = []
    for row in rows:
        try:
            found.append(read(row))
        except ValueError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        reasons = [words(error).partition("\n")[0] for error in refused]
        raise ValueError("; ".join(shortened(reasons, _TOLD)))
    return tuple(found)


def fill(cls: type[T], table: Mapping[str, Any], tables: tuple[str, ...] = ()) -> T:
    """Build the attrs class ``cls``; ``tables`` name where the table stands. Raise `Refused`.

    A field made by `setting`, or with an attrs converter, takes what that takes; any other takes
    what its annotation says: str, bool, int, float, Path, timedelta (a duration that ends, such as
    "10s"), list[X], tuple[X, ...], dict[str, X], unions of these, and attrs classes, which are
    tables. One made by `internal` is no key.
    """
    hints = get_type_hints(cls)
    fields = {field.alias or field.name: field for field in attributes(cls) if field.init}
    problems = [
        Problem(tables, key, unknown("key", key, fields)) for key in table if key not in fields
    ]
    values: dict[str, Any] = {}
    for name, attribute in fields.items():
        try:
            if name in table:
                value = _value(table[name], attribute, hints[attribute.name], (*tables, name))
                _try(attribute, value)
                values[name] = value
            elif attribute.default is attrs.NOTHING:
                problems.append(Problem(tables, name, f"{name}: is missing"))
        except Refused as error:
            problems += error.problems
        except (ValueError, TypeError) as error:
            problems.append(Problem(tables, name, f"{name}: {words(error)}"))
    if not problems:
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            problems.append(Problem(tables, "", words(error)))
    raise Refused(problems)


def _try(attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Convert and validate one field by itself, so that the mistakes of all fields are told.

    What needs the other fields is left to the class itself.
    """
    convert: Any = attribute.converter
    if isinstance(convert, attrs.Converter):
        return
    with suppress(AttributeError):
        if convert is not None:
            value = convert(value)
        if attribute.validator is not None:
            attribute.validator(None, attribute, value)


def plain(settings: Any) -> dict[str, Any]:
    """Return the TOML values of an attrs instance: what `fill` would read."""
    values = {}
    for attribute in attributes(type(settings)):
        value = getattr(settings, attribute.name)
        write = attribute.metadata.get(_WRITE)
        if write is not None:
            value = write(value)
        values[attribute.name] = plain(value) if attrs.has(type(value)) else value
    return values


def attributes(cls: type) -> "list[attrs.Attribute[Any]]":
    """Return the fields of an attrs class that are keys of its table."""
    return [field for field in attrs.fields(cls) if _INTERNAL not in field.metadata]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return that nobody knows the name, and give the nearest one that somebody does."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    near = get_close_matches(name, list(known), 1)
    return f"unknown {kind} {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _value(
    value: Any, attribute: "attrs.Attribute[Any]", hint: Any, tables: tuple[str, ...]
) -> Any:
    if _READ in attribute.metadata:
        return attribute.metadata[_READ](value)
    return value if attribute.converter is not None else _typed(value, hint, tables)


def _typed(value: Any, hint: Any, tables: tuple[str, ...]) -> Any:
    """Hold a TOML value against an annotation; a list becomes a tuple."""
    if hint is Any:
        return value
    if get_origin(hint) in {Union, types.UnionType}:
        *others, hint = (arm for arm in get_args(hint) if arm is not type(None))
        for arm in others:
            with suppress(TypeError, Refused):
                return _typed(value, arm, tables)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is timedelta:
        return timedelta(seconds=duration.finite(value))
    kind = dict if attrs.has(hint) else _ORIGINS.get(get_origin(hint), get_origin(hint)) or hint
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not (list if kind is tuple else kind):
        raise TypeError(f"must be {_KINDS.get(kind, kind)}, not {_KINDS.get(type(value), value)}")
    return _inside(value, hint, kind, tables)


def _inside(value: Any, hint: Any, kind: type, tables: tuple[str, ...]) -> Any:
    """Hold what a table or a list holds against the annotation."""
    if attrs.has(hint):
        return fill(hint, dict(value), tables)
    if isinstance(value, list):
        return kind(_typed(item, _arm(hint, 0), tables) for item in value)
    if isinstance(value, dict):
        return {key: _typed(item, _arm(hint, 1), tables) for key, item in value.items()}
    return value


def _arm(hint: Any, index: int) -> Any:
    """Return an argument of ``tuple[X, ...]`` or ``dict[str, X]``; without one anything goes."""
    arms = get_args(hint)
    return arms[index] if arms else Any
