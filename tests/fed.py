"""What feeds have brought, put into the database of a test's place without any feed."""

import time
from typing import Any

from harness import Place

from reconciler.feeding import HELD, FeedGroup
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.feeds import FeedState
from reconciler.store.store import open_store


def group(*networks: str, **more: Any) -> FeedGroup:
    """Return a group of networks, taken a minute ago if nothing else is said."""
    held = Networks.of(map(Network.parse, networks))
    return FeedGroup(held, **{"since": int(time.time()) - 60, "state": HELD, **more})


def taken(place: Place, feed: str, *groups: FeedGroup, **state: Any) -> None:
    """Let a feed be known by these groups alone, as a pass takes them."""
    now = int(time.time())
    known = FeedState(feed, **{"file": "read", "epoch": "one", "taken": now - 60, **state})
    with open_store(place.database, write=True) as store:
        store.feeds.take(known, groups, now)
