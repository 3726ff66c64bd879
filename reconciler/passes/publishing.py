"""A step of a pass: give feeds what they are to tell others, the bans of some rules.

It is told at least once: it is given first, and remembered then.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from reconciler.feeds import outbox
from reconciler.feeds.outbox import Told
from reconciler.store.store import Store

_NEVER: Final = ("feed:", "import")
"""How the origins begin of what others told us."""


def publish(store: Store, publishing: Mapping[str, Sequence[str]], now: int) -> None:
    """Write to each feed's outbox what has changed, at ``now`` (epoch seconds).

    ``publishing`` are the rules of each; who has none any more takes back what it was given. It
    stands beside the database. Raise `StoreError`.
    """
    known = store.published.feeds()
    for name in known - publishing.keys():
        store.published.forget(name)
    event = store.carried.last_event
    for name, named in publishing.items():
        if not named and name not in known:
            continue
        if not outbox.of(store.path, name).exists():
            store.published.forget(name)
            if not named:
                continue
        rules = sorted(r for r in set(named) if not r.startswith(_NEVER))
        if not store.published.is_current(name, rules, event):
            with store.transaction():  # or another one gives it as it was before, and gives it last
                _give(store, name, rules, now)


def _give(store: Store, name: str, rules: Sequence[str], now: int) -> None:
    """Write to an outbox what is due, and remember it."""
    event, due = store.carried.last_event, store.published.due(name, rules, now)
    if due:
        rows = [Told(each.network, each.banned, each.until, each.reason) for each in due]
        outbox.write(outbox.of(store.path, name), rows, now, like=store.path)
    store.published.keep(name, rules, event, due, now)


def prepare(store: Store, publishing: Mapping[str, Sequence[str]], now: int) -> None:
    """Make the outboxes that are missing: a feed's service sees only what was there at its start.

    Raise `StoreError`.
    """
    for name, named in publishing.items():
        path = outbox.of(store.path, name)
        if named and not path.exists():
            outbox.write(path, (), now, like=store.path)
