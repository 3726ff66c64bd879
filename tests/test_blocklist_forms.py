"""Lists of networks, in the forms in which people publish them."""

import random
import tracemalloc
from collections.abc import Iterator

import blocklists
import pytest
from harness import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import InvalidList, Network, Networks, blocklist, lines

DICE = random.Random(1)  # noqa: S311 - inputs, no secrets
DROP = """\
; Spamhaus DROP List 2026/11/29 - (c) 2026 The Spamhaus Project
; Expires: Sun, 29 Nov 2026 18:00:00 GMT
1.10.16.0/20 ; SBL256894
1.19.0.0/16 ; SBL434604
"""
DROP_JSON = """\
{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}
{"cidr":"2001:db8::/32","sblid":"SBL434604","rir":"ripencc"}
{"type":"metadata","timestamp":1795953600,"size":2,"records":2,"copyright":"(c)","terms":"https"}
"""
NETSET = """\
#
# firehol_level1
#
# ipv4 hash:net ipset
0.0.0.0/8
1.10.16.0/20
5.42.92.7
224.0.0.0/3
"""
DSHIELD = """\
# primary URL: https://feeds.dshield.org/block.txt
Start\tEnd\tNetmask\tAttacks\tName\tCountry\temail
198.51.100.0\t198.51.100.255\t24\t3121\tEXAMPLE-NET\tNL\tabuse@example.net
192.0.2.0\t192.0.2.255\t24\t17\t\t\t
"""
SAVED = """\
create bad hash:net family inet hashsize 1024 maxelem 65536 timeout 0 comment
add bad 192.0.2.7 timeout 0 comment "port scan; # twice"
add bad 198.51.100.0/24 timeout 86400
add bad 203.0.113.9
"""
TAKEN = {
    "single addresses": ("192.0.2.7\n2001:db8::7\n", "192.0.2.7 2001:db8::7"),
    "CIDR": ("192.0.2.0/24\n2001:db8::/32\n", "192.0.2.0/24 2001:db8::/32"),
    "an address inside a network": ("192.0.2.9/24\n2001:db8::9/64", "192.0.2.0/24 2001:db8::/64"),
    "a netmask": ("192.0.2.0/255.255.255.0\n", "192.0.2.0/24"),
    "a netmask behind a space": ("192.0.2.0 255.255.255.128\n", "192.0.2.0/25"),
    "a netmask of one": ("192.0.2.7 255.255.255.255\n", "192.0.2.7"),
    "a range": ("192.0.2.3-192.0.2.9\n", "192.0.2.3 192.0.2.4/30 192.0.2.8/31"),
    "a range with spaces": ("192.0.2.0 - 192.0.2.255 # all\n", "192.0.2.0/24"),
    "a range of IPv6": ("2001:db8::-2001:db8::ffff\n", "2001:db8::/112"),
    "everything": ("0.0.0.0-255.255.255.255\n", "0.0.0.0/0"),
    "comments": ("# a\n; b\n  # c\n\n192.0.2.7#d\n192.0.2.8 ; e\n", "192.0.2.7 192.0.2.8"),
    "blanks around": ("\t192.0.2.7  \r\n   192.0.2.8\t\n", "192.0.2.7 192.0.2.8"),
    "no last newline": ("192.0.2.7\n192.0.2.8", "192.0.2.7 192.0.2.8"),
    "CRLF": ("192.0.2.7\r\n192.0.2.0/25\r\n", "192.0.2.0/25 192.0.2.7"),
    "a byte order mark": ("\ufeff192.0.2.7\n", "192.0.2.7"),
    "IPv4 in IPv6": ("::ffff:192.0.2.7\n::ffff:192.0.2.0/120\n", "192.0.2.0/24 192.0.2.7"),
    "repetitions": ("192.0.2.7\n192.0.2.7 # again\n192.0.2.7/32\n", "192.0.2.7"),
    "a count behind a tab": ("192.0.2.7\t10\n192.0.2.8\t9\n", "192.0.2.7 192.0.2.8"),
    "CSV": ('ip,country\n192.0.2.7,NL\n"192.0.2.0/24","x, y"\n', "192.0.2.0/24 192.0.2.7"),
    "Spamhaus' text": (DROP, "1.10.16.0/20 1.19.0.0/16"),
    "Spamhaus' JSON": (DROP_JSON, "1.10.16.0/20 2001:db8::/32"),
    "FireHOL's netset": (NETSET, "0.0.0.0/8 1.10.16.0/20 5.42.92.7 224.0.0.0/3"),
    "DShield's columns": (DSHIELD, "192.0.2.0/24 198.51.100.0/24"),
    "ipset save": (SAVED, "192.0.2.7 198.51.100.0/24 203.0.113.9"),
}
REFUSED = {
    "a name": "evil.example",
    "leading zeros": "192.0.2.07",
    "a leading zero of the length": "192.0.2.0/08",
    "too long a prefix": "192.0.2.0/33",
    "no prefix": "192.0.2.0/",
    "two prefixes": "192.0.2.0/24/24",
    "a hole in the netmask": "192.0.2.0/255.0.255.0",
    "a router's mask": "192.0.2.0 0.0.0.255",
    "a router's mask of one": "192.0.2.7 0.0.0.0",
    "a range that ends before it begins": "192.0.2.9-192.0.2.3",
    "a range of two families": "192.0.2.9-2001:db8::",
    "a range of networks": "192.0.2.0/24-192.0.3.0/24",
    "half a range": "192.0.2.3-",
    "two addresses": "192.0.2.3 192.0.2.9",
    "columns that do not fit": "192.0.2.0\t192.0.2.255\t25\t1",
    "a line of a hosts file": "0.0.0.0 ads.example",
    "a port": "192.0.2.7:80",
    "a zone": "fe80::1%eth0",
    "an exception of ipset": "add bad 192.0.2.7 nomatch",
    "an entry of ipset with a port": "add bad 192.0.2.7,tcp:80",
    "half a line of ipset": "add bad",
    "damaged JSON": '{"cidr":"192.0.2.0/24"',
    "deep JSON": '{"a":' * 800,
    "JSON of something else": '{"asn":64496}',
    "JSON with a number": '{"cidr":3}',
    "HTML": "<!DOCTYPE html>",
    "an old break": "192.0.2.7\r192.0.2.8",
    "digits of another script": "٣.0.0.1",
    "too long": "192.0.2.7," + "x" * 4096,
}


