"""Which addresses lists are fetched from."""

import pytest

from feeds.list.address import Address, InvalidAddress, refused
from reconciler import Network

PUBLIC = (
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255",
    "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:200::", "2003::1",
    "2a00:1450:4001::1", "::ffff:1.1.1.1", "64:ff9b::101:101",
)  # fmt: skip
INNER = (
    "0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
    "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.8",
    "192.0.2.1", "192.88.99.1", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1",
    "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1",
    "2002:101:101::1", "3fff::1", "4000::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%eth0",
    "fec0::1", "ff02::1",
)  # fmt: skip


def test_only_public_addresses_are_connected_to() -> None:
    """Not private, local, shared, reserved ones, nor those inside of IPv6, up to their borders."""
    assert [address for address in PUBLIC if refused(address, ())] == []
    assert [address for address in INNER if not refused(address, ())] == []


def test_what_the_configuration_names_is_connected_to() -> None:
    """That address or network, and nothing beside it."""
    allowed = [Network.parse("10.1.2.0/24"), Network.parse("fd00::1")]
    assert not refused("10.1.2.3", allowed)
    assert not refused("::ffff:10.1.2.3", allowed)
    assert not refused("fd00::1", allowed)
    assert refused("10.1.3.0", allowed)
    assert refused("fd00::2", allowed)


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("https://lists.example", "lists.example", 443, "/"),
        ("HTTPS://Lists.Example/A?b=C#d", "lists.example", 443, "/A?b=C"),
        ("https://lists.example:8443/a", "lists.example", 8443, "/a"),
        ("https://192.0.2.1/a", "192.0.2.1", 443, "/a"),
        ("https://[2001:db8::1]:8443/a", "2001:db8::1", 8443, "/a"),
    ],
)
def test_an_https_address_is_taken(text: str, host: str, port: int, target: str) -> None:
    """With what is to be connected to, and what is to be asked there."""
    assert Address.parse(text) == Address(host, port, target)


def test_an_address_is_shown_without_its_query() -> None:
    """It may be a secret; and what a server sends may be long."""
    assert str(Address.parse("https://lists.example:8443/a?key=b")) == (
        "https://lists.example:8443/a?..."
    )
    assert str(Address.parse(f"https://[2001:db8::1]/{'a' * 999}")) == (
        f"https://[2001:db8::1]/{'a' * 128}..."
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://lists.example/a", "is refused: only https:// shows who sends the list"),
        ("file:///etc/passwd", "is refused: only https:// shows who sends the list"),
        ("lists.example/a", "is refused: only https:// shows who sends the list"),
        ("", "is not a valid address"),
        ("https://", "names no valid host"),
        ("https:///a", "names no valid host"),
        ("https://-a b/", "is not a valid address"),
        ("https://a..b/", "names no valid host"),
        (f"https://{'a' * 64}.b/", "names no valid host"),
        (f"https://{'a.' * 127}/", "names no valid host"),
        ("https://[::1/", "is not a valid address"),
        ("https://[::1%25lo]/", "names no valid host"),
        ("https://lists.example:99999/", "is not a valid address"),
        ("https://bücher.example/", "is not a valid address: it holds characters to be encoded"),
        ("https://a.example/ä", "is not a valid address: it holds characters to be encoded"),
        ("https://a.example/\r\nHost: b", "is not a valid address: it holds characters"),
        ("https://me:secret@a.example/", "passwords are not sent: leave out what stands before"),
    ],
)
def test_what_is_no_https_address_is_refused(text: str, told: str) -> None:
    """And why."""
    with pytest.raises(InvalidAddress, match=told) as caught:
        Address.parse(text)
    assert "secret" not in str(caught.value)
