"""What every feed promises, kept by lists in files and at https addresses."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define
from listservers import Connection, Server, Site, asked, reply

from feeds.list import ListSettings
from feeds.list.feed import List
from reconciler.testing import NotingFeedContract


@define
class Writer:
    """Writes a list, which is read by its path or from a server."""

    path: Path
    make: Callable[[], List]

    def says(self, *networks: str) -> None:
        """Write these."""
        self.path.write_text("".join(f"{network}\n" for network in networks))

    def feed(self) -> List:
        """Make the feed."""
        return self.make()


class ListContract(NotingFeedContract):
    """The cases of both."""

    path: Path

    def odd(self) -> None:
        """Write a line that means nothing."""
        with self.path.open("a") as file:
            file.write("nobody\n")

    @contextmanager
    def replaced(self, content: bytes) -> Iterator[None]:
        """Let something else stand in the file."""
        before = self.path.read_bytes()
        self.path.write_bytes(content)
        yield
        self.path.write_bytes(before)

    faults: ClassVar[Mapping[str, Callable[[Any], AbstractContextManager[object]]]] = {
        "empty": lambda test: test.replaced(b""),
        "page": lambda test: test.replaced(b"<html>\n<p>Moved</p>\n</html>\n"),
        "binary": lambda test: test.replaced(bytes(1 << 20)),
    }


class TestListFile(ListContract):
    """A list in a file."""

    @pytest.fixture
    def speaker(self, tmp_path: Path) -> Writer:
        """Who writes the file."""
        self.path = tmp_path / "list"
        self.path.touch()
        return Writer(self.path, lambda: List(ListSettings(self.path)))


class TestListFetched(ListContract):
    """A list from a server that knows what it sent."""

    @pytest.fixture
    def speaker(self, tmp_path: Path, site: Site) -> Writer:
        """Who writes the file that the server sends."""
        self.path = tmp_path / "list"
        self.path.touch()

        def answer(server: Server, connection: Connection) -> None:
            content = self.path.read_bytes()
            etag = f'"{sha256(content).hexdigest()}"'
            known = asked(server.requests[-1]).get("If-None-Match") == etag
            body, status = (b"", "304 Not Modified") if known else (content, "200 OK")
            connection.sendall(reply(body, status, ETag=etag))

        site.serve(answer)
        return Writer(self.path, site.fed)
