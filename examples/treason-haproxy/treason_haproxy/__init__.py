"""Bans in a running HAProxy: the ACL in its memory, and the file that it starts from.

The commands are those of HAProxy's Management Guide, section 9.3; versions of an ACL exist from
HAProxy 2.4 on.
"""

import re
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from attrs import field, frozen

from reconciler import (
    BackendError,
    BackendFailed,
    BackendPlugin,
    BackendUnreadable,
    Change,
    Damage,
    Desired,
    InvalidNetwork,
    Needs,
    Network,
    Observed,
    Plan,
    files,
    hookimpl,
)

_PATIENCE: Final = 10.0
"""Seconds without an answer."""

_ROOM: Final = 8192
"""Bytes of commands that are sent at once: half of HAProxy's buffer (tune.bufsize)."""

_LONGEST: Final = 64
"""Bytes of a command, without its path, at most."""

_TELLING: Final = 3
"""Strange entries told one by one; the repair is the same for more."""


def _plain(text: object) -> str:
    if isinstance(text, str) and re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", text):
        return text
    raise ValueError(f"{text!r} is not an absolute path of plain letters, digits and ._+-")


@frozen
class Settings:
    """``[backend.haproxy]``: the ACL's file, as HAProxy's configuration spells it, and the socket.

    HAProxy's commands know an ACL by its path, so one that they would have to quote is refused.
    """

    path: str = field(default="/etc/haproxy/banned.acl", converter=_plain)
    socket: str = field(default="/run/haproxy/admin.sock", converter=_plain)


class Haproxy:
    """One ACL of a running HAProxy, which owns its file; no other ACL or map is touched.

    An ACL cannot pass anybody ahead of it: the whitelist is cut out of its networks.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.path
        self._socket = settings.socket

    def observe(self) -> Observed:
        """Read what HAProxy holds in memory; a file that holds anything else is damaged."""
        patterns = self._patterns()
        held = frozenset(_networks(patterns))
        damage: list[Damage] = []
        if sorted(patterns) != sorted(map(str, held)):
            strange = sorted({*patterns} - {*map(str, held)})[:_TELLING]
            said = f"entries such as {', '.join(strange)}" if strange else "an entry twice"
            damage.append(Damage(f"HAProxy's ACL {self._path}", f"holds {said}"))
        text = self._read()
        if text is None:
            damage.append(Damage(self._path, "is missing, so HAProxy cannot start again"))
        elif text != _text(held):
            damage.append(Damage(self._path, "is not what HAProxy holds in memory"))
        return Observed(held, None, damage)

    def render(self, plan: Plan) -> str:
        """Return the commands; HAProxy tells the VERSION in its answer to the first."""
        adding = self._adding("VERSION", plan)
        return "\n".join([self._command("prepare"), *adding, self._command("commit", "VERSION")])

    def apply(self, plan: Plan) -> None:
        """Send the list as a new version, replace the file, and let the version take effect."""
        version = self._prepare()
        try:
            commands = self._adding(version, plan)
            at_once = max(1, _ROOM // (len(self._path) + _LONGEST))
            for start in range(0, len(commands), at_once):
                self._tell(commands[start : start + at_once])
            self._write(_text(plan.desired.banned))
        except BackendError:
            with suppress(BackendError):
                self._tell([self._command("clear", version)])
            raise
        try:
            self._tell([self._command("commit", version)])
        except BackendFailed as error:
            raise BackendError(
                f"{self._path}: replaced, but perhaps not in HAProxy's memory: {error.what}",
                "the next pass looks, and sends it again",
            ) from None

    def teardown(self) -> None:
        """Empty the ACL and the file, which stays: without it HAProxy does not start."""
        self.apply(Plan(Change(), Change(), (), Desired()))

    def _command(self, verb: str, version: str = "", network: object = "") -> str:
        at = version and f"@{version}"
        return " ".join(filter(None, [verb, "acl", at, self._path, str(network)]))

    def _adding(self, version: str, plan: Plan) -> list[str]:
        return [self._command("add", version, network) for network in sorted(plan.desired.banned)]

    def _patterns(self) -> list[str]:
        try:
            answer = self._ask(self._command("show"))
        except OSError as error:
            raise BackendUnreadable(
                f"{self._socket}: HAProxy does not answer: {_reason(error)}",
                "start HAProxy, or name its stats socket in [backend.haproxy]",
            ) from None
        lines = answer.splitlines()
        if not lines or lines.pop():
            raise BackendUnreadable(
                f"{self._socket}: HAProxy's answer ended too early", "try again"
            )
        entries = [re.fullmatch(r"0x[0-9a-f]+ (.*)", line) for line in lines]
        if None in entries:
            raise BackendUnreadable(
                f"HAProxy does not tell its ACL {self._path}: {' '.join(answer.split())}",
                f"give it one: acl banned src -f {self._path}",
            )
        return [entry[1] for entry in entries if entry]

    def _prepare(self) -> str:
        answer = self._order(self._command("prepare"))
        created = re.fullmatch(r"New version created: ([0-9]+)\s*", answer)
        if not created:
            raise self._refused(answer)
        return created[1]

    def _tell(self, commands: Sequence[str]) -> None:
        """Send commands that answer with an empty line each, if all is well."""
        answer = self._order(*commands)
        if answer != "\n" * len(commands):
            raise self._refused(answer)

    def _order(self, *commands: str) -> str:
        try:
            return self._ask(*commands)
        except OSError as error:
            what = f"{self._socket}: HAProxy does not answer: {_reason(error)}"
            raise BackendFailed(what, "start HAProxy") from None

    def _ask(self, *commands: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(self._socket)
            connection.sendall(f"{';'.join(commands)}\n".encode())
            return b"".join(iter(partial(connection.recv, 1 << 16), b"")).decode(errors="replace")

    def _refused(self, answer: str) -> BackendFailed:
        said = " ".join(answer.split())[:200] or "an answer is missing"
        return BackendFailed(f"HAProxy refused to change its ACL {self._path}: {said}")

    def _read(self) -> str | None:
        try:
            return Path(self._path).read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendUnreadable(f"{self._path}: cannot read it: {_reason(error)}") from None

    def _write(self, text: str) -> None:
        try:
            files.replace(Path(self._path), text, mode=0o644)
        except OSError as error:
            raise BackendFailed(
                f"{self._path}: cannot write it: {_reason(error)}",
                "make its directory, and allow writing there",
            ) from None


def _networks(patterns: Sequence[str]) -> Iterator[Network]:
    for pattern in patterns:
        with suppress(InvalidNetwork):
            yield Network.parse(pattern)


def _text(networks: Collection[Network]) -> str:
    return "".join(f"{network}\n" for network in sorted(networks))


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


@hookimpl
def treason_backends() -> list[BackendPlugin]:
    """Return the backend ``haproxy``."""
    return [
        BackendPlugin(
            "haproxy", Haproxy, Settings,
            claims=lambda settings: [str(Path(settings.path).resolve())],
            needs=lambda settings: Needs(writes=(settings.path,)),
        )
    ]  # fmt: skip
