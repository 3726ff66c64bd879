"""What firewalls held at some time, in a file: for checks where no firewall can be asked."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from reconciler import files
from reconciler.errors import (
    BackendError,
    BackendUnreadable,
    ConfigError,
    TreasonError,
    describe,
    guarded,
)
from reconciler.interfaces import Backend
from reconciler.model import BOTH, Damage, Observed, Plan
from reconciler.network import Network

FORMAT_VERSION = 1
_MOST: Final = 1 << 27
"""Bytes of a snapshot: six million networks, which take 2 GB of memory."""


@frozen
class Recorded:
    """A backend that holds what the file says, and can only be read."""

    observed: Observed

    def observe(self) -> Observed:
        """Return what was observed then."""
        return self.observed

    def render(self, plan: Plan) -> str:  # noqa: ARG002 - the protocol's signature
        """Return nothing: there is no firewall to speak to."""
        return ""

    def apply(self, plan: Plan) -> None:  # noqa: ARG002
        """Refuse."""
        raise TreasonError("a snapshot cannot be changed")

    def teardown(self) -> None:
        """Refuse."""
        raise TreasonError("a snapshot cannot be changed")


def take(backends: Mapping[str, Callable[[], Backend]]) -> tuple[str, list[str]]:
    """Observe every backend; give the file's text, and what went wrong."""
    found: dict[str, Any] = {}
    errors: list[str] = []
    for name, make in backends.items():
        observed = guarded(partial(_observed, make), partial(describe, name=name), name)
        if isinstance(observed, str):
            errors.append(observed)
        else:
            found[name] = observed
    return json.dumps({"format_version": FORMAT_VERSION, "backends": found}, indent=1), errors


def backends(path: Path, chosen: Iterable[str]) -> dict[str, Callable[[], Backend]]:
    """Return makers of the recorded backends for the chosen names. Raise `ConfigError`."""
    try:
        data = json.loads(files.content(path, _MOST))
        version = data["format_version"]
        held = {name: _loaded(entry) for name, entry in data["backends"].items()}
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read the snapshot: {error.strerror}", "name a file that you may read"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: this is not a snapshot, or it is damaged ({type(error).__name__})",
            "create one: treason export --observed > FILE",
        ) from None
    if version != FORMAT_VERSION:
        raise ConfigError(
            f"{path}: the snapshot has format {version}; this program knows {FORMAT_VERSION}",
            "create a new one: treason export --observed > FILE",
        )
    return {name: _maker(name, held, path) for name in chosen}


def _maker(name: str, held: Mapping[str, Observed], path: Path) -> Callable[[], Backend]:
    def make() -> Backend:
        if name not in held:
            raise BackendUnreadable(f"{path}: the snapshot has no backend {name!r}")
        return Recorded(held[name])

    return make


def _observed(make: Callable[[], Backend]) -> dict[str, Any] | str:
    observed = make().observe()
    return {
        "banned": [str(network) for network in sorted(observed.banned)],
        "passed": None
        if observed.passed is None
        else [str(network) for network in sorted(observed.passed)],
        "damage": [{"subject": d.subject, "problem": d.problem} for d in observed.damage],
        "versions": sorted(observed.versions),
        "problems": [{"what": p.what, "hint": p.hint} for p in observed.problems],
    }


def _loaded(entry: dict[str, Any]) -> Observed:
    passed = entry["passed"]
    return Observed(
        frozenset(map(Network.parse, entry["banned"])),
        None if passed is None else frozenset(map(Network.parse, passed)),
        tuple(Damage(str(d["subject"]), str(d["problem"])) for d in entry["damage"]),
        versions=frozenset(entry.get("versions", BOTH)),
        problems=[BackendError(str(p["what"]), str(p["hint"])) for p in entry.get("problems", ())],
    )
