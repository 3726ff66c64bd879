"""Connecting to the fleet: who the server is, and every way in which that fails, in two lines."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Final

import postgres
import pytest
from attrs import evolve
from fleets import Fleet
from postgres import Postgres

from feeds.postgresql import PostgresqlSettings, connecting, dsn, reading, treason_feeds
from feeds.postgresql.feed import Postgresql
from reconciler import FeedUnreadable
from reconciler.execute import run
from reconciler.host.netns import Namespace

pytestmark = postgres.needed
PORT: Final = 5433
PATIENCE: Final = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that wants TLS, on loopback of a namespace of its own."""
    namespace = Namespace()
    with namespace.entered():
        run(["ip", "link", "set", "lo", "up"])
        with postgres.running(tls=True, port=PORT) as made:
            yield made
    namespace.close()


@pytest.fixture
def fleet(server: Postgres, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on it."""
    made = Fleet(server, tmp_path)
    assert server.authority is not None
    server.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    yield made
    made.close()


def by_name(fleet: Fleet, **words: str) -> PostgresqlSettings:
    """Return how a member connects to the server's name, with the authority that signed it."""
    given = {"host": "db.example", "hostaddr": "127.0.0.1"} | words
    return evolve(fleet.settings(**given), ca_file=fleet.directory / "ca.pem")


def read(settings: PostgresqlSettings) -> list[object]:
    """Read all there is."""
    feed = Postgresql(settings)
    try:
        return [*feed.changes(None)]
    finally:
        feed.close()


def restart(server: Postgres) -> None:
    """Let the server read its certificate again."""
    server.stop()
    server.start()


def refused(settings: PostgresqlSettings) -> FeedUnreadable:
    """Return why nothing can be read: two lines for people, without the password."""
    with pytest.raises(FeedUnreadable) as caught:
        read(settings)
    error = caught.value
    assert str(error).count("\n") == 1
    assert error.what.isprintable()
    assert error.hint
    assert "of the tests" not in str(error)
    return error


def test_verified(fleet: Fleet) -> None:
    """By name and authority; the connection is encrypted."""
    feed = Postgresql(by_name(fleet))
    [*feed.changes(None)]
    [row] = fleet.owner.execute(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'ours'"
    ).fetchall()
    feed.close()
    assert row == (True,)


def test_another_authority(fleet: Fleet) -> None:
    """Without ca_file the system's authorities count, and they did not sign this."""
    error = refused(evolve(by_name(fleet), ca_file=None))
    assert "certificate verify failed" in error.what
    assert "ca_file" in error.hint


def test_another_name(fleet: Fleet) -> None:
    """Who holds another certificate of the same authority is not the server."""
    error = refused(by_name(fleet, host="other.example"))
    assert "does not match host name" in error.what
    assert "name the host in dsn" in error.hint


def test_expired(fleet: Fleet, server: Postgres) -> None:
    """A certificate that has expired is none; once another one is there, all is well again."""
    assert server.authority is not None
    paths = [server.data / name for name in ("server.key", "server.crt")]
    before = [path.read_bytes() for path in paths]
    expired = server.authority.issue_cert("db.example", not_after=datetime.now(UTC))
    try:
        paths[0].write_bytes(expired.private_key_pem.bytes())
        paths[1].write_bytes(expired.cert_chain_pems[0].bytes())
        restart(server)
        error = refused(by_name(fleet))
    finally:
        for path, content in zip(paths, before, strict=True):
            path.write_bytes(content)
        restart(server)
    assert "certificate verify failed" in error.what
    assert "expired" in error.hint
    assert read(by_name(fleet))


def test_the_environment_changes_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table alone says how to connect; what libpq would add to it is hidden for that time."""
    settings = by_name(fleet), fleet.settings(host=str(fleet.server.directory))
    with monkeypatch.context() as environment:
        for name, value in (
            ("PGHOSTADDR", "192.0.2.1"),
            ("PGPORT", "1"),
            ("PGSSLMODE", "disable"),
            ("PGSERVICE", "none"),
            ("PGOPTIONS", "-c statement_timeout=1"),
            ("PGREQUIREAUTH", "none"),
            ("PGSSLMAXPROTOCOLVERSION", "TLSv1"),
        ):
            environment.setenv(name, value)
        assert all(map(read, settings))
        assert os.environ["PGSERVICE"] == "none"


def test_no_such_file(fleet: Fleet) -> None:
    """A file of authorities that is not there lets nobody in."""
    error = refused(evolve(by_name(fleet), ca_file=fleet.directory / "none.pem"))
    assert "none.pem" in error.what


def test_wrong_password(fleet: Fleet) -> None:
    """It says where the right one comes from."""
    (fleet.directory / "password").write_text("wrong\n")
    error = refused(by_name(fleet))
    assert "password authentication failed" in error.what
    assert "password_file" in error.hint


@pytest.mark.parametrize("text", [b"a\nb\n", b"a\0b\n", b"\x7fELF"])
def test_no_password_in_the_file(fleet: Fleet, text: bytes) -> None:
    """Something else was written there."""
    (fleet.directory / "password").write_bytes(text)
    error = refused(by_name(fleet))
    assert "this holds no password" in error.what
    assert "add-member" in error.hint


def test_no_password(fleet: Fleet) -> None:
    """As does one that is not there."""
    error = refused(evolve(by_name(fleet), password_file=None))
    assert "no password supplied" in error.what
    assert "password_file" in error.hint


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ({"dbname": "none"}, 'database "none" does not exist', "treason fleet init"),
        ({"hostaddr": "127.0.0.2"}, "Connection refused", "tried again"),
        ({"port": "1"}, "Connection refused", "tried again"),
        ({"dbname": "postgres"}, "there is no fleet in it", "treason fleet init"),
    ],
)
def test_wrong_place(fleet: Fleet, words: dict[str, str], what: str, hint: str) -> None:
    """Where there is no server, no database, or one that is no fleet."""
    error = refused(by_name(fleet, **words))
    assert what in error.what
    assert hint in error.hint


def test_unknown_name(fleet: Fleet) -> None:
    """A name that stands for no address is said to be that."""
    settings = fleet.settings(host="db.invalid")
    error = refused(settings)
    assert "db.invalid" in error.what
    assert "DNS" in error.hint


@contextmanager
def plain_server() -> Iterator[int]:
    """A server that has no TLS: it answers N (PostgreSQL's documentation, §55.2.10)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    with listening.accept()[0] as connection:
                        connection.recv(8)
                        connection.sendall(b"N")

        thread = Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_no_tls(fleet: Fleet) -> None:
    """A server without TLS is told nothing, least of all a password."""
    with plain_server() as port:
        error = refused(by_name(fleet, port=str(port)))
    assert "does not support SSL" in error.what
    assert "ssl = on" in error.hint


def test_another_host(fleet: Fleet) -> None:
    """Of several hosts, the first that lets us in."""
    assert read(by_name(fleet, host="db.example,db.example", hostaddr="127.0.0.2,127.0.0.1"))


def test_frozen(fleet: Fleet, server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers nothing any more is left in time, connected or not."""
    feed = Postgresql(by_name(fleet))
    [*feed.changes(None)]
    monkeypatch.setattr(reading, "SHORT", 1.0)
    monkeypatch.setattr(connecting, "CONNECT", 1.0)
    server.freeze()
    try:
        for reason in ("no answer within 1 s", "no connection within 1 s"):
            start = time.monotonic()
            with pytest.raises(FeedUnreadable, match=reason):
                [*feed.changes(None)]
            assert time.monotonic() - start < PATIENCE
    finally:
        server.thaw()
    monkeypatch.undo()
    assert [*feed.changes(None)]
    feed.close()


def test_without_the_library(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    for name in [name for name in sys.modules if name.startswith("feeds.postgresql.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    [plugin] = treason_feeds()
    with pytest.raises(FeedUnreadable, match="needs a library") as caught:
        plugin.factory(fleet.settings())
    assert "treason[fleet]" in caught.value.hint


def test_without_libpq() -> None:
    """It says what to install where psycopg is there without a libpq, as in Debian's package."""
    script = (
        "import ctypes.util, sys\n"
        "ctypes.util.find_library = lambda name: None\n"
        "sys.modules.update(psycopg_c=None, psycopg_binary=None)\n"
        "from feeds.postgresql import PostgresqlSettings, treason_feeds\n"
        "try:\n"
        "    treason_feeds()[0].factory(PostgresqlSettings('host=/run dbname=fleet user=web1'))\n"
        "except Exception as error:\n"
        "    print(error.what, error.hint, sep='\\n')\n"
    )
    what, hint = run([sys.executable, "-c", script]).output.splitlines()
    assert "needs libpq" in what
    assert hint.startswith("apt-get install libpq5 ")


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("host=db.example", {"sslmode": "verify-full", "host": "db.example"}),
        ("host=/run/postgresql", {"sslmode": "prefer"}),
        ("host=127.0.0.1 sslmode=require", {"sslmode": "require"}),
        ("host=db.example port=5", {"port": "5", "require_auth": "scram-sha-256"}),
    ],
)
def test_what_libpq_is_given(words: str, made: dict[str, str]) -> None:
    """The server is verified unless it is here, and only SCRAM gets anything of the password."""
    settings = PostgresqlSettings(f"{words} dbname=fleet user=web1")
    [given] = connecting.parameters(settings, 160_000, "secret")
    assert made.items() <= given.items()
    assert ("sslrootcert" in given) == (given["sslmode"] == "verify-full")
    assert "require_auth" not in connecting.parameters(settings, 150_000, "secret")[0]


def test_several_hosts() -> None:
    """Each has its own port and address, where it has any."""
    settings = PostgresqlSettings("host=a,b,c port=1,,3 hostaddr=,127.0.0.2, dbname=d user=e")
    places = [
        [each.get(key) for key in ("host", "port", "hostaddr")]
        for each in connecting.parameters(settings, 160_000, "")
    ]
    assert places == [["a", "1", None], ["b", None, "127.0.0.2"], ["c", "3", None]]


def test_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the system's, wherever they are."""
    monkeypatch.setattr(connecting, "_BUNDLES", ("/nonexistent", "/etc/passwd"))
    assert connecting.authorities(150_000) == "/etc/passwd"
    monkeypatch.setattr(connecting, "_BUNDLES", ("/nonexistent",))
    assert connecting.authorities(160_000) == "system"
    assert connecting.authorities(150_000) == "/nonexistent"


def test_conninfo() -> None:
    """Whatever a value holds, it is one value."""
    words = {"password": r"a' host=b\ ", "user": ""}
    assert dsn.parse(connecting.conninfo({"user": words["password"]})) == {
        "user": words["password"]
    }
