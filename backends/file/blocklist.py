"""The blocklist: read, written anew as a whole, and the command that is run after a change."""

import os
import shutil
import stat
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backends.file import Settings
from backends.file.watcher import ListWatcher
from reconciler import (
    BackendError,
    BackendFailed,
    BackendUnreadable,
    Damage,
    InvalidNetwork,
    Network,
    Networks,
    Observed,
    Plan,
    TreasonError,
    execute,
    files,
    lines,
)

if TYPE_CHECKING:
    from reconciler import Finding, Held

_MAPPED: Final = Network.exact("::ffff:0:0/96")
"""IPv6 that stands for IPv4, and is read as what it stands for."""

_MOST: Final = 1 << 28
"""Bytes of a list: more than ten million networks."""


class File:
    """One canonical network in a line, in address order, and nothing else.

    A file of which more lines are something else is no list, and never overwritten. Of what looks
    like one, the digest tells whether it is ours.

    A list cannot pass anybody ahead of it: the whitelist is cut out of its networks.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = settings.path
        self._path = Path(os.path.realpath(settings.path))
        self._command = settings.command
        self._pending = self._path.with_name(f".{self._path.name}.pending")

    def observe(self) -> Observed:
        """Read the list; a missing one, or one with other lines or another order, is damaged."""
        subject = self.subject()
        text = self._read()
        if text is None:
            return Observed(passed=None, damage=[Damage(subject, "is missing"), *self._left()])
        held, bad = _read(text)
        if len(bad) > len(held):
            raise BackendUnreadable(
                f"{subject}: this is not a blocklist: {bad[0]}",
                "set [backend.file] path to another file, or remove this one",
            )
        bad = lines.shortened(bad)
        if not bad and not _is(text, held):
            bad.append("is not in canonical form")
        if self._is_pending():
            bad.append("has changed, and its command has not been run yet")
        return Observed(held, None, [*(Damage(subject, what) for what in bad), *self._left()])

    def watcher(self) -> ListWatcher:
        """Return what waits for changes by others."""
        return ListWatcher(self._given)

    def holds(self, network: Network) -> "Held":
        """Look for a single address, and the networks around it, among the lines as they stand.

        For a network all lines are read.
        """
        from reconciler import Decision, Held  # noqa: PLC0415 - no pass asks so

        if not network.is_host:
            seen = self.observe()
            held, flaws = seen.banned.meeting(network), seen.damage
        else:
            text = self._read()
            held = _around(text or "", network)
            flaws = () if text is not None else (Damage(self.subject(), "is missing"),)
        return Held([Decision(held, True, self.subject())] if held else [], damage=flaws)

    def confirm(self, plan: Plan) -> bool:
        """Whether the list is what the plan demands, to the byte, and its command has been run."""
        text = self._read()
        held = text is not None and _is(text, plan.desired.banned)
        return held and not self._is_pending()

    def render(self, plan: Plan) -> str:
        """Return the whole new content."""
        return "".join(lines.written(plan.desired.banned))

    def subject(self) -> str:
        """Return the path, with links followed."""
        return str(self._path)

    def digest(self) -> str | None:
        """Return that of the list's bytes; None of one that is missing, or has blank lines only."""
        content = self._content()
        return None if content is None or not content.strip() else _new(content).hexdigest()

    def digest_of(self, plan: Plan) -> str:
        """Return that of the whole new content."""
        digest = _new()
        for piece in lines.written(plan.desired.banned):
            digest.update(piece.encode())
        return digest.hexdigest()

    def apply(self, plan: Plan) -> None:
        """Replace the file at once, and run the command.

        A mark beside the list says that the command is to be run. It goes away when that was
        done, so a pass that was interrupted, or whose command failed, is made up for.
        """
        files.sweep(self._pending)
        if self._command and not self._is_pending():
            self._write(self._pending, "")
        self._write(self._path, self.render(plan))
        if not self._command:
            return
        try:
            execute.run(self._command)
        except TreasonError as error:
            raise BackendError(
                f"{self._path}: was replaced, but the command behind it failed: {error.what}",
                "correct the command in [backend.file]; the next pass runs it again",
            ) from None
        self._remove(self._pending)

    def diagnose(self) -> "Iterator[Finding]":
        """Yield that the command to run behind a change is not there."""
        from reconciler import Finding  # noqa: PLC0415 - no pass needs it

        program = self._command[0] if self._command else None
        if program and shutil.which(program, path=execute.search_path()) is None:
            yield Finding(
                f"{program}: [backend.file] command is to run it, and there is no such program",
                "whoever reads the list is not told of its changes",
                f"install it, or correct [backend.file] command; the list is {self._path}",
            )

    def teardown(self) -> None:
        """Remove the file, unless it is somebody else's."""
        self.observe()
        for each in (self._path, self._pending):
            files.sweep(each)
        self._remove(self._pending)
        self._remove(self._path)

    def _left(self) -> list[Damage]:
        found = [*files.left(self._path), *files.left(self._pending)]
        return [Damage(str(path), "was left by an interrupted write") for path in found]

    def _is_pending(self) -> bool:
        """Whether the mark is there: an empty file. Any other one of its name is not ours."""
        try:
            status = self._pending.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise BackendUnreadable(f"{self._pending}: cannot read it: {error.strerror}") from None
        if stat.S_ISREG(status.st_mode) and not status.st_size:
            return True
        raise BackendUnreadable(
            f"{self._pending}: not the empty file that treason makes while a command is due",
            "move it away",
        )

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BackendFailed(
                f"{path}: cannot remove it: {error.strerror}",
                files.remedy(error, "allow writing to its directory"),
            ) from None

    def _read(self) -> str | None:
        content = self._content()
        return None if content is None else content.decode(errors="replace")

    def _content(self) -> bytes | None:
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise BackendUnreadable(
                    f"{self._path}: is not a regular file",
                    "set [backend.file] path to another file",
                )
            return files.content(self._path, _MOST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendUnreadable(f"{self._path}: cannot read it: {error.strerror}") from None

    def _write(self, path: Path, text: str) -> None:
        try:
            files.replace(path, text, mode=0o644)
        except OSError as error:
            raise BackendFailed(
                f"{path}: cannot write it: {error.strerror}",
                files.remedy(error, "create its directory, and allow writing to it"),
            ) from None


def _read(text: str) -> tuple[Networks, list[str]]:
    """Return the networks, and what is wrong with the other lines."""
    held, odd = lines.read(lines.split(text))
    first = bisect_left(held, _MAPPED)
    if not odd and not (first < len(held) and held[first] <= _MAPPED.end):
        return held, []
    networks: list[Network] = []
    bad: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            networks.append(Network.parse(line.strip()))
        except InvalidNetwork:
            bad += [f"line {number} is not a network: {line[:40]!r}"] if line.strip() else []
    return Networks.of(networks), bad


def _around(text: str, address: Network) -> Networks:
    """Return the networks of a list that hold an address, as far as they are canonical."""
    found = [address] if f"\n{address}\n" in f"\n{text}\n" else []
    at = text.find("/")
    while at >= 0:
        end = text.find("\n", at)
        line = text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)]
        with suppress(InvalidNetwork):
            network = Network.exact(line)
            found += [network] if network.meets(address) else []
        at = text.find("/", at + 1)
    return Networks.of(found)


def _new(content: bytes = b"") -> blake2b:
    return blake2b(content, digest_size=16)


def _is(text: str, networks: Networks) -> bool:
    """Whether the text is that of these networks, and nothing else."""
    at = 0
    for piece in lines.written(networks):
        if not text.startswith(piece, at):
            return False
        at += len(piece)
    return at == len(text)
