"""A TOML file that people write: read as a whole, and every mistake told with its line."""

import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from reconciler import files
from reconciler.errors import ConfigError
from reconciler.toml.schema import Problem

_MOST: Final = 1 << 24
"""Bytes of a file: a quarter of a million whitelist entries with their comments."""


@frozen
class TomlFile:
    """A file that was read. One that is absent has no text and no data."""

    path: Path
    text: str = field(default="", repr=False)
    data: Mapping[str, Any] = field(factory=dict, repr=False)

    def refusal(self, problems: Sequence[Problem], hint: str = "") -> ConfigError:
        """Make the error that tells every problem, each in its line."""
        return ConfigError("\n".join(map(self._told, problems)), hint)

    def _told(self, problem: Problem) -> str:
        line = _line(self.text, (*problem.tables, problem.key))
        return f"{self.path}{f':{line}' if line else ''}: {problem}"


def read(path: Path, *, required: bool, owners: Collection[int] = ()) -> TomlFile:
    """Read the file; an absent one is empty unless it is ``required``. Raise `ConfigError`.

    One that every user may write is refused as root, and one that belongs to none of the
    ``owners`` (user ids), if there are some.
    """
    try:
        said = text(path, owners)
        return TomlFile(path, said, tomllib.loads(said))
    except FileNotFoundError:
        if path.is_symlink():
            raise ConfigError(
                f"{path}: the link points to a file that does not exist",
                "create that file, or remove the link",
            ) from None
        if not required:
            return TomlFile(path)
        raise ConfigError(
            f"{path}: configuration file not found",
            "name an existing file with --config, or create one: treason init",
        ) from None
    except OSError as error:
        denied = isinstance(error, PermissionError)
        raise ConfigError(
            f"{path}: cannot read the file: {error.strerror}",
            "allow reading it, or run as root" if denied else "put a file that can be read there",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path}: not valid TOML: it is not text in UTF-8",
            "save it as UTF-8, then run: treason config check",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: not valid TOML: {error}", "correct it, then run: treason config check"
        ) from None


def text(path: Path, owners: Collection[int] = ()) -> str:
    """Return what the file holds, unread. Raise OSError, UnicodeDecodeError or `ConfigError`."""
    return files.content(path, _MOST, partial(_distrust, path, owners)).decode("utf-8-sig")


def _distrust(path: Path, owners: Collection[int], status: os.stat_result) -> None:
    """Refuse a file that somebody else may have written."""
    if os.geteuid() == 0 and stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path}: every user may write to this file, so it is not believed",
            f"see that it says what it should, and take that right away: chmod o-w {path}",
        )
    if owners and status.st_uid not in owners:
        raise ConfigError(
            f"{path}: it belongs to user {status.st_uid}, not to the configuration's owner or to"
            " root, so it is not believed",
            f"remove it, or see that it says what it should and make it yours: chown root {path}",
        )


def _line(text: str, key: tuple[str, ...]) -> int | None:
    """Find the line that sets a key, or the nearest table or inline table around it.

    The second ``[[rule]]`` is known as ``rule 2`` as well as ``rule``.
    """
    current: tuple[str, ...] = ()
    nth: Counter[tuple[str, ...]] = Counter()
    best, depth = None, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[+)([^\]]+)\]", line):
            current = found = _names(header[2])
            nth[current] += header[1] == "[["
        elif assignment := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            found = (*current, *_names(assignment[1]))
        else:
            continue
        numbered = found
        if nth[current]:
            numbered = (*current[:-1], f"{current[-1]} {nth[current]}", *found[len(current) :])
        size = len(found)
        if key[:size] in {found, numbered} and size > depth:
            best, depth = number, size
    return best


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip(" \"'") for part in dotted.split("."))