def read(text: str) -> blocklist.Blocklist:
    """Read a list as text."""
    return blocklist.read([text.encode()])


@pytest.mark.parametrize("form", TAKEN)
def test_a_common_form_is_read(form: str) -> None:
    """The networks are those that it means, and nothing is refused."""
    text, networks = TAKEN[form]
    found = read(text)
    assert found.all == Networks.of(map(Network.parse, networks.split()))
    assert (found.refused, found.first, found.doubt) == (0, (), "")


def table() -> Iterator[tuple[str, str]]:
    """Yield the examples of the reference, and what they are."""
    for row in (ROOT / "docs" / "reference" / "blocklists.md").read_text().split("\n"):
        if row.startswith("| ") and "`" in row:
            *_, example, networks, _ = row.split(" |")
            yield example.strip(" `"), networks.strip(" `")


@pytest.mark.parametrize(("example", "networks"), [*table()])
def test_the_reference_says_what_is_read(example: str, networks: str) -> None:
    """Each example of its table is what stands behind it."""
    assert read(example).all == Networks.of(map(Network.parse, networks.split()))


@pytest.mark.parametrize("form", REFUSED)
def test_what_means_nothing_is_refused_by_its_line(form: str) -> None:
    """What stands beside it is taken."""
    found = read(f"# a list\n198.51.100.7\n{REFUSED[form]}\n198.51.100.8 # x\n")
    assert found.all == Networks.of(map(Network.parse, ["198.51.100.7", "198.51.100.8"]))
    assert (found.entries, found.refused, found.doubt) == (2, 1, "")
    [refused] = found.first
    assert refused.line == 3
    assert REFUSED[form][:9].strip() in refused.why
    assert len(str(refused)) < 200


def test_what_stands_behind_a_network_is_its_reason() -> None:
    """Networks with the same reason are together, in the order in which reasons come."""
    found = read("192.0.2.1 ; SBL1\n192.0.2.2\n2001:db8::/32 # SBL2\n192.0.2.0-192.0.2.1 ;SBL1\n")
    assert [*map(str, found.networks)] == ["192.0.2.2"]
    reasons = {why: [*map(str, networks)] for why, networks in found.reasons.items()}
    assert reasons == {"SBL1": ["192.0.2.0/31", "192.0.2.1"], "SBL2": ["2001:db8::/32"]}


@pytest.mark.parametrize(("text", "reason"), [
    ("192.0.2.7 # Größe\n".encode(), "Größe"),
    ("192.0.2.7 # Größe\n".encode("latin-1"), "Größe"),
    (b"192.0.2.7 ## a\t b \x1b[0m\xc2\x9b # c\n", "a b [0m # c"),
    (b"192.0.2.7 # " + b"x" * 200, "x" * 100),
    (b'{"cidr":"192.0.2.7","sblid":"a\\u0000\\ud800b"}', "a b"),
    (b'add bad 192.0.2.7 comment "port scan; # twice"', "port scan; # twice"),
])  # fmt: skip
def test_a_reason_can_be_stored_and_shown(text: bytes, reason: str) -> None:
    """It is short, one line, without what cannot be printed; UTF-8, or else Latin-1."""
    assert [*blocklist.read([text]).reasons] == [reason]


