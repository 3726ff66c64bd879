"""The contract of backends, on a real HAProxy."""

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from server import Relay, Server
from treason_haproxy import Haproxy, Settings

from reconciler.testing import BackendContract


def _silent(
    verb: bytes, contract: "TestHaproxy", *, deaf: bool = True
) -> AbstractContextManager[None]:
    return contract.silent(verb, deaf=deaf)


class TestHaproxy(BackendContract):
    """What every backend promises."""

    server: Server
    relay: Relay

    @pytest.fixture
    def backend(self, server: Server, directory: Path) -> Iterator[Haproxy]:
        """The backend, and between it and HAProxy a relay that can fail."""
        self.server = server
        self.relay = Relay(directory / "relay", server)
        yield Haproxy(Settings(str(server.acl), str(directory / "relay")))
        self.relay.close()

    def owned(self) -> object:
        """The file, and the ACL without the places of its entries in memory."""
        entries = self.server.ask(f"show acl {self.server.acl}").split()[1::2]
        return self.server.acl.read_bytes(), entries

    def foreign(self) -> Callable[[], object]:
        """An ACL and a map of somebody else's, to the place of each entry in memory."""
        acl, map_ = self.server.theirs
        commands = (f"show acl {acl}", f"show map {map_}")
        return lambda: (
            [self.server.ask(command) for command in commands],
            [path.read_bytes() for path in self.server.theirs],
        )

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """HAProxy says nothing of its ACL."""
        with self.silent(b"show"):
            yield

    @contextmanager
    def silent(self, verb: bytes, *, deaf: bool = True) -> Iterator[None]:
        """Commands of this kind get no answer; HAProxy does not hear them, if it is deaf."""
        healthy = self.relay.fails
        self.relay.fails, self.relay.deaf = lambda line: line.startswith(verb), deaf
        yield
        self.relay.fails = healthy

    @contextmanager
    def full(self, size: int = 1 << 16) -> Iterator[None]:
        """Let no file become larger."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def ask(self, command: str, *arguments: str) -> None:
        """Let somebody else change the ACL in memory."""
        said = self.server.ask(" ".join([command, str(self.server.acl), *arguments]))
        assert not said.strip(), said

    def edit(self, change: Callable[[str], str]) -> None:
        """Let somebody else change the file."""
        self.server.acl.write_text(change(self.server.acl.read_text()))

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {
        "memory: one missing": lambda self: self.ask("del acl", "192.0.2.7"),
        "memory: one more": lambda self: self.ask("add acl", "203.0.113.77"),
        "memory: one twice": lambda self: self.ask("add acl", "192.0.2.7"),
        "memory: not canonical": lambda self: self.ask("add acl", "2001:DB8::/32"),
        "memory: host bits": lambda self: self.ask("add acl", "10.1.2.3/8"),
        "memory: an IPv4-mapped one": lambda self: self.ask("add acl", "::ffff:192.0.2.9"),
        "memory: empty": lambda self: self.ask("clear acl"),
        "file: one missing": lambda self: self.edit(lambda text: text.partition("\n")[2]),
        "file: one more": lambda self: self.edit("203.0.113.77\n".__add__),
        "file: wrong order": lambda self: self.edit(
            lambda text: "".join(reversed(text.splitlines(keepends=True)))
        ),
        "file: not canonical": lambda self: self.edit(
            lambda text: text.replace("192.0.2.7\n", "192.0.2.7/32\n")
        ),
        "file: a comment": lambda self: self.edit("# mine\n".__add__),
        "file: what is no network": lambda self: self.edit("localhost\n".__add__),
        "file: empty": lambda self: self.edit(lambda _text: ""),
        "file: missing": lambda self: self.server.acl.unlink(),
    }
    faults: ClassVar[Mapping[str, Callable[[Any], AbstractContextManager[object]]]] = {
        "prepare": partial(_silent, b"prepare"),
        "add": partial(_silent, b"add"),
        "file": lambda self: self.full(1),
        "commit": partial(_silent, b"commit"),
        "answer": partial(_silent, b"commit", deaf=False),
    }
