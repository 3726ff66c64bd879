"""Lists of networks, as a file or at an https address."""

from datetime import timedelta
from pathlib import Path

from attrs import field, frozen
from attrs.validators import ge, optional

from reconciler import Feed, FeedPlugin, Needs, Network, hookimpl


def _absolute(_settings: object, _key: object, path: Path) -> None:
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} does not begin with /: write the whole path")


def _https(_settings: object, _key: object, url: str) -> None:
    from feeds.list.address import Address  # noqa: PLC0415 - every command imports this module

    Address.parse(url)


def _networks(texts: object) -> tuple[Network, ...]:
    if not isinstance(texts, list | tuple):
        raise TypeError('must be a list of addresses, as in ["10.1.2.3"]')
    return tuple(Network.parse(str(text)) for text in texts)


@frozen
class ListSettings:
    """The keys of ``[feed.NAME]`` with ``type = "list"``: either ``path`` or ``url``, and limits.

    ``max_mib`` is how large the list may be, packed and unpacked. For a ``url``: ``timeout`` is for
    all of it; ``allow_addresses`` are those that may be connected to though they are not public;
    ``ca_file`` holds the authorities to trust in place of the system's.
    """

    path: Path | None = field(default=None, validator=optional(_absolute))
    url: str | None = field(default=None, validator=optional(_https))
    max_mib: int = field(default=128, validator=ge(1))
    timeout: timedelta = timedelta(seconds=60)
    allow_addresses: tuple[Network, ...] = field(default=(), converter=_networks)
    ca_file: Path | None = field(default=None, validator=optional(_absolute))

    def __attrs_post_init__(self) -> None:
        if (self.path is None) == (self.url is None):
            both = "not both" if self.path else 'as in url = "https://..."'
            raise ValueError(f"write either path or url, {both}")


def _made(settings: ListSettings) -> Feed:
    from feeds.list.feed import List  # noqa: PLC0415 - every command imports this module

    return List(settings)


def _needs(settings: ListSettings) -> Needs:
    return Needs(reads=tuple(str(path) for path in (settings.path, settings.ca_file) if path))


@hookimpl
def treason_feeds() -> list[FeedPlugin]:
    """Return the feed ``list``."""
    return [FeedPlugin("list", _made, schema=ListSettings, needs=_needs)]
