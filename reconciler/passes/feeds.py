"""How feeds stand: what was taken of each, when, and what keeps more from being taken."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from reconciler.config.feeds import ConfiguredFeed
from reconciler.config.setup import Setup
from reconciler.errors import FeedUnreadable
from reconciler.feeding import HELD, OBSERVED, QUARANTINED
from reconciler.feeds import outbox, reading, remarks
from reconciler.feeds.remarks import Remarks
from reconciler.store.feeds import FeedState
from reconciler.store.store import Store
from reconciler.toml import schema

_GONE: Final = "it is not configured any more; the next pass removes what was taken of it"
_FORGOTTEN: Final = "the configuration says nothing any more"
_UNTAKEN: Final = "no pass has taken anything of it yet: treason reconcile --no-scan"


@frozen
class Untold:
    """What a feed has not published yet: how many rows of the outbox, since when (epoch seconds).

    ``error`` is why that cannot be told.
    """

    number: int = 0
    since: int | None = None
    error: str = ""


@frozen(eq=False)
class FeedStanding:
    """A feed, as it is known: ``feed`` is None where it is not configured any more.

    ``numbers`` count its networks by their states, ``members`` who name any of them. ``table`` is
    what the configuration says of it. ``refreshed`` is when its process was successful last (epoch
    seconds), None where that cannot be told; ``remarks`` is what that process said last. ``untold``
    is None where it publishes nothing, or its own file does not tell. It is ``forgotten`` where
    nothing is configured any more, which no pass believes.
    """

    name: str
    feed: ConfiguredFeed | None
    state: FeedState
    numbers: Mapping[str, int]
    table: Mapping[str, Any] = field(factory=dict)
    refreshed: float | None = None
    forgotten: bool = False
    members: int = 0
    remarks: Remarks = field(factory=Remarks)
    untold: Untold | None = None

    @property
    def held(self) -> int:
        """How many of its networks are to be dropped."""
        return self.numbers.get(HELD, 0)

    @property
    def observed(self) -> int:
        """How many are only listed, as its mode has it."""
        return self.numbers.get(OBSERVED, 0)

    @property
    def quarantined(self) -> int:
        """How many are only listed, as their members named too many."""
        return self.numbers.get(QUARANTINED, 0)

    @property
    def due(self) -> float | None:
        """When it is to be refreshed next (epoch seconds); None where that cannot be told."""
        if self.feed is None or self.refreshed is None:
            return None
        return self.refreshed + self.feed.settings.refresh

    @property
    def trouble(self) -> str:
        """What keeps more from being taken of it; empty if nothing does."""
        if self.feed is None:
            return _FORGOTTEN if self.forgotten else _GONE
        if self.state.trouble or self.failure:
            return self.state.trouble or self.failure
        return "" if self.state.taken is not None else _UNTAKEN

    @property
    def failure(self) -> str:
        """Why its own process could not read it, for people; empty if it could."""
        return self.remarks.unread.told_of(self.name) if self.remarks.unread else ""

    @property
    def fails(self) -> bool:
        """Whether its trouble is that its own process fails."""
        return bool(self.failure) and self.trouble == self.failure

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings in force, as they are written; ``refresh`` is in seconds."""
        if self.feed is None:
            return {}
        known = {
            "store": str(self.feed.store),
            "refresh": self.feed.settings.refresh,
            "max_new": self.feed.limits.max_new,
        }
        return {**self.table, **schema.plain(self.feed.settings), **known}


def standings(setup: Setup, store: Store, now: int) -> list[FeedStanding]:
    """Return how every feed stands that is configured, or that something was taken of."""
    states, numbers = store.feeds.states(), store.feeds.number(now)
    members, database = store.feeds.members(now), setup.config.treason.database
    return [
        evolve(
            standing(states.get(name, FeedState(name)), setup.feeds.get(name)),
            numbers=numbers.get(name, {}),
            table=setup.config.feed.get(name, {}),
            forgotten=not setup.file.data,
            members=members.get(name, 0),
            untold=_untold(setup.feeds.get(name), outbox.of(database, name)),
        )
        for name in sorted(states.keys() | setup.feeds.keys())
    ]


def standing(state: FeedState, feed: ConfiguredFeed | None) -> FeedStanding:
    """Return how a feed stands, as far as that can be told without the database."""
    return FeedStanding(
        state.name,
        feed,
        state,
        {},
        refreshed=_refreshed(feed) if feed else None,
        remarks=remarks.read(feed.store) if feed else Remarks(),
    )


def _refreshed(feed: ConfiguredFeed) -> float | None:
    """Return when the directory of its own file was touched, as each refresh does."""
    try:
        return feed.store.parent.stat().st_mtime if feed.store.exists() else None
    except OSError:
        return None


def _untold(feed: ConfiguredFeed | None, path: Path) -> Untold | None:
    """Return what stands in its outbox, at this path, behind the last row that it has published."""
    if feed is None or not feed.settings.publish:
        return None
    try:
        published = reading.published(feed.store, feed.limits)
    except FeedUnreadable:  # told as what keeps passes from taking it
        return None
    try:
        return Untold(*outbox.waiting(path, published))
    except FeedUnreadable as error:
        return Untold(error=error.what)
