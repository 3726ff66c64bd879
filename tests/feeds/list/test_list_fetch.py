"""A list at an https address: what is asked, and what is believed of the answers."""

import gzip
import json
import socket
import tracemalloc
import zlib

import pytest
from listservers import (
    HOST,
    LIST,
    URL,
    Answer,
    Connection,
    Resolver,
    Server,
    Site,
    asked,
    redirect,
    refusal,
    reply,
    said,
)

from reconciler import Network, Networks, __version__

NETWORKS = {"": Networks.of(map(Network.parse, ("192.0.2.1", "198.51.100.0/24")))}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSED = b"HTTP/1.0 200 OK\r\n\r\n"
LARGE = "  if a list may be so large, raise max_mib"
OFTEN = "  a server may refuse whoever asks too often: raise refresh"
ELSEWHERE = "redirected to https://elsewhere.example/list?...: "
LINES = b"192.0.2.1\n" * 6554
"""Somewhat more than 64 KiB."""


def test_a_list_is_fetched(site: Site) -> None:
    """All that it names, in one request that says who asks and takes nothing packed."""
    server = site.serve(reply())
    assert said(site.fed()) == NETWORKS
    [request] = server.requests
    assert request.startswith("GET /list HTTP/1.1\r\n")
    assert asked(request) == {
        "Host": HOST, "User-Agent": f"treason/{__version__}", "Accept-Encoding": "identity",
    }  # fmt: skip


def test_reasons_and_refused_lines_are_told(site: Site) -> None:
    """A ban for each reason, and each time a note for each line that means nothing."""
    site.serve(reply(LIST + b"1.10.16.0/20 ; SBL256894\n2.56.192.0/22 ; SBL459831\nnonsense\n"))
    feed = site.fed()
    assert said(feed) == NETWORKS | {
        reason: Networks.of([Network.parse(network)])
        for reason, network in (("SBL256894", "1.10.16.0/20"), ("SBL459831", "2.56.192.0/22"))
    }
    [note] = feed.notes()
    assert note.startswith("line 5: 'nonsense' ")
    assert said(feed, feed.cursor()) is None
    assert [*feed.notes()] == [note]  # also where the list is what it was


def test_it_is_read_again_only_if_it_has_changed(site: Site) -> None:
    """The second request names what the first answer had; 304 means nothing new."""
    server = site.serve(
        reply(ETag='"one"', Last_Modified="Sun, 29 Nov 2026 12:00:00 GMT"),
        reply(b"", "304 Not Modified"),
        reply(LIST + b"203.0.113.9\n", ETag='"two"'),
    )
    feed = site.fed()
    said(feed)
    first = feed.cursor()
    assert said(feed, first) is None
    assert feed.cursor() == first
    sent = asked(server.requests[1])
    assert sent["If-None-Match"] == '"one"'
    assert sent["If-Modified-Since"] == "Sun, 29 Nov 2026 12:00:00 GMT"
    changed = said(feed, first)
    assert changed is not None
    assert Network.parse("203.0.113.9") in changed[""]
    assert json.loads(feed.cursor() or "")["etag"] == '"two"'


def test_the_same_list_sent_again_changes_nothing(site: Site) -> None:
    """Its digest is known; what is to be asked next time is new."""
    site.serve(reply(ETag='"one"'), reply(ETag='"two"'))
    feed = site.fed()
    said(feed)
    assert said(feed, feed.cursor()) is None
    assert json.loads(feed.cursor() or "")["etag"] == '"two"'


def test_not_modified_with_another_list_changes_nothing(site: Site) -> None:
    """304 has no content (RFC 9110 §15.4.5): what follows it is not read."""
    site.serve(reply(ETag='"one"'), reply(b"0.0.0.0/0\n", "304 Not Modified"))
    feed = site.fed()
    said(feed)
    first = feed.cursor()
    assert said(feed, first) is None
    assert feed.cursor() == first


@pytest.mark.parametrize(
    "cursor",
    [None, "", "nonsense", "[" * 9999, "[]", '{"etag": 1}', '{"etag": "a\\r\\nb"}', '{"x": "y"}'],
)
def test_not_modified_that_nobody_asked_for_is_refused(site: Site, cursor: str | None) -> None:
    """Also after a cursor that means nothing: without a condition there is no such answer."""
    server = site.serve(reply(b"", "304 Not Modified"))
    assert refusal(site.fed(), cursor) == f"{URL}: the server answers 304 (Not Modified)"
    assert "If-None-Match" not in asked(server.requests[0])


@pytest.mark.parametrize("etag", ["a" * 2000, '"é"'])
def test_what_is_no_validator_is_not_asked_for(site: Site, etag: str) -> None:
    """It is too long, or no ASCII; the list is read all the same."""
    server = site.serve(reply(ETag=etag))
    feed = site.fed()
    assert said(feed) == NETWORKS
    assert said(feed, feed.cursor()) is None
    assert "If-None-Match" not in asked(server.requests[1])


