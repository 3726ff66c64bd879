"""Where a list may be fetched from: https, from public addresses."""

import re
from collections.abc import Collection
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urljoin, urlsplit

from attrs import frozen

from reconciler import InvalidNetwork, Network

_WRITTEN: Final = re.compile(r"[!-~]+")
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_SHOWN: Final = 150
"""Characters of an address that are shown: it may come from a hostile server."""

_NOT_PUBLIC: Final = tuple(
    map(
        Network.parse,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        ),
    )
)
"""IANA's special-purpose registries, as far as they lie in IPv4 and in 2000::/3."""

_GLOBAL: Final = tuple(map(Network.parse, ("0.0.0.0/0", "2000::/3")))
_NAT64: Final = Network.parse("64:ff9b::/96")
"""RFC 6052 §2.1: the last 32 bits are an address of IPv4."""


class InvalidAddress(ValueError):
    """A text that is not an address from which lists are fetched, and why."""


@frozen
class Address:
    """An https address: ``target`` is what follows the host and its port."""

    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read it. Raise `InvalidAddress` with the reason why it is not taken."""
        shown = _short(text)
        if not _WRITTEN.fullmatch(text):
            raise InvalidAddress(
                f"{shown} is not a valid address: it holds characters to be encoded"
            )
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise InvalidAddress(f"{shown} is not a valid address") from None
        if "@" in parts.netloc:
            raise InvalidAddress("passwords are not sent: leave out what stands before the @")
        if parts.scheme != "https":
            raise InvalidAddress(f"{shown} is refused: only https:// shows who sends the list")
        if not _NAME.fullmatch(host) and not _is_six(host):
            raise InvalidAddress(f"{shown} names no valid host")
        query = f"?{parts.query}" if parts.query else ""
        return cls(host, 443 if port is None else port, (parts.path or "/") + query)

    def beside(self, location: str) -> "Address":
        """Return where a redirect leads. Raise `InvalidAddress`."""
        try:
            return self.parse(urljoin(self.whole, location))
        except ValueError as error:  # urljoin's as well
            raise InvalidAddress(f"redirected: {error}") from None

    @property
    def whole(self) -> str:
        """All of it, in one form."""
        return f"https://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """The host, and the port unless it is that of https."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return it as it is shown: without its query, which may be a secret."""
        path, question, _query = self.whole.partition("?")
        return _cut(f"{path}{question and '?...'}")


def refused(text: str, allowed: Collection[Network]) -> bool:
    """Whether an address that a name stands for may not be connected to."""
    try:
        address = Network.parse(text)
    except InvalidNetwork:
        return True  # with a zone: it is of this link alone
    if any(each.meets(address) for each in allowed):
        return False
    if _NAT64.meets(address):
        address = Network.of(4, address.address & 0xFFFFFFFF, 32)
    public = any(each.meets(address) for each in _GLOBAL)
    return not public or any(each.meets(address) for each in _NOT_PUBLIC)


def _is_six(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _short(text: str) -> str:
    return _cut(ascii(text.partition("?")[0]))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
