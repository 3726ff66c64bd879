"""The configuration: one TOML file, checked as a whole before anything is done."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import Factory, evolve, field, frozen
from attrs.validators import and_, ge, le

from reconciler.config import places
from reconciler.detection.policy import Policy
from reconciler.network import Network
from reconciler.planning.protection import Protect
from reconciler.planning.whitelist import Whitelist
from reconciler.toml import duration, schema
from reconciler.toml.file import TomlFile
from reconciler.toml.schema import setting

T = TypeVar("T")

DEFAULT: Final = Path(places.CONFIGURATION)

_LONGEST: Final = 107
"""Bytes of the path of a socket, without the zero behind it (sun_path of unix(7))."""


def _path(text: object) -> Path:
    if isinstance(text, str) and text and "\0" not in text:
        return Path(text)
    raise ValueError(f"{text!r} is not a path")


def _rules(rows: object) -> tuple[Any, ...]:
    from reconciler.detection import rules  # noqa: PLC0415 - most configurations have none

    return rules.read(rows)


def _rows(tables: tuple[Any, ...]) -> list[dict[str, Any]]:
    from reconciler.detection import rules  # noqa: PLC0415 - only `config show` and tests write

    return rules.write(tables)


@frozen
class MinPrefix:
    """``min_prefix``: the shortest prefix that a ban may have without ``--force``."""

    ipv4: int = field(default=16, validator=and_(ge(0), le(32)))
    ipv6: int = field(default=32, validator=and_(ge(0), le(128)))

    def allows(self, network: Network) -> bool:
        """Whether the network is narrow enough."""
        return network.length >= (self.ipv6 if network.version == 6 else self.ipv4)


@frozen
class Main:
    """``[treason]``.

    ``max_removals`` is a share of what is enforced, ``resync_interval`` and ``pass_timeout``
    are in seconds.
    """

    database: Path = setting(Path(places.DATABASE), _path, str)
    lock: Path = setting(Path("/run/treason/lock"), _path, str)
    sources: tuple[str, ...] = ("kmsg",)
    backends: tuple[str, ...] = ("nftables",)
    max_removals: float = field(default=0.3, validator=and_(ge(0), le(1)))
    min_prefix: MinPrefix = Factory(MinPrefix)
    resync_interval: int = setting(3600, duration.finite, duration.render)
    close_connections: bool = True
    pass_timeout: int = setting(600, duration.finite, duration.render)


AUTO, ALWAYS, NEVER = "auto", "always", "never"
"""When the kernel's messages are confirmed: where they can be forged, everywhere, nowhere."""


def _confirm(text: object) -> str:
    if text in (AUTO, ALWAYS, NEVER):
        return str(text)
    raise ValueError(f"{text!r} is unknown: write {AUTO!r}, {ALWAYS!r} or {NEVER!r}")


@frozen
class Run:
    """``[run]``: the daemon. ``events`` lets it listen to what others change in the firewall."""

    socket: Path = setting(Path("/run/treason/control"), _path, str)
    events: bool = True


@frozen
class Trust:
    """``[trust]``. ``userspace`` believes records that a process wrote; it is for tests.

    ``confirm`` tells when a live message must be confirmed.
    """

    userspace: bool = False
    confirm: str = setting(AUTO, _confirm)


@frozen
class Config:
    """The whole file; ``source`` and ``backend`` hold the plugins' own tables by name.

    ``feed`` holds the table of each feed (`reconciler.config.feeds`).
    ``rule`` holds what `reconciler.detection.rules` makes of each ``[[rule]]``.
    """

    treason: Main = Factory(Main)
    run: Run = Factory(Run)
    trust: Trust = Factory(Trust)
    policy: Policy = Factory(Policy)
    rule: tuple[Any, ...] = setting((), _rules, _rows)
    whitelist: Whitelist = Factory(Whitelist)
    protect: Protect = Factory(Protect)
    source: Mapping[str, dict[str, Any]] = field(factory=dict)
    backend: Mapping[str, dict[str, Any]] = field(factory=dict)
    feed: Mapping[str, dict[str, Any]] = field(factory=dict)


def parse(file: TomlFile) -> Config:
    """Check what was read; relative paths start at the file. Raise `ConfigError`."""
    problems: list[schema.Problem] = []
    try:
        config = schema.fill(Config, file.data)
    except schema.Refused as error:
        problems += error.problems
        config = right(file)
    widest, prefix = config.treason.min_prefix.ipv6, config.policy.ipv6_prefix
    if prefix < widest:
        reason = f"ipv6_prefix: {prefix} is wider than min_prefix in [treason] allows: {widest}"
        problems.append(schema.Problem(("policy",), "ipv6_prefix", reason))
    here = file.path.absolute().parent
    main, socket = config.treason, here / config.run.socket
    if (length := len(os.fsencode(socket))) > _LONGEST:
        reason = f"socket: a path of {length} bytes; the kernel takes {_LONGEST} at most"
        problems.append(schema.Problem(("run",), "socket", reason))
    if problems:
        raise file.refusal(problems)
    return evolve(
        config,
        treason=evolve(main, database=here / main.database, lock=here / main.lock),
        run=evolve(config.run, socket=socket),
    )


def right(file: TomlFile) -> Config:
    """Return what is right in a file with mistakes, so that the rest of it can be checked, too."""
    main = file.data.get("treason")
    found = _right(Config, {key: file.data[key] for key in file.data if key != "treason"})
    return evolve(found, treason=_right(Main, main)) if isinstance(main, dict) else found


def _right(cls: type[T], table: Mapping[str, Any]) -> T:
    """Fill a class with those keys of a table that are right by themselves."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        with suppress(schema.Refused):
            values[key] = getattr(schema.fill(cls, {key: value}), key)
    return cls(**values)