def test_what_one_address_sent_is_not_asked_of_another(site: Site) -> None:
    """Neither of that in a changed configuration, nor of that behind a redirect."""
    server = site.serve(reply(ETag='"one"'), reply(ETag='"two"'), redirect("/else"), reply())
    first = site.fed()
    said(first)
    second = site.fed(f"{URL}/other")
    assert said(second, first.cursor()) is None  # it holds the same
    said(second, second.cursor())
    conditions = [asked(request).get("If-None-Match") for request in server.requests]
    assert conditions == [None, None, '"two"', None]


def test_a_secret_in_the_address_is_kept(site: Site) -> None:
    """It is sent; what is stored and told does not hold it."""
    server = site.serve(reply(ETag='"one"'), reply(b"", "404 Not Found"))
    feed = site.fed(f"{URL}?key=secret")
    said(feed)
    assert server.requests[0].startswith("GET /list?key=secret ")
    assert "secret" not in (feed.cursor() or "")
    assert refusal(feed) == f"{URL}?...: the server answers 404 (Not Found)"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("404 Gone fishing", "the server answers 404 (Not Found)"),
        ("410 Gone", "the server answers 410 (Gone)"),
        ("206 Partial Content", "the server answers 206 (Partial Content)"),
        ("799 Whatever", "the server answers 799 (unknown)"),
        (
            "429 Too Many Requests",
            "the server answers 429 (Too Many Requests)\n" + OFTEN,
        ),
    ],
)
def test_a_list_that_is_gone_is_unreadable(site: Site, status: str, told: str) -> None:
    """Also where the answer has a list as its content; what the server calls it is not told."""
    site.serve(reply(status=status))
    assert refusal(site.fed()) == f"{URL}: {told}"


PAGE = b"<!DOCTYPE html>\n<html><body>\n<p>Down for maintenance</p>\n</body></html>\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "names no"),
        (b"# nothing today\n\n; really\n", "names no"),
        (PAGE, "4 of 4 lines"),
        (b"192.0.2.1\nwhat\nis\n", "2 of 3 lines"),
        ("192.0.2.1\n".encode("utf-16"), "is text in UTF-16"),
        (b"\x7fELF\x00\x01", "is not text"),
    ],
)
def test_what_is_no_list_is_unreadable(site: Site, body: bytes, told: str) -> None:
    """It is empty, or a page, or most of it means nothing."""
    site.serve(reply(body))
    text = refusal(site.fed())
    assert text.startswith(f"{URL}: {told}")
    assert text.endswith("  it may be a web page: open the address in a browser") is (body == PAGE)


def test_latin1_in_comments_does_no_harm(site: Site) -> None:
    """A list is read whose comments are in another encoding."""
    site.serve(reply("# gesperrt für alle\n".encode("latin-1") + LIST))
    assert said(site.fed()) == NETWORKS


def test_half_a_list_is_yielded(site: Site) -> None:
    """Whether so much may be removed is for the pass to say."""
    site.serve(reply(), reply(b"192.0.2.1\n"))
    feed = site.fed()
    said(feed)
    assert said(feed, feed.cursor()) == {"": Networks.of([Network.parse("192.0.2.1")])}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (reply(length=1000), "the server breaks HTTP: peer closed connection without sending"),
        (CHUNKED + b"a\r\n192.0.2.1\n\r\n", "the server breaks HTTP: peer closed connection"),
        (b"", "the server breaks HTTP: Server disconnected without sending a response."),
    ],
    ids=["length", "chunks", "nothing"],
)
def test_a_truncated_list_is_unreadable(site: Site, answer: bytes, told: str) -> None:
    """Whatever its end would have been."""
    site.serve(answer)
    assert refusal(site.fed()).startswith(f"{URL}: {told}")


def test_the_end_of_a_connection_ends_a_list_only_if_it_is_signed(site: Site) -> None:
    """An answer without a length ends with TLS; where that is missing it was cut off."""

    def cut(_server: Server, connection: Connection) -> None:
        connection.sendall(CLOSED + LIST)
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    site.serve(CLOSED + LIST, cut)
    assert said(site.fed()) == NETWORKS
    assert refusal(site.fed()) == f"{URL}: the connection was cut off (reading the list)"


def endless(piece: bytes, head: bytes) -> Answer:
    """Send something again and again, until nobody listens."""

    def send(_server: Server, connection: Connection) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))

    return send


