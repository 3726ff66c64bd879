"""A step of a pass: give feeds what they are to tell others, the bans of some rules.

It is told at least once: it is given first, and remembered then.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from reconciler.feeds import outbox
from reconciler.feeds.outbox import Told
from reconciler.network import Network
from reconciler.store.published import Publication
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
        path, rules = outbox.of(store.path, name), _rules(named)
        if not named and name not in known:
            continue
        if outbox.is_certain(path) and store.published.is_current(name, rules, event):
            continue
        with store.transaction():  # or another one gives it as it was before, and gives it last
            if name in known and outbox.is_certain(path):
                _give(store, name, rules, now)
            elif named or path.exists():
                _give_anew(store, name, rules, now)
            else:
                store.published.forget(name)


def publish_ahead(
    store: Store,
    publishing: Mapping[str, Sequence[str]],
    networks: Collection[Network],
    now: int,
    since: int,
) -> list[str]:
    """Write the bans of these networks before they are stored, in the transaction that does that.

    They are what has been banned behind the event ``since`` of the history. Return to which feeds
    that was: `settle` is due for them behind it. If it is never stored, the next `publish` tells
    that nobody is banned. It waits for nobody. Raise `StoreError`.
    """
    given: list[str] = []
    last = store.carried.last_event
    for name, named in publishing.items():
        rules = _rules(named)
        due = store.published.new(name, rules, networks, now)
        if due:
            path = outbox.of(store.path, name)
            outbox.write(path, _told(due), now, store.path, ahead=True)
            given.append(name)
        is_all = last - since == len(networks)  # nothing else has happened
        if is_all and store.published.is_current(name, rules, since):
            store.published.keep(name, rules, last, due, now)
        else:
            store.published.note(name, due)
    return given


def settle(store: Store, feeds: Iterable[str], now: int) -> None:
    """Take notice that what was published ahead is stored. Raise `StoreError`."""
    for name in feeds:
        outbox.settle(outbox.of(store.path, name), now)


def prepare(store: Store, publishing: Mapping[str, Sequence[str]], now: int) -> None:
    """Make the outboxes that are missing: a feed's service sees only what was there at its start.

    Raise `StoreError`.
    """
    for name, named in publishing.items():
        path = outbox.of(store.path, name)
        if named and not path.exists():
            outbox.make(path, now, like=store.path)


def _give(store: Store, name: str, rules: Sequence[str], now: int) -> None:
    """Write to an outbox what is due, and remember it."""
    due = store.published.due(name, rules, now)
    if due:
        outbox.write(outbox.of(store.path, name), _told(due), now, like=store.path)
    _keep(store, name, rules, due, now)


def _give_anew(store: Store, name: str, rules: Sequence[str], now: int) -> None:
    """Write all that others are to know, and that what else they were told is not banned.

    Another database may have told them, whose place this one takes: nobody else could end that.
    """
    path = outbox.of(store.path, name)
    store.published.forget(name)
    due = store.published.due(name, rules, now)
    known = {each.network for each in due}
    others = [Told(each, banned=False) for each in outbox.banned(path, now) if each not in known]
    outbox.write(path, [*others, *_told(due)], now, like=store.path)
    _keep(store, name, rules, due, now)


def _keep(
    store: Store, name: str, rules: Sequence[str], due: Iterable[Publication], now: int
) -> None:
    store.published.keep(name, rules, store.carried.last_event, due, now)


def _told(due: Iterable[Publication]) -> list[Told]:
    return [Told(each.network, each.banned, each.until, each.reason) for each in due]


def _rules(named: Iterable[str]) -> list[str]:
    return sorted(rule for rule in {*named} if not rule.startswith(_NEVER))
