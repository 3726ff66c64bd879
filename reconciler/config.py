"""The configuration: one TOML file, checked as a whole before anything is done."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, field, frozen
from attrs.validators import and_, ge, le

from reconciler import schema
from reconciler.errors import ConfigError
from reconciler.network import Network
from reconciler.policy import Policy
from reconciler.schema import setting

DEFAULT = Path("/etc/treason/treason.toml")


def _path(text: object) -> Path:
    if isinstance(text, str) and "\0" not in text and Path(text).is_absolute():
        return Path(text)
    raise ValueError(f"{text!r} is no absolute path")


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
    """``[treason]``. ``max_removals`` is a share of what is enforced."""

    database: Path = setting(Path("/var/lib/treason/treason.db"), _path)
    lock: Path = setting(Path("/run/treason/lock"), _path)
    sources: tuple[str, ...] = ("kmsg",)
    backends: tuple[str, ...] = ("nftables",)
    max_removals: float = field(default=0.3, validator=and_(ge(0), le(1)))
    min_prefix: MinPrefix = Factory(MinPrefix)


@frozen
class Trust:
    """``[trust]``. ``userspace`` believes records that a process wrote; it is for tests."""

    userspace: bool = False


@frozen
class Exemption:
    """A whitelisted network, and why."""

    network: Network
    comment: str = ""


def _exemptions(rows: object) -> tuple[Exemption, ...]:
    if isinstance(rows, list):
        return tuple(_exemption(row) for row in rows)
    raise ValueError("must be a list of networks")


def _exemption(row: object) -> Exemption:
    match row:
        case str() as network:
            return Exemption(Network.parse(network))
        case {"network": str() as network, **rest} if set(rest) <= {"comment"}:
            comment = rest.get("comment", "")
            if isinstance(comment, str):
                return Exemption(Network.parse(network), comment)
    raise ValueError(f"{row!r} is neither a network nor {{network = ..., comment = ...}}")


@frozen
class Whitelist:
    """``[whitelist]``."""

    networks: tuple[Exemption, ...] = setting((), _exemptions)


@frozen
class Config:
    """The whole file; ``source`` and ``backend`` hold the plugins' own tables by name."""

    treason: Main = Factory(Main)
    trust: Trust = Factory(Trust)
    policy: Policy = Factory(Policy)
    whitelist: Whitelist = Factory(Whitelist)
    source: Mapping[str, dict[str, Any]] = field(factory=dict)
    backend: Mapping[str, dict[str, Any]] = field(factory=dict)


def load(path: Path | None) -> Config:
    """Read the file; without a path the default one, which may be absent. Raise `ConfigError`."""
    try:
        data = tomllib.loads((path or DEFAULT).read_bytes().decode())
    except FileNotFoundError:
        if path is None:
            return Config()
        raise ConfigError(
            f"{path}: no such configuration file", "name an existing one with --config"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path or DEFAULT}: cannot read the configuration: {error.strerror}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path or DEFAULT}: malformed TOML: {error}") from None
    return parse(data, str(path or DEFAULT))


def parse(data: Mapping[str, Any], where: str) -> Config:
    """Check the parsed TOML; ``where`` names the file. Raise `ConfigError` with every problem."""
    try:
        return schema.fill(Config, data, f"{where}:")
    except schema.Refused as error:
        raise ConfigError("\n".join(error.problems)) from None