@pytest.mark.parametrize(
    "answer",
    [
        reply(length=10 << 30),
        endless(LINES, CHUNKED),
        endless(b"#" * 65536, CHUNKED),
        reply(gzip.compress(LINES * 100)),
        reply(gzip.compress(bytes(2 << 20)), Content_Encoding="gzip"),
        reply(gzip.compress(b"") * (1 << 16)),
    ],
    ids=["claimed", "sent", "one line", "bomb", "bomb by its coding", "empty members"],
)
def test_no_more_is_read_than_is_allowed(site: Site, answer: Answer) -> None:
    """Ten gigabytes that are claimed or sent, and what gzip makes of little."""
    site.serve(answer)
    assert refusal(site.fed(max_mib=1)) == f"{URL}: holds more than 1 MiB\n{LARGE}"


@pytest.mark.parametrize(
    "answer",
    [
        reply(gzip.compress(LIST)),
        reply(gzip.compress(LIST), Content_Encoding="GZip"),
        reply(gzip.compress(LIST[:7]) + gzip.compress(LIST[7:])),
        CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in gzip.compress(LIST)) + b"0\r\n\r\n",
    ],
    ids=["as it is", "by its coding", "members", "byte by byte"],
)
def test_a_packed_list_is_read(site: Site, answer: bytes) -> None:
    """What begins as gzip does is unpacked, whatever the server says of it."""
    site.serve(answer)
    assert said(site.fed()) == NETWORKS


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (reply(gzip.compress(LIST)[:-4]), "what gzip packed ends too early"),
        (reply(gzip.compress(LIST)[:10] + b"\xff" * 20), "what gzip packed is damaged: Error -3"),
        (reply(zlib.compress(LIST), Content_Encoding="br"), "is packed by 'br'; only gzip is"),
    ],
    ids=["too early", "damaged", "otherwise"],
)
def test_what_cannot_be_unpacked_is_unreadable(site: Site, answer: bytes, told: str) -> None:
    """It is damaged, cut off, or packed in another way."""
    site.serve(answer)
    assert refusal(site.fed()).startswith(f"{URL}: {told}")


def test_what_is_read_is_not_kept(site: Site) -> None:
    """However long a list is, it takes little memory."""
    site.serve(endless(b"#" * 65000 + b"\n", CHUNKED))
    feed = site.fed(max_mib=16)
    tracemalloc.start()
    try:
        assert refusal(feed) == f"{URL}: holds more than 16 MiB\n{LARGE}"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_redirects_are_followed(site: Site) -> None:
    """Five of them, also to another host, whose certificate is for its own name."""
    turns = [redirect(f"/{turn}") for turn in range(4)]
    server = site.serve(*turns, redirect("https://lists.example/end?of=it"), reply())
    assert said(site.fed()) == NETWORKS
    paths = [request.split()[1] for request in server.requests]
    assert paths == ["/list", "/0", "/1", "/2", "/3", "/end?of=it"]


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/list", "more than 5 redirects"),
        ("http://lists.example/list", "redirected: 'http://lists.example/list' is refused"),
        ("file:///etc/passwd", "redirected: 'file:///etc/passwd' is refused"),
        ("//[::1", "redirected: "),
        ("https://x\x7f/", "redirected: 'https://x\\x7f/' is not a valid address"),
        ("https://a:b@lists.example/", "redirected: passwords are not sent"),
        (
            "https://127.0.0.2/list",
            "redirected to https://127.0.0.2/list: 127.0.0.2 is not a public address",
        ),
        (
            "https://elsewhere.example/list?secret",
            f"{ELSEWHERE}elsewhere.example is at 127.0.0.2, which is not a public address",
        ),
    ],
)
def test_redirects_to_other_places_are_refused(site: Site, location: str, told: str) -> None:
    """Round and round, without TLS, to files, to what is not public; nobody is asked there."""
    site.serve(redirect(location))
    inside = site.serve(reply(), address="127.0.0.2")
    names = {HOST: [["127.0.0.1"]], "elsewhere.example": [["127.0.0.2"]]}
    names["127.0.0.2"] = [["127.0.0.2"]]
    assert refusal(site.fed(resolve=Resolver(names))).startswith(f"{URL}: {told}")
    assert inside.connections == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the server breaks HTTP: illegal status line"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000, "the server breaks HTTP: "),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            "the server breaks HTTP: bad Content-Length",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "the server breaks HTTP: conflicting",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "the server breaks HTTP: "),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 99,
            "the server breaks HTTP: ",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "the server breaks HTTP: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "the server breaks HTTP: bad Content"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "more than 5 redirects"),
    ],
)
def test_what_is_not_http_is_unreadable(site: Site, answer: bytes, told: str) -> None:
    """Another protocol, headers without end, a length that is none, a redirect to nowhere."""
    site.serve(answer)
    assert refusal(site.fed()).startswith(f"{URL}: {told}")
