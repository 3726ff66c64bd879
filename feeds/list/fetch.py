"""A list at an https address: one request, and what redirects make of it."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Final

import httpcore

from feeds.list import ListSettings
from feeds.list.address import Address, InvalidAddress
from feeds.list.connecting import CheckedNetwork, Resolve, Time
from feeds.list.content import too_large
from feeds.list.known import Answer, Known
from reconciler import FeedUnreadable, __version__

_REDIRECTS: Final = {301, 302, 303, 307, 308}
_MOST_REDIRECTS: Final = 5
_TOLD: Final = 150
"""Characters that are told of what a server sent."""

_CODINGS: Final = {"identity", "gzip", "x-gzip"}
"""Of the content: gzip is seen by the content itself, and not asked for."""

_OFTEN: Final = "a server may refuse whoever asks too often: raise refresh"
_ADVICE: Final = {403: _OFTEN, 429: _OFTEN, 503: _OFTEN}


@contextmanager
def opened(settings: ListSettings, known: Known, resolve: Resolve) -> Iterator[Answer | None]:
    """Ask for the list, and yield the answer; None where it has not changed.

    Raise `FeedUnreadable` for everything else, also while the pieces are read.
    """
    address = first = Address.parse(settings.url or "")
    within = Time(settings.timeout.total_seconds())
    network = CheckedNetwork(settings.allow_addresses, within, resolve)
    try:
        with httpcore.ConnectionPool(
            _context(settings.ca_file), max_keepalive_connections=0, network_backend=network
        ) as pool:
            for passed in count():
                asked = known.conditions(_source(address))
                with pool.stream(
                    "GET", _url(address), headers=_headers(address, asked)
                ) as response:
                    if response.status not in _REDIRECTS:
                        within.doing = "reading the list"
                        yield _answer(response, address, asked, settings.max_mib << 20)
                        return
                    address = _behind(address, response, passed)
    except (OSError, httpcore.ProtocolError, InvalidAddress, FeedUnreadable) as error:
        failure = error if isinstance(error, FeedUnreadable) else _failure(error, within)
        where = "" if address == first else f"redirected to {address}: "
        raise FeedUnreadable(where + failure.what, failure.hint) from None


def _context(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the system's authorities, or only those of a file."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise FeedUnreadable(f"ca_file {ca_file} cannot be read: {error.strerror}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _url(address: Address) -> httpcore.URL:
    return httpcore.URL(scheme="https", host=address.host, port=address.port, target=address.target)


def _headers(address: Address, asked: dict[str, str]) -> list[tuple[str, str]]:
    fixed = {"Host": address.authority, "User-Agent": f"treason/{__version__}"}
    return [*(fixed | {"Accept-Encoding": "identity"} | asked).items()]


def _said(response: httpcore.Response) -> dict[str, str]:
    """Return the server's headers; of those that come twice, the last."""
    return {name.decode("ascii").lower(): text.decode("latin-1") for name, text in response.headers}


def _answer(
    response: httpcore.Response, address: Address, asked: dict[str, str], most: int
) -> Answer | None:
    """Judge the status and the headers before any of the content is read."""
    status, said = response.status, _said(response)
    if status == HTTPStatus.NOT_MODIFIED and asked:
        return None
    if status != HTTPStatus.OK:
        phrase = HTTPStatus(status).phrase if status in {*HTTPStatus} else "unknown"
        raise FeedUnreadable(f"the server answers {status} ({phrase})", _ADVICE.get(status, ""))
    if (coding := said.get("content-encoding", "identity").lower()) not in _CODINGS:
        raise FeedUnreadable(f"is packed by {ascii(coding)[:_TOLD]}; only gzip is unpacked")
    if int(said.get("content-length", "0")) > most:  # h11 lets nothing but digits through
        raise too_large(most)
    return Answer(response.iter_stream(), Known.sent(_source(address), said))


def _behind(address: Address, response: httpcore.Response, passed: int) -> Address:
    """Return where the server redirects to, after so many that have done so."""
    if passed == _MOST_REDIRECTS:
        raise FeedUnreadable(f"more than {_MOST_REDIRECTS} redirects")
    return address.beside(_said(response).get("location", ""))


def _source(address: Address) -> str:
    return sha256(address.whole.encode()).hexdigest()


def _failure(error: Exception, within: Time) -> FeedUnreadable:
    """Return what went wrong, in words for people."""
    match error:
        case ssl.SSLCertVerificationError():
            return FeedUnreadable(
                f"the server's certificate is refused: {error.verify_message.rstrip('.')}",
                "an authority of your own goes into ca_file; the system's are in ca-certificates",
            )
        case TimeoutError():
            return FeedUnreadable(
                f"not done within {within.allowed:g} s ({within.doing})",
                "if it may take so long, raise timeout",
            )
        case ssl.SSLError() if not isinstance(error, ssl.SSLEOFError):
            return FeedUnreadable(f"TLS 1.2 or newer failed: {error.reason}")
        case OSError():
            return FeedUnreadable(f"the connection was cut off ({within.doing})")
        case httpcore.ProtocolError():
            return FeedUnreadable(f"the server breaks HTTP: {ascii(str(error))[1:-1][:_TOLD]}")
    return FeedUnreadable(str(error))
