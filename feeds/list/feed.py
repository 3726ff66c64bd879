"""The feed."""

from collections.abc import Iterator

from feeds.list import ListSettings
from reconciler import FeedBan, FeedChange, FeedSnapshot, FeedUnreadable, Network


class List:
    """All that a list says, each time."""

    def __init__(self, settings: ListSettings) -> None:
        self._settings = settings

    def changes(self, _cursor: str | None) -> Iterator[FeedChange]:
        """Yield all of it."""
        if self._settings.path is None:
            raise FeedUnreadable("no path")
        yield FeedSnapshot.BEGIN
        yield FeedBan(map(Network.parse, self._settings.path.read_text().split()))
        yield FeedSnapshot.END

    def cursor(self) -> str | None:
        """Return nothing: all is read each time."""
        return None
