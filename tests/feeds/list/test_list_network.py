"""The way to a list: names that lie, certificates that are wrong, servers that hang."""

import datetime as dt
import socket
import ssl
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import trustme
from listservers import (
    HOST,
    PATIENCE,
    URL,
    Answer,
    Connection,
    Resolver,
    Server,
    Site,
    redirect,
    refusal,
    reply,
    said,
)
from pytest_mock import MockerFixture

from feeds import list as list_package
from feeds.list import connecting
from reconciler.execute import run

NO_CERTIFICATE = "  an authority of your own goes into ca_file; the system's are in ca-certificates"
LATER = "  if it may take so long, raise timeout"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1", "fe80::1%lo",
     "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
)  # fmt: skip
def test_a_name_that_stands_for_an_inner_address_is_refused(site: Site, address: str) -> None:
    """Nobody is asked there; the configuration may allow it."""
    inside = site.serve(reply())
    [found] = {each[4][0] for each in socket.getaddrinfo(address, 443)}
    feed = site.fed(resolve=Resolver({HOST: [[address]]}), allow_addresses=[])
    assert refusal(feed) == (
        f"{URL}: {HOST} is at {found}, which is not a public address\n"
        f'  if that is meant, set allow_addresses = ["{found}"]'
    )
    assert inside.connections == 0


def test_a_name_that_changes_gains_nothing(site: Site) -> None:
    """What was checked is what is connected to; for another request it is checked again."""
    run(["ip", "address", "add", "9.9.9.9/32", "dev", "lo"])
    outside = site.serve(reply(), redirect(URL), address="9.9.9.9")
    inside = site.serve(reply())
    rebound = Resolver({HOST: [["9.9.9.9"], ["127.0.0.1"]]})
    feed = site.fed(resolve=rebound, allow_addresses=[])
    assert said(feed) is not None
    assert rebound.asked == [HOST]
    told = f"{HOST} is at 127.0.0.1, which is not a public address"
    assert refusal(feed).startswith(f"{URL}: {told}")
    rebound.names = {HOST: [["9.9.9.9"]] * 3 + [["127.0.0.1"]]}
    assert refusal(feed).startswith(f"{URL}: {told}")  # behind the redirect
    assert (outside.connections, inside.connections) == (2, 0)


def test_of_several_addresses_only_public_ones_are_tried(site: Site) -> None:
    """In their order; the next where one does not answer."""
    run(["ip", "address", "add", "9.9.9.9/32", "dev", "lo"])
    outside = site.serve(reply(), address="9.9.9.9")
    inside = site.serve(reply())
    names = Resolver({HOST: [["127.0.0.1", "8.8.8.8", "9.9.9.9"]]})
    assert said(site.fed(resolve=names, allow_addresses=[])) is not None
    assert (outside.connections, inside.connections) == (1, 0)


def test_an_address_of_ipv6_is_asked(site: Site) -> None:
    """Its certificate is for the address, and it is named in brackets."""
    server = site.serve(reply(), address="::1", context=site.certified("::1"))
    url = "https://[::1]/list"
    feed = site.fed(url, resolve=Resolver({"::1": [["::1"]]}), allow_addresses=["::1"])
    assert said(feed) is not None
    assert "\r\nHost: [::1]\r\n" in server.requests[0]


