"""The configuration's template, taken apart: tables, what is said in them, and their keys."""

import re
import tomllib
from collections.abc import Iterator
from typing import Final

from attrs import Factory, define

_TABLE: Final = re.compile(r"(# )?(\[\[?[a-z.]+\]?\])")


@define
class Group:
    """Sentences, and the keys that they are about: each with the line that sets it."""

    text: str = ""
    keys: dict[str, str] = Factory(dict)


@define
class Table:
    """A table: its name with the brackets, what is said of all of it, and its groups."""

    name: str
    text: str
    groups: list[Group] = Factory(list)

    @property
    def keys(self) -> set[str]:
        """All keys that are shown."""
        return {key for group in self.groups for key in group.keys}

    def example(self, key: str) -> str | None:
        """Return the line of a key as it is shown; None where it is not."""
        return next((each.keys[key] for each in self.groups if key in each.keys), None)


def tables(template: str) -> list[Table]:
    """Return the tables in their order; what is said ahead of the first one is left out."""
    found: list[Table] = []
    before: list[str] = []
    for line in template.splitlines():
        if header := _TABLE.fullmatch(line):
            table = Table(header[2], " ".join(before) if header[1] else "")
            found.append(table)
            before = []
        elif not found:
            continue
        elif key := _key(line):
            if before or not found[-1].groups:
                found[-1].groups.append(Group(" ".join(before)))
                before = []
            found[-1].groups[-1].keys.setdefault(key, line.removeprefix("# "))
        elif text := line.removeprefix("#").strip():
            before.append(text)
    return found


def _key(line: str) -> str | None:
    """Return the key that a line sets; None for a line of text."""
    try:
        [key] = tomllib.loads(line.removeprefix("# "))
    except (tomllib.TOMLDecodeError, ValueError):
        return None
    return key


def sections(found: list[Table]) -> Iterator[tuple[str, list[Table]]]:
    """Yield the tables by what they are called: the feeds are one kind, and so are the rules."""
    kinds: dict[str, list[Table]] = {}
    for each in found:
        name = "[feed.NAME]" if each.name.startswith("[feed.") else each.name
        kinds.setdefault(name, []).append(each)
    yield from kinds.items()