def test_reasons_are_bounded() -> None:
    """Of very many the first are kept; the networks of the others are there without one."""
    found = read("".join(f"10.{n >> 8}.{n & 255}.1 # r{n}\n" for n in range(5000)))
    assert len(found.reasons) == 4096
    assert len(found.networks) == 5000 - 4096
    assert len(found.all) == 5000


def test_refused_lines_are_counted_and_the_first_are_kept() -> None:
    """However many there are."""
    found = read("evil.example\n" * 5000 + "192.0.2.7\n")
    assert (found.entries, found.refused) == (1, 5000)
    assert [each.line for each in found.first] == [*range(1, 101)]


@pytest.mark.parametrize(("text", "doubt"), [
    ("", "names no networks"),
    ("# nothing\n; at all\n\n", "names no networks"),
    ("192.0.2.7\n", ""),
    ("192.0.2.7\nx\n", ""),
    ("192.0.2.7\nx\ny\n", "2 of 3 lines mean nothing; line 2: 'x' is not"),
    ("<html>\n<body>gone</body>\n", "2 of 2 lines mean nothing; line 1: '<html>' is not"),
])  # fmt: skip
def test_a_list_is_doubted_if_it_is_empty_or_mostly_something_else(text: str, doubt: str) -> None:
    """From more than half the lines on; comments are no lines."""
    found = read(text).doubt
    assert found.startswith(doubt)
    assert bool(found) == bool(doubt)


@pytest.mark.parametrize(("data", "what"), [
    ("192.0.2.7\n".encode("utf-16"), "is text in UTF-16"),
    ("\ufeff192.0.2.7\n".encode("utf-16-be"), "is text in UTF-16"),
    (b"192.0.2.7\n\0\n", "is not text"),
    (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "is not text"),
])  # fmt: skip
def test_what_is_not_text_is_no_list(data: bytes, what: str) -> None:
    """None of it is read."""
    with pytest.raises(InvalidList) as caught:
        blocklist.read([data])
    assert caught.value.what == what


@pytest.mark.parametrize("text", ["192.0.2.%d\n", "192.0.2.%d # x\n", "::%x-::ffff\n"])
def test_there_is_a_limit(text: str) -> None:
    """Also for ranges, of which one line makes many networks."""
    whole = "".join(text % number for number in range(11))
    with pytest.raises(InvalidList, match="names more than 10 networks"):
        blocklist.read([whole.encode()], 10)


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 200))
def test_it_is_read_as_line_by_line(dice: random.Random, size: int) -> None:
    """By a reader written apart, whatever the pieces are in which the bytes come."""
    data = blocklists.fresh(dice).encode()
    expected = blocklists.said(data)
    assert expected is not None
    found = blocklist.read(data[at : at + size] for at in range(0, len(data), size))
    assert blocklists.compared(found) == blocklists.held(expected)


@pytest.mark.parametrize("stray", ["", "# here\n", "x\n", "192.0.2.1 # here\n", "::ffff:1.2.3.4\n"])
def test_many_blocks_are_read_as_one(stray: str) -> None:
    """A stray line among thousands makes no difference to the others, nor do lines cut anywhere."""
    rows = [f"11.{n >> 8 & 255}.{n & 255}.0/{24 + n % 9}\n" for n in range(9000)]
    rows += [f"2001:db8:{n:x}::{n % 7}\n" for n in range(9000)] + [
        f"12.0.{n}.7\n" for n in range(99)
    ]
    DICE.shuffle(rows)
    rows.insert(5000, stray)
    data = "".join(rows).encode()
    expected = blocklists.said(data)
    assert expected is not None
    found = blocklist.read(data[at : at + 4999] for at in range(0, len(data), 4999))
    assert blocklists.compared(found) == blocklists.held(expected)


def test_a_line_without_end_is_not_held() -> None:
    """It is refused, and what follows is read."""

    def endless() -> Iterator[bytes]:
        yield b"192.0.2.7\n"
        for _ in range(1000):
            yield b"x" * 100_000
        yield b"\n192.0.2.8\n"

    tracemalloc.start()
    try:
        found = blocklist.read(endless())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [*map(str, found.all)] == ["192.0.2.7", "192.0.2.8"]
    assert [each.line for each in found.first] == [2]
    assert peak < 2 << 20


def test_a_long_list_costs_few_bytes_a_network() -> None:
    """No object is made of a network of IPv4, in whatever order they come."""
    hosts = sorted({DICE.getrandbits(32) for _ in range(200_000)}, key=lambda _: DICE.random())
    four = b"".join(number.to_bytes(4) for number in hosts)
    data = "".join(lines.written(Networks.of_hosts(4, four))).encode()
    tracemalloc.start()
    try:
        found = blocklist.read([data])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.networks == Networks.of_hosts(4, four)
    assert peak < 60 * len(hosts)
