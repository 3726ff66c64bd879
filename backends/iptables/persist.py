"""What is restored at boot: the whole ruleset, in the files that the distribution reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from backends.xtables import State, enforced, parse
from reconciler import BackendError, Damage, files


@frozen
class Place:
    """A directory, its file of each family, and the mode of a new one."""

    directory: Path
    names: Mapping[int, str]
    mode: int


PLACES: tuple[Place, ...] = (
    Place(Path("/etc/iptables"), {4: "rules.v4", 6: "rules.v6"}, 0o640),
    Place(Path("/etc/sysconfig"), {4: "iptables", 6: "ip6tables"}, 0o600),
)
"""Of iptables-persistent (Debian), and of iptables-services (Red Hat)."""

_INSTALL: Final = (
    "install iptables-persistent (Debian) or iptables-services, or set persist = false"
)


def damage(state: State) -> list[Damage]:
    """Tell which files do not hold the chain and its jumps as the kernel does.

    The files are compared, not remembered: what a pass that was killed left undone is seen.
    """
    return [Damage(str(path), "does not hold what is enforced") for path in _stale(state).values()]


def announced() -> str:
    """Say what `write` does."""
    paths = " and ".join(str(path) for path in _paths().values())
    return f"# what iptables-save and ip6tables-save then print is written to {paths}\n"


def write(state: State) -> None:
    """Save the whole ruleset where `damage` is told; raise `BackendError`."""
    _write(state, _stale(state))


def clear(state: State) -> None:
    """Save again what has the chain in it, so that what is gone from the kernel is gone there."""
    _write(state, {each: path for each, path in _stale(state).items() if _saved(path)})


def _write(state: State, stale: Mapping[int, Path]) -> None:
    if stale and not _place().directory.is_dir():
        raise BackendError(
            f"{_place().directory}: there is no such directory to save the rules in", _INSTALL
        )
    for version, path in stale.items():
        try:
            files.replace(path, state.saved[version], mode=_place().mode)
        except OSError as error:
            raise BackendError(
                f"{path}: cannot save the rules: {error.strerror}; they are in force until reboot",
                "allow writing there, or set persist = false",
            ) from None


def _place() -> Place:
    """Give the first place that there is."""
    return next((place for place in PLACES if place.directory.is_dir()), PLACES[0])


def _paths() -> dict[int, Path]:
    place = _place()
    return {version: place.directory / name for version, name in place.names.items()}


def _stale(state: State) -> dict[int, Path]:
    return {
        version: path
        for version, path in _paths().items()
        if _saved(path) != enforced(state.listings[version])
    }


def _saved(path: Path) -> Any:  # noqa: ANN401 - compared only
    """Read what a file holds of ours; None if it cannot be read, which equals nothing."""
    try:
        return enforced(parse(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return None
