"""What a client meets, and what an administrator is told."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CLIENTS
from server import ADDRESS, Server
from treason_haproxy import Haproxy, Settings

from reconciler import BackendFailed, BackendUnreadable, Change, Desired, Network, Plan

BIN = Path(sys.executable).parent


def served(client: str) -> bool:
    """Ask for a page from an address of the client's."""
    try:
        with socket.create_connection((ADDRESS, 8080), 5, (client, 0)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except (ConnectionResetError, BrokenPipeError):
        return False


def test_clients(www: Server, directory: Path) -> None:
    """A client is refused from the reconciliation of its ban on, until that of its end."""
    banned, other = CLIENTS
    config = directory / "treason.toml"
    config.write_text(
        f'[treason]\ndatabase = "{directory}/treason.db"\nlock = "{directory}/lock"\n'
        "sources = []\n"
        f'[backend.haproxy]\npath = "{www.acl}"\nsocket = "{www.stats}"\n'
        "[protect]\nown_addresses = false\n"  # all clients of this test are the machine itself
    )

    def treason(*arguments: str) -> None:
        subprocess.run([BIN / "treason", "--config", config, *arguments], check=True)

    treason("ban", banned)
    assert served(banned)
    treason("reconcile", "--backend", "haproxy")
    assert (served(banned), served(other)) == (False, True)
    www.start()
    assert (served(banned), served(other)) == (False, True), "after a reload"
    www.stop()
    www.start()
    assert (served(banned), served(other)) == (False, True), "after a restart"
    treason("reconcile", "--backend", "haproxy", "--check")
    treason("unban", banned)
    treason("reconcile", "--backend", "haproxy")
    assert (served(banned), served(other)) == (True, True)
    treason("ban", "0.0.0.0/0", "--force")
    treason("reconcile", "--backend", "haproxy")
    assert not served(other)
    treason("teardown", "--backend", "haproxy")
    assert served(other)


def test_no_haproxy(server: Server) -> None:
    """A HAProxy that has stopped can be neither read nor emptied; the error says what to do."""
    backend = Haproxy(Settings(str(server.acl), str(server.stats)))
    server.stop()
    with pytest.raises(BackendUnreadable, match="start HAProxy"):
        backend.observe()
    with pytest.raises(BackendFailed, match="does not answer"):
        backend.teardown()


def test_no_such_acl(server: Server, directory: Path) -> None:
    """A HAProxy that does not use the file cannot be read; the error says what to do."""
    backend = Haproxy(Settings(f"{directory}/other.acl", str(server.stats)))
    with pytest.raises(BackendUnreadable, match=r"Unknown ACL.*\n.*acl banned src -f"):
        backend.observe()


def test_a_list_that_a_person_wrote(server: Server) -> None:
    """What HAProxy read from a list that a person wrote is held, and its spelling is damage."""
    server.acl.write_text("10.0.0.0/8\n192.0.2.7/32\n\n# theirs\n2001:DB8::/32\n")
    server.start()
    observed = Haproxy(Settings(str(server.acl), str(server.stats))).observe()
    assert observed.banned == {
        Network.parse(text) for text in ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
    }
    assert len(observed.damage) == 2


@pytest.mark.parametrize("path", ["banned.acl", "/a b", "/a;clear", "/a\n", "/", "", 7])
def test_paths(path: object) -> None:
    """A path that HAProxy's commands could take for something else is refused."""
    with pytest.raises(ValueError, match="not an absolute path"):
        Settings(path=path)


def test_a_change_that_fails_leaves_nothing(server: Server) -> None:
    """A list that was sent, but whose file cannot be written, does not stay in memory either."""
    backend = Haproxy(Settings(str(server.acl), str(server.stats)))
    server.acl.unlink()
    server.acl.mkdir()
    networks = [Network.parse("192.0.2.7")]
    with pytest.raises(BackendFailed, match="cannot write"):
        backend.apply(Plan(Change(networks), Change(), (), Desired(frozenset(networks))))
    assert not server.ask(f"show acl @1 {server.acl}").strip()
    assert not server.ask(f"show acl {server.acl}").strip()
