"""What a command is given many of: networks on its line, in files, and on standard input."""

import errno
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import click
from attrs import frozen

from reconciler import files
from reconciler.cli.console import warn
from reconciler.errors import ConfigError, InvalidDuration, InvalidNetwork, TreasonError
from reconciler.network import Network
from reconciler.toml import duration

F = TypeVar("F", bound=Callable[..., object])

_MOST: Final = 1 << 24
"""Bytes of a list: about a million addresses."""

_STDIN: Final = "-"


@frozen
class Given:
    """A text that is to name a network; ``file`` and ``line`` tell where it stands, if in one."""

    text: str
    file: str = ""
    line: int = 0

    @property
    def network(self) -> Network | None:
        """The network that it names; None if it names none."""
        try:
            return Network.parse(self.text)
        except InvalidNetwork:
            return None

    def refused(self, error: TreasonError) -> TreasonError:
        """Return the error with the place where the text stands."""
        what = f"{self.file}:{self.line}: {error.what}" if self.file else error.what
        return type(error)(what, error.hint)


def networks(command: F) -> F:
    """Let a command take networks: ``networks``, ``lists`` and ``skip`` are its parameters."""
    options = (
        click.argument("networks", nargs=-1, metavar="[NETWORK|-]..."),
        click.option(
            "--file", "lists", multiple=True, metavar="FILE",
            help="Read networks from this file, one a line; # begins a comment. Repeatable.",
        ),
        click.option(
            "--skip-invalid", "skip", is_flag=True,
            help="Leave out what is refused, name it, and take the others.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def read(networks: Sequence[str], lists: Sequence[str]) -> list[Given]:
    """Return what is given, ``-`` being standard input. Raise `ConfigError` if it is unreadable."""
    if not networks and not lists:
        raise click.UsageError("Missing argument 'NETWORK...': name networks, a --file, or -")
    found: list[Given] = []
    for text in networks:
        found += _listed(text) if text == _STDIN else [Given(text)]
    for path in lists:
        found += _listed(path)
    return found


def moment(text: str, now: int) -> int:
    """Return the epoch seconds of a date, or of a duration before ``now``.

    A date without an offset is UTC, as all that is printed. Raise `InvalidDuration`.
    """
    try:
        date = datetime.fromisoformat(text)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        pass
    try:
        return now - duration.finite(text)
    except InvalidDuration:
        raise InvalidDuration(
            f"{text!r} is neither a duration nor a date",
            "write 90s, 10m, 1h, 30d, 2w, 2026-11-29 or 2026-11-29T18:00:00Z (without Z it is UTC)",
        ) from None


def allowed(_network: Network) -> None:
    """Refuse nothing."""


def valid(given: Iterable[Given]) -> list[Network]:
    """Return the networks among what is given."""
    return [network for each in given if (network := each.network) is not None]


def judged(
    given: Iterable[Given],
    refusal: Callable[[Network], TreasonError | None] = allowed,
    *,
    skip: bool,
) -> list[Network]:
    """Return the networks, each once; with ``skip`` without those refused, each with a warning.

    ``refusal`` tells what else than its text is wrong with one. Raise `TreasonError` if something
    is refused and not to be skipped, or if all is.
    """
    found: dict[Network, None] = {}
    refused: list[TreasonError] = []
    for each in given:
        try:
            network = Network.parse(each.text)
            error = None if network in found else refusal(network)
        except InvalidNetwork as invalid:
            error = invalid
        if error is None:
            found[network] = None
        else:
            refused.append(each.refused(error))
    if refused and not (skip and found):
        raise _together(refused, found)
    for error in refused:
        warn(f"skipped: {error.what}")
    return [*found]


def _together(refused: Sequence[TreasonError], others: Iterable[Network]) -> TreasonError:
    """Return the error that tells of all that is refused; alone it is told as it is."""
    first = refused[0]
    what, hint = first.what, first.hint
    if len(refused) > 1:
        what += f" (and {len(refused) - 1:,} more refused)"
    if any(True for _ in others):
        hint += "; nothing was changed: --skip-invalid takes the others"
    return type(first)(what, hint)


def _listed(path: str) -> list[Given]:
    """Read a list: a network a line, with comments and blank lines."""
    name = "standard input" if path == _STDIN else path
    try:
        held = _piped() if path == _STDIN else files.content(Path(path), _MOST)
    except OSError as error:
        raise ConfigError(
            f"{name}: cannot read the networks: {error.strerror}", "nothing was changed"
        ) from None
    if b"\0" in held:
        raise ConfigError(
            f"{name}: is not text in UTF-8, so names no networks",
            "save it as UTF-8; nothing was changed",
        )
    lines = held.decode("utf-8-sig", errors="backslashreplace").split("\n")
    found = [
        Given(text, name, number)
        for number, line in enumerate(lines, 1)
        if (text := line.partition("#")[0].strip())
    ]
    if not found:
        raise ConfigError(
            f"{name}: holds no networks", "write one a line: 192.0.2.1, 192.0.2.0/24, 2001:db8::/32"
        )
    return found


def _piped() -> bytes:
    """Return all of standard input, which a person may also type. Raise OSError."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    held = sys.stdin.buffer.read(_MOST + 1) or b""
    if len(held) > _MOST:
        raise OSError(errno.EFBIG, f"it holds more than {_MOST >> 20} MiB")
    return held
