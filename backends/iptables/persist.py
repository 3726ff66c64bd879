"""What is restored at boot: our chain, in the files that the distribution reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from backends.xtables.chain import CHAIN, Listing, parse
from backends.xtables.firewall import State
from backends.xtables.hooks import enforced, jumps, unnoted, without
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
    """Return which files do not hold the chain and its jumps as the kernel does.

    The files are compared, not remembered: what a pass that was killed left undone is seen.
    """
    stale = [Damage(str(path), "does not hold what is enforced") for path in _stale(state).values()]
    left = (file for path in paths().values() for file in files.left(path))
    return [*stale, *(Damage(str(file), "was left by an interrupted write") for file in left)]


def announced() -> str:
    """Return what `write` does."""
    named = " and ".join(str(path) for path in paths().values())
    return f"# the chain and its jumps are then written to {named}\n"


def write(state: State) -> None:
    """Save our chain where `damage` is told; raise `BackendError`.

    A file that is there keeps all that is not ours: it may be another variant's, or hold what is
    not loaded yet. Where there is none, the whole ruleset is saved.
    """
    for path in paths().values():
        files.sweep(path)
    for version, path in _stale(state).items():
        listing = state.listings[version]
        text = _text(path)
        _write(path, unnoted(state.saved[version]) if text is None else _spliced(text, listing))


def clear() -> None:
    """Take our chain out of the files."""
    for path in paths().values():
        text = _text(path)
        if text is not None and (rest := without(text)) != text:
            _write(path, rest)


def _spliced(text: str, listing: Listing) -> str:
    """Put our chain and its jumps, ahead of all other rules, into a saved ruleset."""
    parts = {table: _lines(listing, table) for table in listing if CHAIN in listing[table]}
    done: list[str] = []
    table = ""
    for line in without(text).removesuffix("\n").split("\n"):  # and at nothing else that ends lines
        if line.startswith("*"):
            table = line[1:].strip()
        if line.startswith(("-", "[", "COMMIT")) and table in parts:
            done += parts.pop(table)
        done.append(line)
    for table, lines in parts.items():
        done += [f"*{table}", *lines, "COMMIT"]
    return "".join(f"{line}\n" for line in done)


def _lines(listing: Listing, table: str) -> list[str]:
    chains = [*jumps(listing, table)]
    return [
        f":{CHAIN} - [0:0]",
        *(f"-A {chain} -j {CHAIN}" for chain in chains),
        *(f"-A {CHAIN} {rule}" for rule in listing[table][CHAIN]),
    ]


def _write(path: Path, text: str) -> None:
    if not path.parent.is_dir():
        raise BackendError(
            f"{path.parent}: this directory does not exist, so the rules cannot be saved", _INSTALL
        )
    try:
        files.replace(path, text, mode=_place().mode)
    except OSError as error:
        raise BackendError(
            f"{path}: cannot save the rules: {error.strerror}; they hold until the next boot",
            "allow writing to it, or set persist = false in [backend.iptables]",
        ) from None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _place() -> Place:
    """Return the first place that there is."""
    return next((place for place in PLACES if place.directory.is_dir()), PLACES[0])


def paths() -> dict[int, Path]:
    """Return the file of each family."""
    place = _place()
    return {version: place.directory / name for version, name in place.names.items()}


def _stale(state: State) -> dict[int, Path]:
    """Return the files that do not hold what is enforced, or hold a note of whose it is."""
    return {
        version: path
        for version, path in paths().items()
        if version in state.listings
        if _saved(path) != enforced(state.listings[version]) or _is_noted(path)
    }


def _is_noted(path: Path) -> bool:
    text = _text(path) or ""
    return unnoted(text) != text


def _saved(path: Path) -> Mapping[str, object] | None:
    """Read what a file holds of ours; None if it cannot be read, which equals nothing."""
    text = _text(path)
    return None if text is None else enforced(parse(text))