def test_what_does_not_listen_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that a proxy of the environment is not used."""
    told = f"{URL}: no connection to 127.0.0.1 port 443: Connection refused"
    assert refusal(site.fed()) == told
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert refusal(site.fed()) == (
        f"{told}\n  HTTPS_PROXY is not used: nobody could check what it connects to"
    )
    assert refusal(site.fed("https://nowhere.example/")) == (
        "https://nowhere.example/: nowhere.example cannot be resolved: Name or service not known\n"
        "  HTTPS_PROXY is not used: nobody could check what it connects to"
    )


AGO = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        ((HOST,), {"signed_by": trustme.CA()}, "unable to get local issuer certificate"),
        (
            ("elsewhere.example",),
            {},
            f"Hostname mismatch, certificate is not valid for '{HOST}'",
        ),
        ((HOST,), {"not_after": AGO}, "certificate has expired"),
        ((HOST,), {"not_before": AGO + dt.timedelta(days=9)}, "certificate is not yet valid"),
    ],
    ids=["authority", "name", "expired", "future"],
)
def test_a_wrong_certificate_is_refused(
    site: Site, names: tuple[str, ...],
    options: dict[str, Any], told: str,
) -> None:  # fmt: skip
    """Nothing is asked of such a server."""
    server = site.serve(reply(), context=site.certified(*names, **options))
    assert refusal(site.fed()) == (
        f"{URL}: the server's certificate is refused: {told}\n{NO_CERTIFICATE}"
    )
    assert server.requests == []


def test_a_self_signed_certificate_is_refused(site: Site, tmp_path: Path) -> None:
    """Nobody vouches for it but itself."""
    itself = trustme.CA()
    both = tmp_path / "both.pem"
    both.write_bytes(itself.private_key_pem.bytes() + itself.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    site.serve(reply(), context=context)
    told = "the server's certificate is refused: self-signed certificate"
    assert refusal(site.fed()) == f"{URL}: {told}\n{NO_CERTIFICATE}"


def test_old_tls_is_refused(site: Site) -> None:
    """TLS 1.0 and 1.1 are not spoken, whatever the server offers."""
    context = site.certified()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    site.serve(reply(), context=context)
    assert refusal(site.fed()) == f"{URL}: TLS 1.2 or newer failed: TLSV1_ALERT_PROTOCOL_VERSION"


def test_a_server_without_tls_is_refused(site: Site) -> None:
    """It answers at once, by plain HTTP."""
    site.serve(reply(), tls=False)
    assert refusal(site.fed()).startswith(f"{URL}: TLS 1.2 or newer failed: ")


def hang(server: Server, _connection: Connection) -> None:
    """Send nothing more."""
    server.ended.wait(PATIENCE)


def hang_behind(head: bytes) -> Answer:
    """Send this, and nothing more."""

    def answer(server: Server, connection: Connection) -> None:
        connection.sendall(head)
        hang(server, connection)

    return answer


def drip(head: bytes, drop: bytes) -> Answer:
    """Send this, and then little, again and again."""

    def answer(server: Server, connection: Connection) -> None:
        connection.sendall(head)
        while not server.ended.wait(0.02):
            connection.sendall(drop)

    return answer


@pytest.mark.parametrize(
    ("answer", "tls", "doing"),
    [
        (hang, False, "TLS handshake"),
        (drip(b"\x16\x03\x03\x40\x00", b"\x00"), False, "TLS handshake"),
        (hang, True, "waiting for the answer"),
        (drip(b"HTTP/1.1 200 OK\r\nA: ", b"a"), True, "waiting for the answer"),
        (drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), True, "waiting for the answer"),
        (hang_behind(reply(length=1000)), True, "reading the list"),
        (drip(reply(length=1000), b"1"), True, "reading the list"),
    ],
    ids=["TLS", "TLS drips", "headers", "headers drip", "soon", "body",
         "body drips"],
)  # fmt: skip
def test_a_server_that_hangs_is_left(site: Site, answer: Answer, tls: bool, doing: str) -> None:
    """All together takes no longer than it may, wherever it hangs, and however little it sends."""
    site.serve(answer, tls=tls)
    assert refusal(site.fed(timeout=2)) == f"{URL}: not done within 2 s ({doing})\n{LATER}"


@contextmanager
def deaf(address: str) -> Iterator[None]:
    """Let the queue of an address be full, so that what connects is not heard."""
    with ExitStack() as stack:
        stack.enter_context(socket.create_server((address, 443), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, 443))
        yield


def test_an_address_that_does_not_answer_is_left(site: Site) -> None:
    """It may use up all the time, where there is no other."""
    with deaf("127.0.0.1"):
        assert refusal(site.fed(timeout=2)) == f"{URL}: not done within 2 s (connecting)\n{LATER}"


def test_another_address_is_tried_in_time(site: Site, mocker: MockerFixture) -> None:
    """One that does not answer leaves enough of it."""
    mocker.patch.object(connecting, "_ATTEMPT", 0.5)
    site.serve(reply())
    names = Resolver({HOST: [["127.0.0.2", "127.0.0.1"], ["127.0.0.2"]]})
    feed = site.fed(resolve=names, allow_addresses=["127.0.0.0/8"])
    with deaf("127.0.0.2"):
        assert said(feed) is not None
        assert refusal(feed) == f"{URL}: no connection to 127.0.0.2 port 443: no answer"


def test_a_resolver_that_hangs_is_left(site: Site) -> None:
    """Though nothing can end it."""
    ended = Event()

    def resolve(_host: str, _port: int, **_options: Any) -> list[tuple[Any, ...]]:
        ended.wait(PATIENCE)
        return []

    assert refusal(site.fed(timeout=2, resolve=resolve)) == (
        f"{URL}: not done within 2 s (resolving its name)\n{LATER}"
    )
    ended.set()


def test_a_missing_library_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to install it."""
    for name in [each for each in sys.modules if each.split(".")[0] == "httpcore"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("feeds.list.fetch", "feeds.list.connecting"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr(list_package, "fetch", raising=False)
    assert refusal(site.fed()) == (
        f"{URL}: https needs a library: import of httpcore halted; None in sys.modules\n"
        "  pip install 'treason[feeds]', or python3-httpcore"
    )


def test_authorities_that_cannot_be_read_are_told(site: Site, tmp_path: Path) -> None:
    """Nothing is trusted in their place."""
    missing, damaged = tmp_path / "missing.pem", tmp_path / "damaged.pem"
    damaged.write_text("nothing")
    told = f"{URL}: ca_file {missing} cannot be read: No such file or directory"
    assert refusal(site.fed(ca_file=missing)) == told
    told = f"{URL}: ca_file {damaged} cannot be read: "
    assert refusal(site.fed(ca_file=damaged)).startswith(told)
