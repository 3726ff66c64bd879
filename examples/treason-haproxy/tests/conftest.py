"""A HAProxy for each test."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from server import ADDRESS, Server

CLIENTS = ("198.51.100.7", "198.51.100.8")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: that of a socket has at most 107 bytes (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="haproxy-") as name:
        yield Path(name)


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    """A HAProxy that listens on a socket in its directory."""
    made = Server(directory)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def addresses() -> None:
    """Addresses for a server and its clients, in a network namespace that is still unused."""
    said = subprocess.run(
        ["ip", "-oneline", "link", "show", "up"], capture_output=True, check=True, text=True
    )
    if said.stdout:
        pytest.skip("run it in a network namespace: unshare --user --map-root-user --net pytest")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (ADDRESS, *CLIENTS):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


@pytest.fixture
def www(addresses: None, directory: Path) -> Iterator[Server]:
    """A HAProxy that listens on the network."""
    made = Server(directory, f"{ADDRESS}:8080")
    made.start()
    yield made
    made.stop()
