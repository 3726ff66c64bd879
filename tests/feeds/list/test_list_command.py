"""What ``treason feed run`` makes of a list from a server: how it ends, and what it prints."""

import gzip

import pytest
from harness import Place
from listservers import LIST, Site, redirect, reply

URL = "https://127.0.0.1/list"
TAKEN = "drop: 2 networks, 2 added\n"
LARGE = "\n  if a list may be so large, raise max_mib"
UTF8 = "\n  save it as text in UTF-8, not packed"
INNER = '\n  if that is meant, set allow_addresses = ["127.0.0.2"]'


@pytest.fixture
def drop(place: Place, site: Site) -> Place:
    """A configuration with a list at a server of the test."""
    site.fed()  # writes whom to trust
    place.configure(
        f'[feed.drop]\ntype = "list"\nurl = "{URL}"\nstore = "{place.path}/feed/feed.db"\n'
        f'allow_addresses = ["127.0.0.1"]\nca_file = "{site.path}/ca.pem"\nmax_mib = 1'
    )
    (place.path / "feed").mkdir()
    return place


CHANGED = """\
drop: 4 networks, 1 added
  cut: 1 network, private or reserved
  note: line 4: 'nobody' is not an IP address or network
"""


def test_a_list_is_read_until_it_changes(drop: Place, site: Site) -> None:
    """What was added, nothing, what is new, and what was removed."""
    more = gzip.compress(LIST + b"203.0.113.9 # scans\nnobody\n10.0.0.0/8\n")
    turns = [reply(ETag='"1"'), reply(b"", "304 Not Modified"), reply(more, ETag='"2"'), reply()]
    site.serve(*turns, context=site.certified("127.0.0.1"))
    ends = [drop.treason("feed", "run", "drop") for _ in turns]
    assert [(each.code, each.err) for each in ends] == [(0, "")] * 4
    assert [each.out for each in ends] == [
        TAKEN, "drop: 2 networks, unchanged\n", CHANGED, "drop: 2 networks, 1 removed\n"
    ]  # fmt: skip


PAGE = """\
1 of 1 lines mean nothing; line 1: '<html>' is not an IP address or network
  it may be a web page: open the address in a browser"""

CUT = (
    "peer closed connection without sending complete message body (received 26 bytes, expected 99)"
)
LOCAL = "redirected: 'file:///etc/passwd' is refused: only https:// shows who sends the list"


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([reply(status="404 Not Found")], "the server answers 404 (Not Found)"),
        ([reply(b"")], "names no networks"),
        ([reply(length=99)], f"the server breaks HTTP: {CUT}"),
        ([reply(b"<html>\n")], PAGE),
        ([reply(length=10 << 30)], f"holds more than 1 MiB{LARGE}"),
        ([reply(gzip.compress(bytes(2 << 20)))], f"holds more than 1 MiB{LARGE}"),
        ([reply("192.0.2.1\n".encode("utf-16"))], f"is text in UTF-16{UTF8}"),
        ([redirect("/list")] * 6, "more than 5 redirects"),
        ([redirect("file:///etc/passwd")], LOCAL),
        (
            [redirect("https://127.0.0.2/")],
            f"redirected to https://127.0.0.2/: 127.0.0.2 is not a public address{INNER}",
        ),
        ([reply(b"", "304 Not Modified")], "the server answers 304 (Not Modified)"),
    ],
    ids=["gone", "empty", "truncated", "page", "10 GB", "bomb", "UTF-16", "endless", "file",
         "inner", "304"],
)  # fmt: skip
def test_a_list_that_is_not_believed_changes_nothing(
    drop: Place, site: Site, answers: list[bytes], told: str
) -> None:
    """It ends with 1 and says why; what the list said before is what it says still."""
    site.serve(reply(), *answers, reply(), context=site.certified("127.0.0.1"))
    assert drop.treason("feed", "run", "drop").out == TAKEN
    result = drop.treason("feed", "run", "drop")
    assert (result.code, result.out) == (1, "")
    assert result.err == f"treason: feed drop: {URL}: {told}\n"
    assert drop.treason("feed", "run", "drop").out == "drop: 2 networks, unchanged\n"
