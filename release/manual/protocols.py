"""What plugins may use, as a page shows it: classes with what they have, and their docstrings."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

import reconciler
from release.manual.prose import paragraphs
from release.manual.roff import argument, macro, tagged, title

_PATHS: Final = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Za-z_])")


def described(name: str) -> Iterator[str]:
    """Yield a section about a public class of `reconciler`."""
    cls: Any = getattr(reconciler, name)
    yield title("Ss", name)
    yield from paragraphs(inspect.getdoc(cls) or "")
    if attrs.has(cls):
        yield ".Pp"
        yield "It is made by"
        yield macro("Ic", _made(name, cls))
    if methods := [*_methods(cls)]:
        yield from tagged(methods)


def signature(function: Callable[..., object]) -> str:
    """Return how it is called and what it returns, without the modules of the types."""
    found = inspect.signature(function)
    held = [each for name, each in found.parameters.items() if name != "self"]
    text = str(found.replace(parameters=held))
    return _PATHS.sub("", text).replace("'", "").replace("NoneType", "None")


def _made(name: str, cls: type[Any]) -> str:
    """Return the call that makes a value, with the defaults that can be written."""
    parts = []
    for each in attrs.fields(cls):
        if each.init:
            plain = isinstance(each.default, bool | int | str | tuple | type(None))
            default = f"={each.default!r}" if plain else "=..."
            parts.append(each.name + (default if each.default is not attrs.NOTHING else ""))
    return f"{name}({', '.join(parts)})"


def _methods(cls: type[Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield what an object of the class has by the class itself."""
    for name, member in vars(cls).items():
        if name.startswith("_") or not inspect.isfunction(member) or not member.__doc__:
            continue
        yield f"Ic {argument(name + signature(member))}", paragraphs(member.__doc__)
