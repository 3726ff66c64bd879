"""What a shell may complete: bans, feeds, rules and so on, as the files have them now.

It is asked at each press of a key. So it imports little, takes no lock, writes nothing, and waits
for nothing; where anything is wrong it knows of nothing, and says so to nobody. Only names are told
that mean nothing to any shell.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from reconciler.config import places

MOST: Final = 200
"""Values that are told: nobody reads more."""

_PLAIN: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:/@+-]{0,199}")
"""What means itself in every shell, wherever it stands, and is no option."""

_LONGEST: Final = 1 << 22
"""Bytes of a configuration that is read."""

_LOOK: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def values(kind: str, prefix: str, configuration: str | None) -> list[str]:
    """Return the values of a kind that begin with ``prefix``; none where they cannot be told.

    ``configuration`` is the file that was named, None for the usual one.
    """
    with suppress(Exception):
        held = _KINDS[kind](configuration or places.CONFIGURATION, prefix)
        plain = (each for each in held if each.startswith(prefix) and _PLAIN.fullmatch(each))
        return [*islice(dict.fromkeys(plain), MOST)]
    return []


def _bans(configuration: str, prefix: str) -> Iterable[str]:
    from reconciler.cli import peek  # noqa: PLC0415 - SQLite, which most kinds need not

    return peek.networks(_database(configuration), prefix, MOST)


def _origins(configuration: str, _prefix: str) -> Iterable[str]:
    from reconciler.cli import peek  # noqa: PLC0415 - as above

    return peek.origins(_database(configuration))


def _imports(configuration: str, prefix: str) -> Iterator[str]:
    for origin in _origins(configuration, prefix):
        if origin.startswith("import:"):
            yield origin.removeprefix("import:")


def _listed(configuration: str, prefix: str) -> Iterator[str]:
    """Yield what bans can be listed by: their origins, and the feeds."""
    yield from _origins(configuration, prefix)
    for name in _feeds(configuration, prefix):
        yield f"feed:{name}"


def _feeds(configuration: str, _prefix: str) -> Iterable[str]:
    return [*_read(configuration).get("feed", {})]


def _rules(configuration: str, _prefix: str) -> Iterable[str]:
    return [str(row["name"]) for row in _read(configuration).get("rule", ())]


def _sources(configuration: str, _prefix: str) -> Iterable[str]:
    return _chosen(configuration, "source")


def _backends(configuration: str, _prefix: str) -> Iterable[str]:
    return _chosen(configuration, "backend")


def _chosen(configuration: str, noun: str) -> list[str]:
    """Return those that the configuration switches on, and those that it has a table of."""
    held = _read(configuration)
    return [*map(str, held.get("treason", {}).get(f"{noun}s", ())), *held.get(noun, {})]


def _whitelist(configuration: str, _prefix: str) -> Iterator[str]:
    """Yield what commands have whitelisted, which is what they can remove."""
    here = os.path.dirname(os.path.realpath(configuration))  # noqa: PTH120 - pathlib is slow
    beside = os.path.join(here, places.WHITELIST)  # noqa: PTH118 - as above
    for entry in _read(beside).get("networks", ()):
        yield str(entry["network"] if isinstance(entry, dict) else entry)


_KINDS: Final[dict[str, Callable[[str, str], Iterable[str]]]] = {
    "backends": _backends,
    "bans": _bans,
    "feeds": _feeds,
    "imports": _imports,
    "listed": _listed,
    "origins": _origins,
    "rules": _rules,
    "sources": _sources,
    "whitelist": _whitelist,
}
KINDS: Final = frozenset(_KINDS)
"""What can be asked for."""


def _database(configuration: str) -> str:
    """Return where the database is; a relative path starts at the configuration."""
    path = str(_read(configuration).get("treason", {}).get("database", places.DATABASE))
    here = os.path.dirname(os.path.abspath(configuration))  # noqa: PTH100, PTH120 - as above
    return os.path.join(here, path)  # noqa: PTH118 - as above


def _read(path: str) -> dict[str, Any]:
    """Return what a file of TOML says; one that is not there says nothing."""
    import tomllib  # noqa: PLC0415 - whoever only asks for the version needs it not

    with suppress(FileNotFoundError):
        descriptor = os.open(path, _LOOK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size <= _LONGEST:
                return tomllib.load(file)
    return {}
