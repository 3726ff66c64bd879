"""The whitelist: entries written by hand in the configuration, and those that commands write.

The latter stand in ``whitelist.toml`` beside the configuration, so that no program ever rewrites a
file that a person keeps.
"""

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import files
from reconciler.errors import ConfigError
from reconciler.network import Network
from reconciler.toml import file as toml_file
from reconciler.toml import schema
from reconciler.toml.file import TomlFile
from reconciler.toml.schema import setting

_WIDEST: Final = {4: 8, 6: 7}
"""The prefix lengths of the widest private networks, 10.0.0.0/8 and fc00::/7."""


@frozen
class Exemption:
    """A network that is never dropped, and why; ``until`` (epoch seconds), or for good."""

    network: Network
    comment: str = ""
    until: int | None = None

    def holds(self, now: float) -> bool:
        """Whether it has not ended at ``now`` (epoch seconds)."""
        return self.until is None or now < self.until


def _exemption(row: object) -> Exemption:
    match row:
        case str() as network:
            return Exemption(Network.parse(network))
        case {"network": str() as network, **rest} if set(rest) <= {"comment", "until"}:
            comment = rest.get("comment", "")
            if isinstance(comment, str):
                return Exemption(Network.parse(network), comment, _end(network, rest.get("until")))
    raise ValueError(
        f"{row!r} is neither a network nor {{network = ..., comment = ..., until = ...}}"
    )


def _end(network: str, until: object) -> int | None:
    """Read when an entry ends: a date with its offset, or nothing."""
    if until is None:
        return None
    if not isinstance(until, datetime) or until.tzinfo is None:
        raise ValueError(
            f"{network}: until must be a date, a time and an offset: 2026-11-29T18:00:00Z"
        )
    end = math.ceil(until.timestamp())
    try:
        datetime.fromtimestamp(end, UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{network}: until is in no year that UTC has: {until}") from None
    return end


_exemptions = partial(schema.listed, read=_exemption, what="networks")


def _rows(entries: Iterable[Exemption]) -> list[dict[str, object]]:
    return [
        {"network": str(entry.network)}
        | ({"comment": entry.comment} if entry.comment else {})
        | ({} if entry.until is None else {"until": datetime.fromtimestamp(entry.until, UTC)})
        for entry in sorted(entries, key=lambda entry: entry.network)
    ]


@frozen
class Whitelist:
    """``[whitelist]``: networks that are never dropped, and that are passed ahead of the drop."""

    networks: tuple[Exemption, ...] = setting((), _exemptions, _rows)


def excess(network: Network) -> str:
    """Return what it would do to whitelist a network that is too wide to be meant; else nothing."""
    limit = _WIDEST[network.version]
    if network.length >= limit:
        return ""
    share = f"1/{1 << network.length}" if network.length else "all"
    return (
        f"{network} is wider than /{limit}, the widest private network: nobody in {share} of"
        f" IPv{network.version} would be dropped, whatever is banned"
    )


def beside(config: Path) -> Path:
    """Name the file that commands write, beside the configuration file that a link leads to.

    Raise `ConfigError` where there is one beside the link, which was asked for once.
    """
    try:
        real = Path(os.path.realpath(config))  # which a link to itself does not stop
    except OSError:  # of getcwd(2)
        raise ConfigError(
            f"{config}: the working directory is gone", "change to another one, then run it again"
        ) from None
    path, other = (each.with_name("whitelist.toml") for each in (real, config))
    if other.parent.resolve() != path.parent and os.path.lexists(other):
        with suppress(OSError):
            if other.samefile(path):
                return path
        raise ConfigError(
            f"{other}: {config} is a link, and the whitelist is looked for beside the file that it"
            f" leads to: {path}",
            f"move what it holds to {path}, and remove this one",
        )
    return path


def read(config: Path) -> TomlFile:
    """Read the file that commands write, as it is now; a missing one has no text.

    One that belongs neither to us, nor to root, nor to the owner of the configuration or its
    directory is not believed. Raise `ConfigError`.
    """
    path = beside(config)
    owners = {0, os.geteuid()}
    for each in (path.parent, config):
        with suppress(OSError):
            owners.add(each.stat().st_uid)
    return toml_file.read(path, required=False, owners=owners)


def entries(file: TomlFile) -> Whitelist:
    """Return what the file that commands write says; a missing one is empty. Raise `ConfigError`.

    What cannot be read is an error: an unknown whitelist is not an empty one.
    """
    try:
        return schema.fill(Whitelist, file.data)
    except schema.Refused as error:
        raise file.refusal(error.problems) from None


def save(path: Path, entries: Iterable[Exemption], *, mode: int) -> str:
    """Replace the file that commands write; return its text. Raise `ConfigError`."""
    import tomli_w  # noqa: PLC0415 - most commands only read

    rows = tomli_w.dumps({"networks": _rows(entries)})
    text = "# Written by `treason whitelist add` and `remove`.\n" + rows
    try:
        files.replace(path, text, mode=mode)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot write the whitelist: {error.strerror}",
            files.remedy(error, "run as root, or allow writing to its directory"),
        ) from None
    return text
