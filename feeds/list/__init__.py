"""Lists of networks, as a file or at an https address."""

from pathlib import Path

from attrs import field, frozen

from reconciler import Feed, FeedPlugin, hookimpl


@frozen
class ListSettings:
    """The keys of ``[feed.NAME]`` with ``type = "list"``: one of the two."""

    path: Path | None = None
    url: str | None = field(default=None)


def _made(settings: ListSettings) -> Feed:
    from feeds.list.feed import List  # noqa: PLC0415 - every command imports this module

    return List(settings)


@hookimpl
def treason_feeds() -> list[FeedPlugin]:
    """Return the feed ``list``."""
    return [FeedPlugin("list", _made, schema=ListSettings)]
