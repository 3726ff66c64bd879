"""A blocklist in a file, for nginx, HAProxy, pf and others to include. It needs no privilege."""

from pathlib import Path
from typing import Final

from attrs import field, frozen

from reconciler import (
    BackendFailed,
    BackendPlugin,
    BackendUnreadable,
    Damage,
    InvalidNetwork,
    Network,
    Observed,
    Plan,
    TreasonError,
    execute,
    files,
    hookimpl,
)

_TELLING: Final = 3
"""Bad lines told one by one; the repair is the same for more."""


def _absolute(text: str) -> str:
    if "\0" in text or not text:
        raise ValueError(f"{text!r} is no path")
    return text


@frozen
class Settings:
    """``[backend.file]``: the list's path, and what to run after it has changed."""

    path: str = field(converter=_absolute)
    command: tuple[str, ...] = ()


class File:
    """One canonical network in a line, in address order, and nothing else.

    A list cannot pass anybody ahead of it: the whitelist is cut out of its networks.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = Path(settings.path)
        self._command = settings.command

    def observe(self) -> Observed:
        """Read the list; a missing one, or one with other lines or another order, is damaged."""
        text = self._read()
        if text is None:
            return Observed(passed=None, damage=(Damage(str(self._path), "is missing"),))
        networks: list[Network] = []
        bad: list[str] = []
        for number, line in enumerate(text.split("\n")[:-1], 1):
            try:
                networks.append(Network.parse(line))
            except InvalidNetwork:
                bad.append(f"line {number} is no network: {line[:40]!r}")
        if len(bad) > _TELLING:
            bad[_TELLING:] = [f"and {len(bad) - _TELLING} more"]
        held = frozenset(networks)
        if not bad and text != _text(held):
            bad.append("is not in canonical form")
        return Observed(held, None, tuple(Damage(str(self._path), what) for what in bad))

    def render(self, plan: Plan) -> str:
        """Give the whole new content."""
        return _text(plan.desired.banned)

    def apply(self, plan: Plan) -> None:
        """Replace the file at once, and run the command.

        If the command fails, the old content is put back: so the next pass tries again.
        """
        old = self._read()
        self._write(self.render(plan))
        if not self._command:
            return
        try:
            execute.run(self._command)
        except TreasonError as error:
            if old is None:
                self.teardown()
            else:
                self._write(old)
            raise BackendFailed(
                f"{self._path}: put back as it was, because the command failed: {error.what}",
                "mend the command in [backend.file]",
            ) from None

    def teardown(self) -> None:
        """Remove the file."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise BackendFailed(f"{self._path}: cannot remove it: {error.strerror}") from None

    def _read(self) -> str | None:
        try:
            return self._path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendUnreadable(f"{self._path}: cannot read it: {error.strerror}") from None

    def _write(self, text: str) -> None:
        try:
            files.replace(self._path, text, mode=0o644)
        except OSError as error:
            raise BackendFailed(
                f"{self._path}: cannot write it: {error.strerror}",
                "make its directory, and allow writing there",
            ) from None


def _text(networks: frozenset[Network]) -> str:
    return "".join(f"{network}\n" for network in sorted(networks))


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Give the backend ``file``."""
    return [BackendPlugin("file", File, Settings, argument="path")]
